"""Ask a service one thing over HTTP and read its answer, whole or streamed, into one shape."""

import json
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx
from httpx_sse import connect_sse


@dataclass
class Answer:
    status: int
    seconds: float
    content: str = ""
    finish_reason: str | None = None
    error: str = ""
    """The message of an error answer, or its whole text where it has no such field."""
    model_ids: tuple[str, ...] = ()
    """What /v1/models lists."""


def is_local(url: str) -> bool:
    """Whether a URL leads to this machine, where an HTTP proxy that the environment names must be left out."""
    return urlsplit(url).hostname in ("127.0.0.1", "localhost")


def get(client: httpx.Client, path: str) -> Answer:
    started = time.monotonic()
    response = client.get(path)
    answer = Answer(response.status_code, time.monotonic() - started)
    if response.is_success:
        answer.model_ids = tuple(card["id"] for card in response.json()["data"])
    else:
        answer.error = error_message(response)
    return answer


def post(client: httpx.Client, path: str, body: dict[str, Any]) -> Answer:
    if body.get("stream"):
        return post_streaming(client, path, body)
    started = time.monotonic()
    response = client.post(path, json=body)
    answer = Answer(response.status_code, time.monotonic() - started)
    if response.is_success:
        choice = response.json()["choices"][0]
        answer.content, answer.finish_reason = choice["message"]["content"] or "", choice["finish_reason"]
    else:
        answer.error = error_message(response)
    return answer


def post_streaming(client: httpx.Client, path: str, body: dict[str, Any]) -> Answer:
    started = time.monotonic()
    with connect_sse(client, "POST", path, json=body) as source:
        answer = Answer(source.response.status_code, 0)
        if source.response.is_success:
            for event in source.iter_sse():
                add_chunk(answer, event.data)
        else:
            source.response.read()
            answer.error = error_message(source.response)
    answer.seconds = time.monotonic() - started
    return answer


def add_chunk(answer: Answer, data: str) -> None:
    """Add one server-sent event to an answer; a replica that fails in mid-stream sends its error as an event."""
    if data == "[DONE]":
        return
    chunk = json.loads(data)
    if "error" in chunk:
        answer.error = str(chunk["error"])
    for choice in chunk.get("choices", []):
        answer.content += choice["delta"].get("content") or ""
        answer.finish_reason = choice.get("finish_reason") or answer.finish_reason


def error_message(response: httpx.Response) -> str:
    try:
        return response.json()["error"]["message"]
    except (ValueError, KeyError, TypeError):
        return response.text
