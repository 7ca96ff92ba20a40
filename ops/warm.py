"""scripts/warm: wake a service that has scaled to zero, and wait for its first token."""

import time
from typing import Annotated

import openai
import typer

from ops import catalogue, cli, client, options, probe_file
from ops.cli import CommandError, Failed, out
from ops.client import Answer
from ops.options import ServiceArgument
from ops.progress import Progress

PAUSE_S = 1.0
NOT_YET = {408, 429, 500, 502, 503, 504}
"""Answers of proxies and balancers while no replica is there, or HAProxy does not know of it yet."""


def warm(
    service: ServiceArgument,
    url: Annotated[str, typer.Option(help="Where it runs.")] = "http://127.0.0.1:8000",
    api_key: Annotated[str | None, typer.Option(help="Sent as bearer token; Anyscale services want one.")] = None,
    model: Annotated[str | None, typer.Option(help="The model id to ask, where it is not the probe's own.")] = None,
    timeout: Annotated[
        str | None, typer.Option(help="How long it may take, such as 90min. Default: as for a deploy.")
    ] = None,
) -> None:
    """Ask for one token until there is one. Exit status: 0 it answers, 1 it did not in time, 2 it could not be asked.

    Example: scripts/warm small-size-llm --url http://127.0.0.1:8001
    """
    chosen = catalogue.find(service)
    asked = model or probe_file.load(chosen.probe_file).model
    limit_s = options.start_timeout_s(chosen, timeout)
    with Progress() as progress:
        wait_for_token(url, api_key, asked, limit_s, progress)
        out.print(f"{chosen.name} generated a token of {asked}, {progress.seconds():.1f} s after it was asked.")


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
        f"No token of {model} after {limit_s:.0f} s. {last} What keeps its replicas from starting is told by "
        "scripts/status and scripts/logs; --timeout gives them longer."
    )


def ask(url: str, api_key: str | None, model: str, timeout_s: float) -> Answer:
    messages = [{"role": "user", "content": "Hi"}]
    request = {"model": model, "messages": messages, "max_tokens": 1}
    return client.ask(client.connect(url, api_key, timeout_s), client.CHAT, request)


if __name__ == "__main__":
    cli.run("scripts/warm", warm)
