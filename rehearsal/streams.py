"""Clients that hold long streams open, one after the other, and count those that were cut."""

import threading
import time
from dataclasses import dataclass, field

import openai

from ops.probing import client
from ops.probing.client import Answer

TOKENS = 400  # 20 s on two cores, longer while an engine starts: each change of traffic finds streams open
TIMEOUT_S = 600


@dataclass
class Streams:
    """Start with `start`; `end` waits until the streams that are open have come to their end."""

    url: str
    token: str | None
    model: str
    held: int = 0
    """Streams that were open, whole or cut."""
    cut: list[str] = field(default_factory=list)
    """How each one that was cut ended."""
    threads: list[threading.Thread] = field(default_factory=list)
    ending: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def start(self, clients: int) -> None:
        self.threads = [threading.Thread(target=self.hold, daemon=True) for _ in range(clients)]
        for thread in self.threads:
            thread.start()

    def end(self) -> None:
        self.ending.set()
        for thread in self.threads:
            thread.join()

    def hold(self) -> None:
        connection = client.connect(self.url, self.token, TIMEOUT_S)
        while not self.ending.is_set():
            problem = self.read_one(connection)
            with self.lock:
                self.held += 1
                if problem:
                    self.cut.append(problem)
            if problem:
                time.sleep(1)  # a service that is gone must not be asked a thousand times

    def read_one(self, connection: openai.OpenAI) -> str:
        """Read a stream to its end; what was wrong with it, or an empty text."""
        question = [{"role": "user", "content": "Tell me a long story."}]
        body = {"model": self.model, "messages": question, "max_tokens": TOKENS, "ignore_eos": True}
        answer = Answer()
        try:
            pieces = sum(1 for _ in client.stream(connection, body, answer))
        except openai.OpenAIError as error:
            return f"it broke off: {error!r}"
        if answer.error or not answer.finish_reason:
            return f"it ended after {pieces} pieces without a finish_reason. {answer.error}"
        return ""
