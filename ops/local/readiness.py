"""What scripts/dev waits for once the application runs, and what it prints then."""

import json
import time
from pathlib import Path
from typing import Any

import httpx

from ops.console.cli import CommandError, out
from ops.console.progress import Progress
from ops.probing import service_key
from ops.project.catalogue import Service

FIRST_TOKEN_TIMEOUT_S = 300  # guess: a first request may compile kernels
PROXY_TIMEOUT_S = 30  # guess: HAProxy reloads within a second of a replica's start


def wait_for_token(url: str, model_id: str, progress: Progress) -> None:
    """Ask for one token until there is one: an application that runs may still be unknown to HAProxy."""
    progress.waiting_for(f"the first token of {model_id}")
    request = {"model": model_id, "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1}
    deadline = time.monotonic() + PROXY_TIMEOUT_S
    # Without the environment's proxies, on the way to ourselves.
    with httpx.Client(timeout=FIRST_TOKEN_TIMEOUT_S, headers=service_key.headers(), trust_env=False) as client:
        while True:
            try:
                response = client.post(f"{url}/v1/chat/completions", json=request)
                answer, unknown_yet = (
                    f"{response.status_code}: {response.text[:500]}",
                    response.status_code in (404, 503),
                )
            except httpx.TransportError as error:
                answer, unknown_yet = repr(error), True
            else:
                if response.is_success:
                    return
            if not unknown_yet or time.monotonic() > deadline:
                raise CommandError(f"The application runs, but does not generate a token. It answers {answer}")
            time.sleep(0.2)


def print_ready(
    service: Service, url: str, models: list[str], args: dict[str, Any], seconds: float, logs: Path
) -> None:
    question = "What is the capital of France?"
    if len(models) == 1:
        stand_in, ask, chosen = " A small model stands in for the real one.", "Ask it", f" --model {models[0]}"
    else:
        stand_in, ask, chosen = " Small models stand in for the real ones.", "Ask them", ""
    with_keys = bool(args.get("api_keys"))
    curls = "\n".join(curl_line(url, model, question, with_keys) for model in models)
    chats = "\n".join(f"Chat with it:  scripts/chat {service.name} --model {model} --url {url}" for model in models)
    imports = "import os\n" if with_keys else ""
    key = f'os.environ["{service_key.VARIABLE}"]' if with_keys else '"none"'
    text = f"""
{service.name} serves {" and ".join(models)} on {url}, \
{seconds:.0f} s after the start.{stand_in if args["profile"] == "laptop" else ""} {ask}:

{curls}

{imports}from openai import OpenAI
client = OpenAI(base_url="{url}/v1", api_key={key})
messages = [{{"role": "user", "content": "{question}"}}]
for chunk in client.chat.completions.create(model="{models[0]}", messages=messages, stream=True):
    print(chunk.choices[0].delta.content or "", end="")

{chats}
Probe it:      scripts/probe {service.name}{chosen} --url {url}
Stop it:       Ctrl-C, or scripts/dev --stop
Its logs:      {logs}"""
    out.print(text, markup=False)


def curl_line(url: str, model: str, question: str, with_key: bool) -> str:
    body = {"model": model, "messages": [{"role": "user", "content": question}], "temperature": 0}
    key = f"""-H "Authorization: Bearer ${service_key.VARIABLE}" """ if with_key else ""
    return f"curl {url}/v1/chat/completions {key}-H 'Content-Type: application/json' -d '{json.dumps(body)}'"
