"""Asks the shared limits before each request of a key that has limits, and reports what its answer took."""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from serving.auth.key_file import ApiKey
from serving.auth.limits import Limits

PATIENCE_S = (
    0.5  # guess: an answer takes about 1 ms, see docs/authentication.md; a request should not wait for a dead one
)
PAUSE_S = 5.0  # guess: how often a process looks whether the limits are there again

logger = logging.getLogger("ray.serve")


class Limiter:
    """The limits as one process sees them.

    While the shared ones cannot be asked, it counts by itself and serves on: limits guard against too much use, and an
    outage of a counter should not be one of the service. Each process then lets in as much as the limits say.
    """

    def __init__(self, find: Callable[[], Any]) -> None:
        """`find` returns the handle of a SharedLimits, and raises where there is none."""
        self._find = find
        self._actor: Any = None
        self._away_until = 0.0
        self._own = Limits()
        self._unreported: Counter[str] = Counter()

    async def take(self, key: ApiKey) -> tuple[str, int] | None:
        """The same as `Limits.take`."""
        if not (key.requests_per_minute or key.tokens_per_day):
            return None
        wanted = key.name, key.requests_per_minute, key.tokens_per_day
        try:
            return await self._ask("take", *wanted)
        except Away:
            return self._own.take(*wanted)

    async def spend(self, key: ApiKey, tokens: int) -> None:
        """Count the tokens of an answer. Those that cannot be reported now are with the next ones."""
        if not (key.tokens_per_day and tokens):
            return
        self._own.spend({key.name: tokens})
        self._unreported[key.name] += tokens
        reported, self._unreported = self._unreported, Counter()
        try:
            await self._ask("spend", dict(reported))
        except Away:
            self._unreported.update(reported)

    async def _ask(self, method: str, *args: Any) -> Any:
        if time.monotonic() < self._away_until:
            raise Away
        try:
            async with asyncio.timeout(PATIENCE_S):
                if self._actor is None:
                    self._actor = await asyncio.to_thread(self._find)
                answer = await getattr(self._actor, method).remote(*args)
        except Exception as error:  # whatever it is, requests go on
            if not self._away_until:
                logger.warning(f"The limits of API keys cannot be asked, each process counts by itself: {error!r}")
            self._actor, self._away_until = None, time.monotonic() + PAUSE_S
            raise Away from None
        if self._away_until:
            logger.info("The limits of API keys can be asked again.")
            self._away_until = 0.0
        return answer


class Away(Exception):
    """The shared limits cannot be asked now."""
