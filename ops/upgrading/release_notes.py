"""What the command prints about the versions between which a clone moves: the changelog, and the template's own
services."""

import re
from pathlib import Path

from ops.upgrading.comparison import Versions
from ops.upgrading.git import git
from ops.upgrading.template import number


def changelog(root: Path, versions: Versions) -> str:
    """The sections of CHANGELOG.md of what comes with an upgrade, or goes with a downgrade; empty where it has none."""
    low, high = sorted([versions.old, versions.new], key=number)
    commit = versions.old_commit if versions.is_downgrade else versions.new_commit
    if not git(root, "ls-tree", commit, "CHANGELOG.md"):
        return ""
    sections = re.split(r"^(?=## )", git(root, "show", f"{commit}:CHANGELOG.md"), flags=re.MULTILINE)
    return "\n".join(section.strip() + "\n" for section in sections if is_between(section, low, high))


def is_between(section: str, low: str, high: str) -> bool:
    """Whether a section, such as "## [0.2.0] - 2026-12-01", is about a version after `low`, up to `high`."""
    named = re.match(r"## \[(\d+\.\d+\.\d+)\]", section)
    return named is not None and number(low) < number(named[1]) <= number(high)


def services_of(root: Path, commit: str) -> dict[str, str]:
    """The service folders of a commit: path to the tree that git has of it."""
    entries = git(root, "ls-tree", "-z", "-d", commit, "services/").split("\0")
    return {path: entry.split()[2] for entry, _, path in (line.partition("\t") for line in entries if line)}


def new_services(root: Path, versions: Versions) -> list[str]:
    """The service folders that the new version has, and neither the old one nor the clone."""
    known = services_of(root, versions.old_commit).keys() | services_of(root, "HEAD").keys()
    return sorted(services_of(root, versions.new_commit).keys() - known)


def changed_services(root: Path, versions: Versions) -> list[str]:
    """The service folders of the clone that the template has too, and changed between the versions."""
    old, new = services_of(root, versions.old_commit), services_of(root, versions.new_commit)
    return sorted(path for path in old.keys() & new.keys() & services_of(root, "HEAD").keys() if old[path] != new[path])
