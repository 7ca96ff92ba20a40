"""What a check found: where, what is wrong, why it matters and what to do."""

from pathlib import Path

from pydantic import BaseModel

from ops.check.registry import Rule, Severity
from ops.project.place import Place
from ops.project.service_files import ServiceFiles


class Finding(BaseModel):
    """One fault, in sentences for the person who is about to deploy."""

    check: str
    """The id of its rule, such as `no-autoscaling-target`."""
    severity: Severity
    file: str
    """Relative to the root of the repository; the option of the command line where that gives the value."""
    line: int
    """0 for an option."""
    what: str
    why: str
    fix: str

    @property
    def where(self) -> str:
        return f"{self.file}:{self.line}" if self.line else self.file


class NotChecked(BaseModel):
    """What a run could not know about a service, in a sentence."""

    service: str
    what: str


def make_finding(files: ServiceFiles, rule: Rule, place: Place, *, what: str, why: str = "", fix: str = "") -> Finding:
    """A finding of a rule in the files of a service.

    Args:
        what: what is wrong at this place.
        why: where more is known than what the rule says; likewise `fix`.
    """
    return finding_at(files.root, rule, place, what, why, fix)


def finding_at(root: Path, rule: Rule, place: Place, what: str, why: str = "", fix: str = "") -> Finding:
    file = place.file.relative_to(root) if place.file.is_relative_to(root) else place.file
    return Finding(
        check=rule.id,
        severity=rule.severity,
        file=place.option or str(file),
        line=0 if place.option else place.line,
        what=what,
        why=why or rule.why,
        fix=fix or rule.fix,
    )
