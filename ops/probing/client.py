"""Ask a service one thing through the OpenAI SDK and read its answer, whole or streamed, into one shape."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import urlsplit

import openai
from openai import OpenAI
from openai.types import responses
from openai.types.chat import ChatCompletionMessageFunctionToolCall, chat_completion

from ops.console.cli import CommandError
from ops.probing import service_key
from ops.project.routes import MODELS, RESPONSES, Route


@dataclass
class ToolCall:
    name: str = ""
    arguments: str = ""
    """JSON, as the model wrote it."""


@dataclass
class Answer:
    status: int = 200
    seconds: float = 0
    reasoning: str = ""
    """What the model thought before it answered."""
    content: str = ""
    tool_calls: list[ToolCall] = field(default_factory=list)
    finish_reason: str | None = None
    output_tokens: int | None = None
    """What usage counts, where the request asked a stream for it."""
    reasoning_tokens: int | None = None
    """What usage counts as such; vLLM 0.27 does on /v1/responses only."""
    error: str = ""
    """The message of an error answer, or of an error within a stream."""
    model_ids: tuple[str, ...] = ()
    """What /v1/models lists."""


@dataclass(frozen=True)
class Piece:
    """A part of an answer, as it comes."""

    kind: Literal["reasoning", "content"]
    text: str


def connect(
    url: str, api_key: str | None, timeout_s: float, version: str | None = None, with_key: bool = True
) -> OpenAI:
    """A client of the service on `url` that asks once: what fails is to be seen.

    `api_key` is sent as bearer token, and beside it, unless `with_key` is false, the key in SERVICE_API_KEY as
    x-api-key. `version` is `canary` or `primary` where Anyscale is to ask that one of a service.

    Raises:
        CommandError: that is not a URL.
    """
    local = host_of(url) in ("127.0.0.1", "localhost")  # then a proxy of the environment must be left out
    return OpenAI(
        base_url=f"{url.rstrip('/')}/v1",
        api_key=api_key or "none",
        max_retries=0,
        timeout=timeout_s,
        default_headers=(service_key.headers() if with_key else {})
        | ({"X-ANYSCALE-VERSION": version} if version else {}),
        http_client=openai.DefaultHttpxClient(trust_env=not local),
    )


def host_of(url: str) -> str:
    try:
        parts = urlsplit(url)
        if parts.scheme in ("http", "https") and parts.hostname and parts.port != 0:  # reading a wrong port raises
            return parts.hostname
    except ValueError:
        pass
    raise CommandError(f"{url} is not a URL such as http://127.0.0.1:8000.")


def ask(client: OpenAI, route: Route, body: dict[str, Any]) -> Answer:
    """Send a request and read its whole answer; an answer that is an error has its status and message.

    Raises:
        openai.APIConnectionError: the service cannot be reached, or breaks off.
    """
    answer, started = Answer(), time.monotonic()
    try:
        if route == MODELS:
            answer.model_ids = tuple(model.id for model in client.models.list())
        elif route == RESPONSES:
            read_response(answer, client.responses.create(**arguments(body, "model", "input")))
        elif body.get("stream"):
            for _ in stream(client, body, answer):
                pass
        else:
            read_completion(answer, client.chat.completions.create(**arguments(body, "model", "messages")))
    except openai.APIStatusError as error:
        answer.status, answer.error = error.status_code, message_of(error)
    answer.seconds = time.monotonic() - started
    return answer


def stream(client: OpenAI, body: dict[str, Any], answer: Answer) -> Iterator[Piece]:
    """The pieces of a streamed chat answer, which are added to `answer` too.

    A replica that fails in mid-stream sends its error as the last event; it is in `answer` then.
    """
    request: dict[str, Any] = arguments(body, "model", "messages") | {"stream": True}
    try:
        for chunk in client.chat.completions.create(**request):
            if chunk.usage:
                answer.output_tokens = chunk.usage.completion_tokens
            for choice in chunk.choices:
                answer.finish_reason = choice.finish_reason or answer.finish_reason
                add_tool_calls(answer, choice.delta.tool_calls or [])
                if reasoning := reasoning_of(choice.delta):
                    answer.reasoning += reasoning
                    yield Piece("reasoning", reasoning)
                if choice.delta.content:
                    answer.content += choice.delta.content
                    yield Piece("content", choice.delta.content)
    except openai.APIError as error:
        if isinstance(error, openai.APIStatusError | openai.APIConnectionError):
            raise
        answer.error = message_of(error)


def arguments(body: dict[str, Any], *names: str) -> dict[str, Any]:
    """A request body as the SDK takes it: what it does not know of goes in `extra_body`, and is sent all the same."""
    named = {name: body.get(name) for name in names}
    return named | {"extra_body": {name: value for name, value in body.items() if name not in (*names, "stream")}}


def add_tool_calls(answer: Answer, deltas: list[Any]) -> None:
    for delta in deltas:
        while len(answer.tool_calls) <= delta.index:
            answer.tool_calls.append(ToolCall())
        call = answer.tool_calls[delta.index]
        call.name += delta.function.name or ""
        call.arguments += delta.function.arguments or ""


def read_completion(answer: Answer, completion: chat_completion.ChatCompletion) -> None:
    choice = completion.choices[0]
    answer.finish_reason = choice.finish_reason
    answer.reasoning, answer.content = reasoning_of(choice.message), choice.message.content or ""
    answer.tool_calls = [
        ToolCall(call.function.name, call.function.arguments)
        for call in choice.message.tool_calls or []
        if isinstance(call, ChatCompletionMessageFunctionToolCall)
    ]


def reasoning_of(message: Any) -> str:
    """vLLM calls it `reasoning`; servers before 0.12 and some others `reasoning_content`."""
    return getattr(message, "reasoning", None) or getattr(message, "reasoning_content", None) or ""


def read_response(answer: Answer, response: responses.Response) -> None:
    for item in response.output:
        if item.type == "reasoning":
            answer.reasoning += "".join(part.text for part in item.content or [])
        elif item.type == "function_call":
            answer.tool_calls.append(ToolCall(item.name, item.arguments))
    answer.content, answer.finish_reason = response.output_text, response.status
    if response.usage:
        answer.reasoning_tokens = response.usage.output_tokens_details.reasoning_tokens


def message_of(error: openai.APIError) -> str:
    """The message within an OpenAI-shaped error, else all that was sent."""
    body = error.body
    if isinstance(body, dict) and "message" in body:
        return str(body["message"])
    return str(body or error.message)
