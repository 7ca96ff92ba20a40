"""A small load on the versions of a service, side by side, and what was measured of each."""

import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import openai
from openai import OpenAI

from ops.probing import client
from ops.probing.client import Answer
from ops.probing.measurement import Measurement, Percentiles
from ops.project.slo import LoadSpec


@dataclass
class Timed:
    """One request: when its pieces came, in seconds after it was sent."""

    answer: Answer = field(default_factory=Answer)
    times: list[float] = field(default_factory=list)
    error: str = ""

    @property
    def tokens_per_second(self) -> float | None:
        tokens = self.answer.output_tokens or len(self.times)
        if tokens < 2 or len(self.times) < 2 or self.times[-1] == self.times[0]:
            return None
        return (tokens - 1) / (self.times[-1] - self.times[0])


def measure(asked: dict[str, tuple[OpenAI, str]], load: LoadSpec) -> dict[str, Measurement]:
    """Send the load to each connection and model, to all at the same time; a reading for each name."""
    with ThreadPoolExecutor(load.concurrency * len(asked)) as pool:
        pending = {name: [] for name in asked}
        for number in range(load.requests):  # in turn, so that the pool's clients are shared evenly
            prompt = load.prompts[number % len(load.prompts)]
            for name, (connection, model) in asked.items():
                pending[name].append(pool.submit(send, connection, model, prompt, load.output_tokens))
        return {name: summary([request.result() for request in requests]) for name, requests in pending.items()}


def send(connection: OpenAI, model: str, prompt: str, output_tokens: int) -> Timed:
    body = {"model": model, "messages": [{"role": "user", "content": prompt}], "max_tokens": output_tokens}
    body["stream_options"] = {"include_usage": True}
    return time_stream(connection, body)


def time_stream(connection: OpenAI, body: dict[str, Any]) -> Timed:
    """Send a chat request as a stream, and note when its pieces come."""
    timed, started = Timed(), time.monotonic()
    try:
        timed.times = [time.monotonic() - started for _ in client.stream(connection, body, timed.answer)]
        timed.error = timed.answer.error or ("" if timed.answer.finish_reason else "the stream ended in mid-answer")
    except openai.APIStatusError as error:
        timed.error = f"{error.status_code}: {client.message_of(error)}"
    except openai.APIConnectionError as error:
        timed.error = f"the answer broke off: {error.__cause__ or error!r}"
    return timed


def summary(requests: list[Timed]) -> Measurement:
    answered = [request for request in requests if not request.error]
    empty = [request for request in answered if not request.answer.content.strip() and not thinks_only(request)]
    gaps = [later - earlier for request in answered for earlier, later in pairwise(request.times)]
    rates = [rate for request in answered if (rate := request.tokens_per_second)]
    return Measurement(
        requests=len(requests),
        errors=len(requests) - len(answered),
        first_error=next((request.error for request in requests if request.error), "")[:500],
        empty_answers=len(empty),
        ttft=percentiles([request.times[0] for request in answered if request.times]),
        inter_token=percentiles(gaps),
        tokens_per_second=round(statistics.median(rates), 2) if rates else None,
    )


def thinks_only(request: Timed) -> bool:
    """Whether the model was still thinking when the answer reached its limit of tokens."""
    return request.answer.finish_reason == "length" and bool(request.answer.reasoning.strip())


def percentiles(seconds: list[float]) -> Percentiles | None:
    if not seconds:
        return None
    cuts = statistics.quantiles(seconds, n=20, method="inclusive") if len(seconds) > 1 else seconds * 19
    return Percentiles(p50=round(cuts[9], 4), p95=round(cuts[18], 4))
