"""Wait until a version of a service is where it is to be, or until it is plain that it will not get there."""

import time
from collections.abc import Callable

from ops.cloud import service_state
from ops.cloud.service_state import ServiceState, TryAgain, Version
from ops.console.cli import CommandError, Failed
from ops.console.progress import Progress

POLL_S = 2  # guess: the SDK asks six questions a time
OUTAGE_S = 300  # guess: longer than a deploy of Anyscale's own takes, shorter than somebody notices
UNHEALTHY_S = 60  # guess: a replica that is being replaced makes a version unhealthy for a while
NOT_SEEN_S = 30  # guess: what was just accepted may not be listed at once
LOST = {"SYSTEM_FAILURE", "TERMINATING", "TERMINATED", "UNKNOWN"}


class NotReached(Failed):
    """Why a version will not get where it is to be, in sentences."""


def until(
    service_id: str,
    reached: Callable[[ServiceState], bool],
    lost: Callable[[ServiceState], str],
    progress: Progress,
    timeout_s: float,
    awaited: Callable[[ServiceState], str],
) -> ServiceState:
    """Read the service until it is `reached`; returns it then.

    Args:
        lost: why it will not be reached any more, or an empty text.
        awaited: what to show while it waits.

    Raises:
        NotReached: it is lost, or the time is up.
        Failed: Anyscale could not be asked for OUTAGE_S seconds, or says what is not understood here.
    """
    started = last_answer = time.monotonic()
    progress_so_far = "Anyscale did not answer."
    while True:
        try:
            state = service_state.read(service_id)
        except TryAgain as error:
            if time.monotonic() - last_answer > OUTAGE_S:
                raise Failed(f"{error} It has been so for {OUTAGE_S} s.") from None
            progress.waiting_for(f"Anyscale to answer. {error}")
        except CommandError as error:
            raise Failed(str(error)) from None
        else:
            last_answer = time.monotonic()
            if reached(state):
                return state
            if why := lost(state):
                raise NotReached(why)
            progress_so_far = awaited(state)
            progress.waiting_for(progress_so_far)
        if time.monotonic() - started > timeout_s:
            raise NotReached(f"It has not got there within {timeout_s:.0f} s. {progress_so_far}")
        time.sleep(POLL_S)


class LostVersion:
    """Says why a version will not run any more, from one look at the service to the next."""

    def __init__(self, version: str) -> None:
        self.version = version
        self.started = time.monotonic()
        self.seen = False
        self.unhealthy_since: float | None = None

    def __call__(self, state: ServiceState) -> str:
        version, now = state.version(self.version), time.monotonic()
        if version is None:
            if self.seen or now - self.started > NOT_SEEN_S:
                return f"Anyscale gave {self.version} up: the service runs {state.primary.name}."
            return ""
        self.seen = True
        if state.state == "ROLLING_BACK" and version is not state.primary:
            return f"Anyscale is rolling {self.version} back. {checklist_in_words(state, version)}"
        for place in (state.state, version.state):
            if place in LOST:
                return f"{self.version} is {place}. {checklist_in_words(state, version)}"
        if version.state != "UNHEALTHY":
            self.unhealthy_since = None
            return ""
        self.unhealthy_since = self.unhealthy_since or now
        if now - self.unhealthy_since < UNHEALTHY_S:
            return ""
        return f"{self.version} has been UNHEALTHY for {UNHEALTHY_S} s. {checklist_in_words(state, version)}"


def for_primary(service_id: str, version: str, progress: Progress, timeout_s: float) -> ServiceState:
    """Wait until a version has all traffic and the service runs. Raises what `until` does."""

    def reached(state: ServiceState) -> bool:
        return state.primary.name == version and state.canary is None and state.state == "RUNNING"

    return until(service_id, reached, LostVersion(version), progress, timeout_s, in_words(version))


def for_canary(service_id: str, version: str, weight: int, progress: Progress, timeout_s: float) -> ServiceState:
    """Wait until the canary runs with `weight` percent of the traffic. Raises what `until` does.

    The service itself stays ROLLING_OUT as long as the weight is pinned, so the canary's own state is what counts.
    """

    def reached(state: ServiceState) -> bool:
        canary = state.canary
        return bool(canary) and (canary.name, canary.state, canary.weight) == (version, "RUNNING", weight)

    return until(service_id, reached, LostVersion(version), progress, timeout_s, in_words(version))


def in_words(name: str) -> Callable[[ServiceState], str]:
    def describe(state: ServiceState) -> str:
        version = state.version(name)
        if version is None:
            return f"{name} to be listed"
        return f"{name}, {version.state} with {version.weight}%. {checklist_in_words(state, version)}".strip()

    return describe


def checklist_in_words(state: ServiceState, version: Version | None = None) -> str:
    """What of the service's parts does not run, and what Anyscale says about it."""
    items = [*state.checklist, *(version.checklist if version else [])]
    return "; ".join(f"{item.label} {item.state}: {item.message}" for item in items if item.state != "RUNNING")
