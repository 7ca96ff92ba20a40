"""Routing in front of engines: a service with two replicas, its probe, and which replica answered what."""

import random
import re
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import pytest

from ops.project import probe_file
from ops.project.catalogue import Service
from serving.routing.choice import DEFAULT_SESSION_HEADER, FORWARD_BODY
from tests import project
from tests.running import Served, check_probe_passes, serving

SERVICE = Service(project.SERVICES / "reasoning_llm")
MODEL = probe_file.load(SERVICE.probe_file).model
ANSWERED = re.compile(r"POST /v1/chat/completions 200")
TOGETHER, APART = 6, 20  # of 20 sessions, all go to one of two replicas once in half a million runs


@dataclass
class Routed:
    routing: str
    served: Served

    def ask(self, belongs_to: str) -> None:
        """Send a request of a session, or with a prompt that begins as all others which belong to the same."""
        headers = {DEFAULT_SESSION_HEADER: belongs_to} if self.routing == "session" else {}
        begins = " ".join(random.Random(belongs_to).choices("abcdefghijklmnopqrstuvwxyz", k=200))
        prompt = "Hi" if self.routing == "session" else f"{begins} Question {time.monotonic_ns()}?"
        body = {"model": MODEL, "messages": [{"role": "user", "content": prompt}], "max_tokens": 4}
        httpx.post(f"{self.served.url}/v1/chat/completions", json=body, headers=headers, timeout=60).raise_for_status()

    def answered(self) -> Counter[str]:
        """How many requests each replica has answered, by its own log."""
        logs = self.served.logs.glob("serve/replica_*LLMServer*.log")
        return Counter({log.name: len(ANSWERED.findall(log.read_text())) for log in logs})

    def answers_to(self, sessions: list[str]) -> list[int]:
        """How many of these requests each replica answered."""
        before = self.answered()
        for session in sessions:
            self.ask(session)
        deadline = time.monotonic() + 10  # logs are written after the answer
        while (came := self.answered() - before).total() < len(sessions) and time.monotonic() < deadline:
            time.sleep(0.1)
        return sorted(came.values())


@pytest.fixture(scope="module", params=["session", "prefix"])
def routed(request, checkout) -> Iterator[Routed]:
    passed_on = {FORWARD_BODY: "1"} if request.param == "prefix" else {}
    words = ("--replicas", "2", "--set", f"routing={request.param}")
    with serving(checkout.run, SERVICE, *words, **passed_on) as running:
        yield Routed(request.param, running)


def test_probe_passes(routed, checkout):
    check_probe_passes(routed.served, checkout.run)


def test_what_belongs_together_is_answered_by_one_replica(routed):
    assert routed.answers_to(["one"] * TOGETHER) == [TOGETHER]


def test_what_does_not_is_answered_by_both(routed):
    answers = routed.answers_to([f"number {number}" for number in range(APART)])
    assert len(answers) == 2
    assert sum(answers) == APART
