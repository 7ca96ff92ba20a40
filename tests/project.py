"""A copy of this repository whose services are those of `tests/fixtures`, and not the user's."""

import shutil
from collections.abc import Iterable
from pathlib import Path

from rehearsal.checkout import copy_repository

ROOT = Path(__file__).resolve().parents[1]
FIXTURES = ROOT / "tests" / "fixtures"

SERVICES = FIXTURES / "services"

OF_FIXTURES = ("services", "README.md")
"""Taken from `tests/fixtures`; all else is the repository's own."""
CHECKED = ("services", "README.md", "serving", "laptop", "scripts", "versions.toml", ".gitignore")
"""What scripts/check reads."""
RUN = (*CHECKED, "ops")
"""What the commands need to run there, up to those that rehearse."""


def assemble(folder: Path, parts: Iterable[str]) -> Path:
    """Copy these parts of the repository into a folder, which is returned."""
    for part in parts:
        source = (FIXTURES if part in OF_FIXTURES else ROOT) / part
        if source.is_dir():
            shutil.copytree(source, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder)
    return folder


def checkout(folder: Path) -> Path:
    """Copy the whole repository, where every command and test runs, to a folder that is not there yet; returns it."""
    copy_repository(folder)
    shutil.rmtree(folder / "services", ignore_errors=True)  # a user may have none
    return assemble(folder, OF_FIXTURES)
