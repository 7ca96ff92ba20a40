"""What a check found: where, what is wrong, why it matters and what to do."""

from pathlib import Path
from typing import NamedTuple

from pydantic import BaseModel


class Place(NamedTuple):
    file: Path
    line: int


class Finding(BaseModel):
    """One fault, in sentences for the person who is about to deploy."""

    check: str
    """The kind of fault, such as `no-autoscaling-target`; `scripts/deploy --force` takes it."""
    file: str
    """Relative to the root of the repository."""
    line: int
    what: str
    why: str
    fix: str


class NotChecked(BaseModel):
    """What a run could not know about a service, in a sentence."""

    service: str
    what: str
