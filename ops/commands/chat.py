"""scripts/chat: talk to a service in the terminal."""

import base64
import mimetypes
from pathlib import Path
from typing import Annotated, Any, Literal

import openai
import typer
from openai import OpenAI

from ops.console import cli
from ops.console.cli import CommandError, out
from ops.probing import client
from ops.project import catalogue, probe_file, routes

Message = dict[str, Any]
TIMEOUT_S = 600  # guess: between two pieces of an answer, a full queue included


def chat(
    service: Annotated[str, typer.Argument(help="The service, such as small-size-llm.")],
    url: Annotated[str, typer.Option(help="Where it runs.")] = "http://127.0.0.1:8000",
    api_key: Annotated[str | None, typer.Option(help="Sent as bearer token; Anyscale services want one.")] = None,
    model: Annotated[str | None, typer.Option(help="The model id to ask, where it is not the service's own.")] = None,
    image: Annotated[
        list[str] | None, typer.Option(help="A file or URL to show with the first question; can be repeated.")
    ] = None,
    no_think: Annotated[bool, typer.Option("--no-think", help="Answer at once, where the model can.")] = False,
    effort: Annotated[
        Literal["low", "medium", "high"] | None, typer.Option(help="How long to think, where the model can choose.")
    ] = None,
) -> None:
    """Chat with a running service; answers appear as they are generated, what the model thinks is dimmed.

    Ctrl-C stops an answer, Ctrl-D ends.

    Example: scripts/chat hybrid-reasoning-llm --no-think
    """
    model = model or probe_file.load(catalogue.find(service).probe_file).model
    images = [image_part(source) for source in image or []]
    options = thinking_options(no_think, effort)
    connection = client.connect(url, api_key, TIMEOUT_S)
    others = [other for other in listed_models(connection) if other != model]
    beside = f" Beside it: {', '.join(others)} (--model)." if others else ""
    out.print(f"{model} on {url}.{beside} Ctrl-C stops an answer, Ctrl-D ends.", style="dim")
    history: list[Message] = []
    while True:
        try:
            question = out.input("[bold cyan]> [/]")
        except (EOFError, KeyboardInterrupt):
            out.print()
            return
        if question.strip():
            history.append({"role": "user", "content": [*images, text_part(question)] if images else question})
            images = []
            content = answer(connection, {"model": model, "messages": history, **options})
            history.append({"role": "assistant", "content": content})


def listed_models(connection: OpenAI) -> tuple[str, ...]:
    """The models that a service answers for. Raises CommandError: it cannot be reached."""
    try:
        return client.ask(connection, routes.MODELS, {}).model_ids
    except openai.APIConnectionError:
        raise CommandError(unreachable(connection)) from None


def unreachable(connection: OpenAI) -> str:
    return f"{connection.base_url} cannot be reached. Is it running? scripts/dev starts a service."


def image_part(source: str) -> Message:
    """An image for a message: a URL as it is, which the service fetches; a file with its content.

    Raises:
        CommandError: there is no such file, or its name is not that of an image.
    """
    if not source.startswith(("http://", "https://")):
        kind = mimetypes.guess_type(source)[0] or ""
        if not kind.startswith("image/") or not Path(source).is_file():
            raise CommandError(f"{source} is not the path of an image file such as photo.png, nor an http URL.")
        source = f"data:{kind};base64,{base64.b64encode(Path(source).read_bytes()).decode()}"
    return {"type": "image_url", "image_url": {"url": source}}


def text_part(text: str) -> Message:
    return {"type": "text", "text": text}


def thinking_options(no_think: bool, effort: str | None) -> dict[str, Any]:
    options: dict[str, Any] = {"chat_template_kwargs": {"enable_thinking": False}} if no_think else {}
    return options | ({"reasoning_effort": effort} if effort else {})


def answer(connection: OpenAI, body: dict[str, Any]) -> str:
    """Print the model's answer as it is generated; returns it, or what there is of it where Ctrl-C cut it short."""
    read, printed = client.Answer(), None
    try:
        for piece in client.stream(connection, body, read):
            text = piece.text if piece.kind == printed else piece.text.lstrip("\n")  # blank lines before a part
            if text and printed and piece.kind != printed:
                out.print()
            out.print(text, end="", markup=False, style="dim" if piece.kind == "reasoning" else None)
            printed = piece.kind if text else printed
    except KeyboardInterrupt:
        pass
    except openai.APIConnectionError:
        raise CommandError(unreachable(connection)) from None
    except openai.APIStatusError as error:
        read.error = client.message_of(error)
    if read.error:
        out.print(f"The service answers: {read.error}", style="red", markup=False)
    out.print()
    return read.content


if __name__ == "__main__":
    cli.run("scripts/chat", chat)
