"""Ask a service for one token until a replica is there to generate it."""

import time

import openai

from ops.console.cli import CommandError, Failed
from ops.console.progress import Progress
from ops.probing import client
from ops.probing.client import Answer
from ops.project import routes

PAUSE_S = 1.0
NOT_YET = {408, 429, 500, 502, 503, 504}
"""Answers of proxies and balancers while no replica is there, or HAProxy does not know of it yet."""


def wait_for_token(url: str, api_key: str | None, model: str, limit_s: float, progress: Progress) -> None:
    """Raises CommandError where asking again cannot help, Failed where there is no token within `limit_s`."""
    deadline, last = time.monotonic() + limit_s, "It has not answered at all."
    progress.waiting_for("a replica: the request waits for it")
    while (left := deadline - time.monotonic()) > 0:
        try:
            answer = ask(url, api_key, model, left)
        except openai.APITimeoutError:
            break
        except openai.APIConnectionError as error:
            raise CommandError(
                f"{url} cannot be asked: {error.__cause__ or error}. Is the service deployed, and the URL right?"
            ) from None
        if answer.status == 200:
            return
        last = f"The last answer was {answer.status}: {answer.error[:300]}"
        if answer.status in (401, 403):
            raise CommandError(f"{url} answers {answer.status}: give its token with --api-key.")
        if answer.status not in NOT_YET:
            raise CommandError(f"{url} does not generate a token of {model}. {last}")
        progress.waiting_for(f"a replica; asked again, as the answer was {answer.status}")
        time.sleep(PAUSE_S)
    raise Failed(
        f"No token of {model} after {limit_s:.0f} s. {last} scripts/status and scripts/logs show what keeps "
        "its replicas from starting; --timeout gives them longer."
    )


def ask(url: str, api_key: str | None, model: str, timeout_s: float) -> Answer:
    messages = [{"role": "user", "content": "Hi"}]
    request = {"model": model, "messages": messages, "max_tokens": 1}
    return client.ask(client.connect(url, api_key, timeout_s), routes.CHAT, request)
