"""What Anyscale says about a service, read through its SDK and typed."""

import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as LateError
from dataclasses import dataclass, field
from typing import Any

from ops.console.cli import CommandError, err

PATIENCE_S = 30  # guess: what is only a busy moment is over by then
PAUSE_S = 3
ANSWER_TIMEOUT_S = 30  # guess: the API answers within a second; the SDK itself would wait forever


class TryAgain(Exception):
    """Anyscale could not be asked just now: too many requests, an error of its own, or the network. In a sentence."""


@dataclass(frozen=True)
class Target:
    """Which service on Anyscale is meant. Names are unique within a project of a cloud only."""

    name: str
    cloud: str | None = None
    project: str | None = None

    def __str__(self) -> str:
        cloud, project = self.cloud or "the default cloud", self.project or "the default project"
        return f"{self.name} in {cloud}, {project}"


@dataclass(frozen=True)
class ChecklistItem:
    """One thing that a service needs, such as its load balancer, and how it is."""

    label: str
    state: str
    message: str


@dataclass(frozen=True)
class Version:
    id: str
    name: str
    state: str
    weight: int
    """Percent of the traffic."""
    config: dict[str, Any] = field(repr=False)
    """The service.yaml that it is made of. Its env_vars have the values of secrets: never print or keep them."""
    checklist: list[ChecklistItem] = field(default_factory=list)


@dataclass(frozen=True)
class ServiceState:
    id: str
    name: str
    state: str
    url: str
    token: str | None = field(repr=False)
    """What its clients send as bearer token; None where it asks for none."""
    cloud: str | None
    primary: Version
    canary: Version | None
    checklist: list[ChecklistItem] = field(default_factory=list)

    def version(self, name: str) -> Version | None:
        return next((version for version in (self.canary, self.primary) if version and version.name == name), None)


def find(target: Target, patience_s: float = PATIENCE_S) -> ServiceState | None:
    """The service, or None where there is none.

    Raises:
        CommandError: several services have that name, it is elsewhere, Anyscale refuses to tell, or cannot be asked
            for `patience_s` seconds.
    """
    return patiently(lambda: find_now(target), patience_s)


def find_now(target: Target) -> ServiceState | None:
    here = named(target)
    if len(here) > 1:
        raise CommandError(f"There are {len(here)} services named {target.name}. Say which: --cloud and --project.")
    if here:
        return here[0]
    elsewhere = named(Target(target.name)) if target.cloud or target.project else []
    clouds = sorted({service.cloud or "another cloud" for service in elsewhere})
    if target.cloud and clouds and target.cloud not in clouds:
        raise CommandError(
            f"A service named {target.name} is in {', '.join(clouds)}, and a deploy to {target.cloud} would not move "
            "it but start a second one. Name that cloud with --cloud, or give another name with --name."
        )
    return None


def named(target: Target) -> list[ServiceState]:
    filters = {"name": target.name, "cloud": target.cloud, "project": target.project}
    return ask(lambda sdk: [typed(one) for one in sdk.list(**filters) if one.name == target.name])


def read(service_id: str) -> ServiceState:
    """The service of that id, now.

    Raises:
        CommandError: it is gone, reports a state that is not known here, or Anyscale refuses to tell.
        TryAgain: Anyscale cannot be asked just now.
    """
    found = ask(lambda sdk: list(sdk.list(service_id=service_id)))
    if not found:
        raise CommandError(f"Anyscale knows no service {service_id} any more.")
    return typed(found[0])


def patiently(question: Callable[[], Any], patience_s: float) -> Any:
    """What `question` answers, asked again while Anyscale cannot be asked.

    Raises:
        CommandError: `patience_s` seconds after the first time that it could not, it still cannot.
    """
    deadline = None
    while True:
        try:
            return question()
        except TryAgain as error:
            deadline = deadline or time.monotonic() + patience_s
            if time.monotonic() > deadline:
                raise CommandError(str(error)) from None
            err.print(f"{error} Trying again ...", markup=False)
            time.sleep(PAUSE_S)


def ask(question: Callable[[Any], Any]) -> Any:
    """What the SDK's service functions answer, with its many exceptions as two."""
    from anyscale import authenticate  # takes seconds, and reads ANYSCALE_HOST
    from anyscale import service as sdk

    logging.getLogger("urllib3").setLevel(logging.ERROR)
    pool = ThreadPoolExecutor(1)
    try:
        return pool.submit(question, sdk).result(timeout=ANSWER_TIMEOUT_S)
    except LateError:
        raise TryAgain(f"Anyscale did not answer within {ANSWER_TIMEOUT_S} s.") from None
    except CommandError:
        raise
    except Exception as error:
        authenticate._auth_api_client_cache.value = None  # it would raise a first error again each time it is asked
        raise translated(error) from error
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def translated(error: Exception) -> Exception:
    status = next((code for cause in causes(error) if isinstance(code := getattr(cause, "status", None), int)), None)
    text = getattr(error, "message", "") or str(error)
    if "is not a valid ServiceVersionState" in text:
        return CommandError(f"Anyscale reports a state that this version of its CLI does not know: {text}")
    if status in (401, 403) or "credentials" in text.lower():
        return CommandError(
            f"Anyscale does not accept the token ({text.strip()}). It may have expired: log in with "
            "`anyscale login`, or set ANYSCALE_CLI_TOKEN."
        )
    if status == 429 or (status or 0) >= 500 or any("urllib3" in type(cause).__module__ for cause in causes(error)):
        return TryAgain(f"Anyscale cannot be asked just now: {status or ''} {text.strip()[:300]}")
    return CommandError(f"Anyscale answers: {text.strip()[:500]}")


def causes(error: BaseException | None) -> list[BaseException]:
    """The error and those behind it, also where they were hidden with `from None`."""
    chain = []
    while error:
        chain.append(error)
        error = error.__cause__ or error.__context__
    return chain


def typed(status: Any) -> ServiceState:
    """Raises CommandError: it is a kind of service, or in a state, that is not understood here."""
    if status.primary_version is None:
        raise CommandError(f"{status.name} runs several versions side by side; this command handles one and a canary.")
    if str(status.state) == "UNKNOWN":
        raise CommandError(
            f"{status.name} is in a state that this version of the anyscale package does not know. "
            "Update it: pip install -U anyscale"
        )
    lists = {entry.version_id: entry.items for entry in per_version(status)}
    primary = version_of(status.primary_version, lists)
    canary = version_of(status.canary_version, lists) if status.canary_version else None
    if canary and canary.name == primary.name and canary.id != primary.id:
        raise CommandError(
            f"Both versions of {status.name} are named {primary.name}, so they cannot be told apart. "
            f"Cancel the rollout: anyscale service rollback --name {status.name}"
        )
    checklist = status.service_status_checklist
    return ServiceState(
        id=status.id,
        name=status.name,
        state=str(status.state),
        url=status.query_url.rstrip("/"),
        token=status.query_auth_token,
        cloud=status.primary_version.config.cloud,
        primary=primary,
        canary=canary,
        checklist=items(checklist.shared) if checklist else [],
    )


def per_version(status: Any) -> list[Any]:
    return status.service_status_checklist.per_version if status.service_status_checklist else []


def version_of(version: Any, lists: dict[str, Any]) -> Version:
    its_items = next((found for id, found in lists.items() if id.endswith(version.id)), [])
    return Version(
        id=version.id,
        name=version.name,
        state=str(version.state),
        weight=version.weight,
        config=version.config.to_dict(),
        checklist=items(its_items),
    )


def items(checklist: list[Any]) -> list[ChecklistItem]:
    return [ChecklistItem(item.label, item.state, item.message) for item in checklist]
