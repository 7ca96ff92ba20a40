"""The tokens of an answer, read from its `usage` as it passes.

A stream has `usage` in every piece (`enable_force_include_usage`), so one that a client breaks off is counted too. Of
all pieces only the last with a `usage` is parsed, after it was sent.
"""

import json
import re
from typing import Any

USAGE = b'"usage":{'
"""Never in text that a model writes: within a JSON string its quotes would be escaped."""
NO_CHOICES = b'"choices":[]'
LARGEST_JSON = 16 * 2**20
"""Bytes of the largest answer that is parsed; guess, a chat answer without log probabilities has some kilobytes."""
ASKS = re.compile(rb'"include_usage"\s*:\s*true')
ASKS_BYTES = 64
"""More than such text has, with a few spaces."""
COUNTS = ("total_tokens",), ("input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
"""What to add up, in OpenAI's usage and in Anthropic's; OpenAI's /v1/responses has total_tokens too."""


class Request:
    """Whether the client asked for `usage` in its stream; the body is looked at as it comes, and not kept."""

    def __init__(self) -> None:
        self.asks_for_usage = False
        self._end = b""

    def add(self, piece: bytes) -> None:
        if b"include_usage" in piece or self._end:
            self.asks_for_usage |= bool(ASKS.search(self._end + piece))
        self._end = piece[-ASKS_BYTES:] if len(piece) > ASKS_BYTES else self._end + piece


class AnswerUsage:
    """What is remembered of one answer."""

    def __init__(self, content_type: bytes) -> None:
        self.is_stream = content_type.startswith(b"text/event-stream")
        self.is_json = content_type.startswith(b"application/json")
        self._pieces: list[bytes] = []
        self._size = 0
        self._last = b""

    def add(self, piece: bytes) -> None:
        if self.is_stream:
            if USAGE in piece:
                self._last = piece
        elif self.is_json and self._size <= LARGEST_JSON:
            self._size += len(piece)
            self._pieces.append(piece)

    def tokens(self) -> int:
        """The tokens of prompt and answer; 0 where it does not say."""
        if self.is_stream:
            events = [line.removeprefix(b"data: ") for line in self._last.splitlines() if USAGE in line]
            return tokens_of(events[-1]) if events else 0
        return tokens_of(b"".join(self._pieces)) if self._size <= LARGEST_JSON else 0


def tokens_of(text: bytes) -> int:
    """The tokens that an answer or an event, as JSON, counts."""
    try:
        content = json.loads(text)
    except ValueError:
        return 0
    if not isinstance(content, dict):
        return 0
    for holder in (content, content.get("response"), content.get("message")):
        usage = holder.get("usage") if isinstance(holder, dict) else None
        if isinstance(usage, dict):
            return sum_of(usage)
    return 0


def sum_of(usage: dict[str, Any]) -> int:
    names = next((names for names in COUNTS if names[0] in usage), ())
    return sum(count for name in names if isinstance(count := usage.get(name), int))


def without_last_usage(piece: bytes) -> bytes:
    """A piece of a stream without the event that has no choices but the usage.

    Clients that did not ask for it do not expect it: many read the first of the choices.
    """
    if USAGE not in piece or NO_CHOICES not in piece:
        return piece
    events = piece.split(b"\n\n")
    return b"\n\n".join(event for event in events if not (USAGE in event and NO_CHOICES in event))
