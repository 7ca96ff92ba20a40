"""scripts/chat: talk to a service in the terminal."""

from typing import Annotated

import openai
import typer
from openai import OpenAI

from ops import catalogue, cli, probe_file
from ops.answers import is_local
from ops.cli import CommandError, out

Message = dict[str, str]


def chat(
    service: Annotated[str, typer.Argument(help="The service, such as small-size-llm.")],
    url: Annotated[str, typer.Option(help="Where it runs.")] = "http://127.0.0.1:8000",
    api_key: Annotated[str, typer.Option(help="Sent as bearer token; Anyscale services want one.")] = "none",
    model: Annotated[str | None, typer.Option(help="The model id to ask, where it is not the service's own.")] = None,
) -> None:
    """Chat with a running service; answers appear as they are generated. Ctrl-C stops an answer, Ctrl-D ends.

    Example: scripts/chat small-size-llm
    """
    model = model or probe_file.load(catalogue.find(service).probe_file).model
    http_client = openai.DefaultHttpxClient(trust_env=not is_local(url))
    client = OpenAI(base_url=f"{url}/v1", api_key=api_key, max_retries=0, http_client=http_client)
    out.print(f"{model} on {url}. Ctrl-C stops an answer, Ctrl-D ends.", style="dim")
    history: list[Message] = []
    while True:
        try:
            question = out.input("[bold cyan]> [/]")
        except (EOFError, KeyboardInterrupt):
            out.print()
            return
        if question.strip():
            history.append({"role": "user", "content": question})
            history.append({"role": "assistant", "content": answer(client, model, history)})


def answer(client: OpenAI, model: str, history: list[Message]) -> str:
    """Print the model's answer as it is generated; returns it, or what there is of it where Ctrl-C cut it short."""
    text = ""
    try:
        for chunk in client.chat.completions.create(model=model, messages=history, stream=True):
            piece = chunk.choices[0].delta.content or "" if chunk.choices else ""
            text += piece
            out.print(piece, end="", markup=False)
    except KeyboardInterrupt:
        pass
    except openai.APIConnectionError:
        raise CommandError(
            f"{client.base_url} cannot be reached. Is it running? scripts/dev starts a service."
        ) from None
    except openai.APIError as error:
        out.print(f"The service answers: {error.message}", style="red", markup=False)
    out.print()
    return text


if __name__ == "__main__":
    cli.run("scripts/chat", chat)
