"""What a rehearsal can make go wrong."""

from pydantic import PrivateAttr

from ops.project.strict_model import StrictModel

CLIENT_TRIES = 4
"""How often the CLI sends a PUT whose connection breaks: TOTAL_RETRIES in its rate_limit_retry_util.py, and once."""


class Faults(StrictModel):
    """What goes wrong from now on; `PUT /rehearsal/faults` replaces all of it."""

    build_fails: bool = False
    """Image builds that end from now on fail."""

    never_healthy: bool = False
    """Versions that are starting stay STARTING."""

    unhealthy_at: int | None = None
    """A canary that has reached this weight turns UNHEALTHY."""

    api_status: int | None = None
    """The next `api_times` calls are answered with this status, and nothing is done."""

    api_hangs_s: float | None = None
    """The replies of the next `api_times` calls come this late."""

    api_times: int = 0
    api_path: str = ""
    """Which calls `api_status` and `api_hangs_s` mean: those with this in their path."""

    lose_apply_reply: bool = False
    """The next apply is done, and its connection is closed without an answer, as are those of the CLI's own retries.

    They are not done again: as if the network broke after the first.
    """

    service_state: str | None = None
    """Reported as the state of every service instead of the real one."""

    version_state: str | None = None
    """Reported as the state of every version instead of the real one."""

    _replies_lost: int = PrivateAttr(0)

    def hits(self, path: str) -> bool:
        """Whether this API call is one of the next `api_times`; counts it."""
        if self.api_times == 0 or self.api_path not in path:
            return False
        self.api_times -= 1
        return True

    def loses_reply(self, path: str) -> bool:
        """Whether this call's reply is lost; counts it."""
        if not self.lose_apply_reply or not path.endswith("/apply"):
            return False
        self._replies_lost += 1
        self.lose_apply_reply = self._replies_lost < CLIENT_TRIES
        return True

    def is_retry(self) -> bool:
        """Whether the reply that is lost is one to a retry."""
        return self._replies_lost > 1
