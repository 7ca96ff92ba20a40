"""What each key has used, counted in one place for all replicas: a Ray actor that Serve keeps alive.

Serve's controller unpickles this module where the rest of the repository is not there, so it imports nothing of it.
"""

import json
import math
import time
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, field

import ray
from ray.experimental import internal_kv

MINUTE_S = 60
DAY_S = 86_400
REQUESTS, TOKENS = "requests", "tokens"
"""What a refusal is for."""


@dataclass
class Limits:
    """Requests of the last minute and tokens of the day (UTC), by the name of a key."""

    clock: Callable[[], float] = time.time
    day: int = 0
    """Days since 1970."""
    tokens: dict[str, int] = field(default_factory=dict)
    """Spent on `day`."""
    admitted: dict[str, deque[float]] = field(default_factory=lambda: defaultdict(deque))
    """The times at which requests of the last minute were let in; as many times as the limit allows, at most."""

    def take(self, name: str, requests_per_minute: int | None, tokens_per_day: int | None) -> tuple[str, int] | None:
        """Let a request in and count it; else what is used up, REQUESTS or TOKENS, and in how many seconds it is not.

        Never lets in more than `requests_per_minute` within any 60 seconds.
        """
        now = self.clock()
        self.begin_day(now)
        if tokens_per_day and self.tokens.get(name, 0) >= tokens_per_day:
            return TOKENS, math.ceil(DAY_S - now % DAY_S)
        if requests_per_minute:
            times = self.admitted[name]
            while times and times[0] <= now - MINUTE_S:
                times.popleft()
            if len(times) >= requests_per_minute:
                # A limit that was lowered leaves more times than it allows: the one that must go is further on.
                return REQUESTS, max(1, math.ceil(times[-requests_per_minute] + MINUTE_S - now))
            times.append(now)
        return None

    def spend(self, tokens: dict[str, int]) -> None:
        """Count tokens of answers, by the name of a key."""
        self.begin_day(self.clock())
        for name, number in tokens.items():
            self.tokens[name] = self.tokens.get(name, 0) + number

    def begin_day(self, now: float) -> None:
        if (today := int(now // DAY_S)) != self.day:
            self.day, self.tokens = today, {}


@ray.remote
class SharedLimits:
    """The Limits of a deployment, as an actor.

    The day's tokens are also in Ray's internal key-value store, so that they outlive the actor's process; the
    requests of the last minute are not. Both end with the cluster.
    """

    def __init__(self, store_key: str = "") -> None:
        self.store_key = f"api-key-tokens/{store_key or deployment()}".encode()
        kept = json.loads(internal_kv._internal_kv_get(self.store_key) or "{}")
        self.limits = Limits(**kept)

    def take(self, name: str, requests_per_minute: int | None, tokens_per_day: int | None) -> tuple[str, int] | None:
        return self.limits.take(name, requests_per_minute, tokens_per_day)

    def spend(self, tokens: dict[str, int]) -> None:
        self.limits.spend(tokens)
        kept = {"day": self.limits.day, "tokens": self.limits.tokens}
        internal_kv._internal_kv_put(self.store_key, json.dumps(kept).encode())

    def spent(self) -> dict[str, int]:
        """The day's tokens, by the name of a key."""
        self.limits.begin_day(self.limits.clock())
        return self.limits.tokens


def deployment() -> str:
    """The application and deployment that this actor belongs to."""
    from ray import serve

    here = serve.get_deployment_actor_context()
    return f"{here.app_name}/{here.deployment}"
