"""What changes a service on Anyscale: each a call of the CLI, and a look at whether it was done.

A call that fails may have been done all the same, its answer lost on the way; and one that was not may be worth
another try.
"""

import json
import time
from collections.abc import Callable, Collection
from pathlib import Path

from ops.cloud import anyscale_cli, service_state
from ops.cloud.service_state import ServiceState, Version
from ops.cloud.version_spec import VersionSpec
from ops.cloud.waiting import NOT_SEEN_S, OUTAGE_S
from ops.console.cli import CommandError, Failed

ATTEMPTS = 4
PAUSE_S = 5  # guess


class NotDone(CommandError):
    """Anyscale did not do it; the message says why. The service is as it was."""


def deploy(release: VersionSpec, file: Path, canary_percent: int | None = None) -> str:
    """Hand a release to Anyscale, which starts it; returns the id of the service.

    Args:
        file: its service.yaml.
        canary_percent: the share of traffic it is to get and keep; None lets Anyscale move all, as a new service has.

    Raises:
        NotDone: Anyscale does not take it.
        Failed: whether it did cannot be told.
    """
    words = ["service", "deploy", "-f", str(file), *anyscale_cli.secret_words(release.secrets)]
    if canary_percent is not None:
        words += ["--canary-percent", str(canary_percent)]
    builds = "containerfile" in release.config

    def accepted() -> ServiceState | None:
        state = service_state.find(release.target, OUTAGE_S)
        return state if state and state.version(release.version) else None

    timeout_s = anyscale_cli.BUILD_TIMEOUT_S if builds else anyscale_cli.CALL_TIMEOUT_S
    call(words, accepted, release.secrets.values(), timeout_s)
    deadline = time.monotonic() + NOT_SEEN_S
    while (state := seen(accepted, words)) is None:
        if time.monotonic() > deadline:
            raise Failed(f"Anyscale took {release.version}, and does not list it {NOT_SEEN_S} s later.")
        time.sleep(PAUSE_S)
    return state.id


def move_weight(state: ServiceState, new: Version, weight: int, project: str | None) -> None:
    """Give `new`, the canary of a service, `weight` percent of the traffic; 100 makes it the primary.

    Raises:
        NotDone: Anyscale does not do it.
    """
    canary = new.name
    weights = [(canary, weight), (state.primary.name, 100 - weight)]
    versions = json.dumps([{"name": name, "traffic_percent": percent} for name, percent in weights])
    # Without a file: the CLI sends the canary's own configuration again, so nothing else can change by the way.
    words = ["service", "deploy", "-n", state.name, "--versions", versions]
    words += [
        word for flag, value in (("--cloud", state.cloud), ("--project", project)) if value for word in (flag, value)
    ]

    def moved() -> ServiceState | None:
        now = read(state.id)
        version = now.version(canary)
        return now if version and (version.weight == weight or now.primary.name == canary) else None

    call(words, moved)


def cancel_rollout(service_id: str) -> None:
    """Give all traffic back to the primary. Raises NotDone: Anyscale does not do it."""

    def begun() -> ServiceState | None:
        now = read(service_id)
        return now if now.canary is None or now.state == "ROLLING_BACK" else None

    call(["service", "rollback", "--service-id", service_id], begun)


def terminate(service_id: str) -> None:
    """Stop a service and all it runs on. Raises NotDone: Anyscale does not do it."""

    def begun() -> ServiceState | None:
        now = read(service_id)
        return now if now.state in ("TERMINATING", "TERMINATED") else None

    call(["service", "terminate", "--service-id", service_id], begun)


def call(
    words: list[str],
    done: Callable[[], ServiceState | None],
    secrets: Collection[str] = (),
    timeout_s: float = anyscale_cli.CALL_TIMEOUT_S,
) -> None:
    """Run the CLI until it succeeds, or the service shows that what it asked for is `done`.

    Raises:
        NotDone: it was not done, and trying again would not help.
        Failed: whether it was done cannot be told.
    """
    for attempt in range(1, ATTEMPTS + 1):
        outcome = anyscale_cli.run(*words, secrets=secrets, timeout_s=timeout_s)
        if outcome.code == 0 or seen(done, words) is not None:
            return
        if not outcome.may_be_tried_again or attempt == ATTEMPTS:
            raise NotDone(f"`anyscale {words[0]} {words[1]}` failed. {outcome.reason}")
        time.sleep(PAUSE_S)


def read(service_id: str) -> ServiceState:
    return service_state.patiently(lambda: service_state.read(service_id), OUTAGE_S)


def seen(done: Callable[[], ServiceState | None], words: list[str]) -> ServiceState | None:
    """The service where it shows that it was done, else None. Raises Failed: that cannot be told."""
    try:
        return done()
    except CommandError as error:
        raise Failed(f"Whether `anyscale {words[0]} {words[1]}` was done cannot be told. {error}") from None
