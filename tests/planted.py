"""Faults planted in a copy of the repository with the services of tests/fixtures, to see what scripts/check says."""

from dataclasses import dataclass
from pathlib import Path

from ops.check import run
from ops.check.finding import Finding
from ops.project.service_files import ServiceFiles, line_with


@dataclass(frozen=True)
class Fault:
    """What stands in a file becomes something else, and a check says so."""

    name: str
    file: str
    old: str
    new: str
    check: str
    at: str = ""
    """What is in the line that the finding names; default: `new`. `FILE: text` where that is in another file."""
    also: tuple[tuple[str, str, str], ...] = ()
    """Other changes that are no faults by themselves: file, old, new."""

    @property
    def folder(self) -> str:
        """The folder of the service that has it: small_size_llm where the file is shared."""
        return Path(self.file).parts[1] if self.file.startswith("services/") else "small_size_llm"


def change(root: Path, file: str, old: str, new: str) -> None:
    text = (root / file).read_text()
    assert old in text
    (root / file).write_text(text.replace(old, new, 1))


def plant(root: Path, fault: Fault) -> tuple[str, str, int]:
    """The check, file and line that the finding must have."""
    for file, old, new in ((fault.file, fault.old, fault.new), *fault.also):
        change(root, file, old, new)
    elsewhere, _, text = fault.at.partition(": ")
    file, text = (elsewhere, text) if text and (root / elsewhere).is_file() else (fault.file, fault.at or fault.new)
    return fault.check, file, line_with((root / file).read_text().splitlines(), text)


def findings(root: Path, folder: str = "small_size_llm") -> list[Finding]:
    """What all checks but that of the upload find in a service, as scripts/check tells it."""
    files = ServiceFiles(root, root / "services" / folder)
    return run.once(run.run([*run.QUICK, *(check for group in run.SLOW for check in group)], files))


def places(findings: list[Finding]) -> list[tuple[str, str, int]]:
    return [(finding.check, finding.file, finding.line) for finding in findings]
