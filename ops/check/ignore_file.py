"""check-ignore.yaml: findings that a user has decided to live with, each with the reason."""

import fnmatch
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, RootModel, field_validator

from ops.check import registry
from ops.check.finding import Finding, finding_at
from ops.console.cli import CommandError
from ops.project import yaml_file, yaml_models

NAME = "services/check-ignore.yaml"
"""Relative to the root of the repository; the file belongs to the user and need not be there."""


class IgnoreEntry(BaseModel):
    """One rule, silenced at one place."""

    model_config = ConfigDict(extra="forbid", strict=True)

    rule: str
    """The id of a rule."""
    place: str
    """A file, a folder or a pattern such as services/*/README.md, relative to the root; FILE:LINE is one line."""
    reason: str

    @field_validator("reason", "place")
    @classmethod
    def is_written(cls, value: str) -> str:
        if not value.strip():
            raise ValueError("it is empty")
        return value.strip()

    def path(self) -> str:
        path, _, line = self.place.rpartition(":")
        return (path if path and line.isdigit() else self.place).removeprefix("./").rstrip("/")

    def silences(self, finding: Finding) -> bool:
        _, _, line = self.place.rpartition(":")
        path = Path(finding.file)
        here = any(fnmatch.fnmatchcase(part.as_posix(), self.path()) for part in (path, *path.parents))
        return finding.check == self.rule and here and (not line.isdigit() or finding.line == int(line))


class IgnoreFile(RootModel[list[IgnoreEntry] | None]):
    """The content of check-ignore.yaml; None where it has comments only."""


class Silenced(BaseModel):
    """A finding that an entry silences."""

    finding: Finding
    reason: str


@dataclass(frozen=True)
class Sorted:
    """Findings, sorted by the entries that silence them."""

    standing: list[Finding]
    silenced: list[Silenced]
    unused: list[int]
    """The indices of the entries that silence nothing."""


def read(root: Path) -> list[IgnoreEntry]:
    """The entries of a repository's ignore file, none where it has no such file.

    Raises:
        CommandError: the file cannot be read, an entry has no reason, or its rule does not exist.
    """
    file = root / NAME
    if not file.exists():
        return []
    entries = yaml_models.load_as(IgnoreFile, file, "a list of entries with a rule, a place and a reason").root or []
    for entry in entries:
        try:
            registry.find(entry.rule)
        except CommandError as error:
            raise CommandError(f"{file}: {error}") from None
    return entries


def sort(findings: list[Finding], entries: list[IgnoreEntry]) -> Sorted:
    """Each finding is silenced by the first entry that names its rule and place."""
    standing, silenced, used = [], [], set()
    for finding in findings:
        fitting = [index for index, entry in enumerate(entries) if entry.silences(finding)]
        used.update(fitting)
        if fitting:
            silenced.append(Silenced(finding=finding, reason=entries[fitting[0]].reason))
        else:
            standing.append(finding)
    return Sorted(standing, silenced, [index for index in range(len(entries)) if index not in used])


def stale(root: Path, folders: list[Path], entries: list[IgnoreEntry], unused: list[int]) -> list[Finding]:
    """Warnings about entries that silence nothing, of those whose place was checked.

    Args:
        folders: of the services that were checked.
        unused: the indices of the entries that silenced nothing.
    """
    all_checked = {file.parent for file in root.glob("services/*/service.yaml")} <= set(folders)
    checked = [folder.relative_to(root) for folder in folders]
    file = yaml_file.read(root / NAME)
    found = []
    for index in unused:
        path = Path(entries[index].path())
        if all_checked or any(path.is_relative_to(folder) for folder in checked):
            what = f"The entry of {entries[index].rule} at {entries[index].place} silences nothing."
            found.append(finding_at(root, registry.IGNORE_WITHOUT_EFFECT, file.place(index), what))
    return found
