"""What a check found: where, what is wrong, why it matters and what to do."""

from pydantic import BaseModel

from ops.project.place import Place
from ops.project.service_files import ServiceFiles


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


def make_finding(files: ServiceFiles, check: str, place: Place, *, what: str, why: str, fix: str) -> Finding:
    file = place.file.relative_to(files.root) if place.file.is_relative_to(files.root) else place.file
    return Finding(check=check, file=str(file), line=place.line, what=what, why=why, fix=fix)
