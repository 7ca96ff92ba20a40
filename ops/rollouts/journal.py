"""What was done to a service and what was seen of it, one JSON line each: `rollouts/<service>/<time>/journal.jsonl`.

A line is on disk before what it announces is begun, so that whoever finds the journal of a killed command knows more
than was done, never less.
"""

import os
from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

from filelock import FileLock, Timeout
from pydantic import Field

from ops.cloud.version_spec import Previous
from ops.console.cli import CommandError
from ops.probing.measurement import Measurement
from ops.project.catalogue import ROOT
from ops.project.strict_model import StrictModel

FOLDER = ROOT / "rollouts"


class State(StrEnum):
    """How far a deploy or a rollout is."""

    PLANNED = "planned"
    """What is to be done, and what to go back to, is known. Nothing is changed."""
    DEPLOYING = "deploying"
    """The new version is being handed to Anyscale."""
    MOVING = "moving"
    """Traffic is being moved to `weight` percent for the new version."""
    BAKING = "baking"
    """The new version has `weight` percent, for a while."""
    CHECKING = "checking"
    """It is being probed and measured."""
    PASSED = "passed"
    """It met the SLO at `weight` percent."""
    PROMOTED = "promoted"
    """It is the primary version."""
    FINISHED = "finished"
    """The end: the new version has all traffic and passed."""
    ROLLING_BACK = "rolling back"
    """`why` says what for. The version before is being given all traffic."""
    ROLLED_BACK = "rolled back"
    """The end: the version before has all traffic and passed its probe."""
    FAILED = "failed"
    """The end: `why` says what could not be done. Somebody has to look."""


ENDS = {State.FINISHED, State.ROLLED_BACK, State.FAILED}


class Plan(StrictModel):
    """What a deploy or a rollout is about to do."""

    kind: str
    """`deploy`, `rollout` or `rollback`"""
    service: str
    """The folder of services/ it is made from, such as small-size-llm."""
    name: str
    """What it is called on Anyscale."""
    cloud: str | None
    project: str | None
    version: str
    steps: list[int]
    """Percent of the traffic, one after the other; [100] for a deploy."""
    bake_s: float
    start_timeout_s: float
    """The longest that the version may take to run."""
    slo: str | None
    """The SLO file. A copy of it lies beside the journal."""
    previous: Previous | None
    """None for a first deploy: there is nothing to go back to."""

    @property
    def goes_back_to(self) -> Previous:
        """What a rollback brings back. Raises CommandError: it was a first deploy."""
        if self.previous is None:
            raise CommandError(f"{self.version} is the first version of {self.name}: nothing ran before it.")
        return self.previous


class Entry(StrictModel):
    """One line of a journal."""

    at: datetime = Field(default_factory=lambda: datetime.now(UTC))
    state: State
    weight: int | None = None
    """Percent of the traffic that the new version has, or is to have while `deploying` or `moving`."""
    plan: Plan | None = None
    """The plan, in the entry `planned` only."""
    readings: dict[str, Measurement] = Field(default_factory=dict)
    """The readings of `canary` and `primary` (of each model, where there are several), with `passed`, `finished`,
    `rolling back`."""
    why: list[str] = Field(default_factory=list)
    """Sentences."""
    resumed: bool = False
    """Another command went on from here."""


class Journal:
    """The journal in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "journal.jsonl"

    def write(self, entry: Entry) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        whole = self.whole_lines()
        with self.file.open("a") as file:
            file.truncate(sum(len(line.encode()) for line in whole))
            file.write(entry.model_dump_json() + "\n")
            file.flush()
            os.fsync(file.fileno())

    def entries(self) -> list[Entry]:
        """Raises CommandError: a line cannot be read."""
        try:
            return [Entry.model_validate_json(line) for line in self.whole_lines()]
        except ValueError as error:
            raise CommandError(f"{self.file} cannot be read. {error}") from None

    def whole_lines(self) -> list[str]:
        """The lines of the file, without one that a kill cut short."""
        lines = self.file.read_text().splitlines(keepends=True) if self.file.exists() else []
        return lines if not lines or lines[-1].endswith("\n") else lines[:-1]

    @property
    def plan(self) -> Plan:
        """Raises CommandError: the first line, which holds it, has none."""
        plan = self.entries()[0].plan
        if plan is None:
            raise CommandError(f"{self.file} does not begin with a plan. Was its first line changed?")
        return plan

    @property
    def last(self) -> Entry:
        return self.entries()[-1]


def new(name: str) -> Journal:
    """A journal of what is about to be done to the service of that name, in a folder of its own."""
    return Journal(FOLDER / name / datetime.now(UTC).strftime("%Y%m%d-%H%M%S-%f"))


def of(name: str) -> list[Journal]:
    """All journals of a service, the newest first."""
    files = sorted((FOLDER / name).glob("*/journal.jsonl"), reverse=True)
    return [journal for journal in map(Journal, (file.parent for file in files)) if journal.entries()]


@contextmanager
def lock(name: str) -> Generator[None]:
    """Held while a command changes the service of that name.

    Raises:
        CommandError: another command of this checkout holds it.
    """
    (FOLDER / name).mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(FOLDER / name / "lock", timeout=0):
            yield
    except Timeout:
        raise CommandError(
            f"Another command is changing {name} right now. Wait for it; scripts/status --watch shows how far it is."
        ) from None
