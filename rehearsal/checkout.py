"""A copy of this repository and its commands, run in it: where rehearsals and tests edit, serve and deploy."""

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ops.project.catalogue import ROOT

NOT_COPIED = shutil.ignore_patterns(".git", ".venv", ".bundle*", "__pycache__", "*_cache")
OF_OTHER_RUNS = ("rollouts", "benchmarks", "alerts")
"""Folders at the root that commands have written."""


@dataclass
class Checkout:
    repository: Path
    env: dict[str, str]

    def command(self, verb: str, *words: str) -> list[str]:
        """A command without its wrapper in scripts/, which would make a second .venv, of the copy."""
        return [sys.executable, "-m", f"ops.commands.{verb}", *words]

    def start(self, verb: str, *words: str, **options: Any) -> subprocess.Popen:
        """Run a command of the copy as a user does, and return while it runs."""
        return subprocess.Popen(self.command(verb, *words), cwd=self.repository, env=self.env, text=True, **options)

    def run(self, verb: str, *words: str, stdin: str = "", **more_env: str) -> subprocess.CompletedProcess:
        """Run a command of the copy to its end; what it prints is in the result."""
        return subprocess.run(
            self.command(verb, *words),
            cwd=self.repository,
            env=self.env | more_env,
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
        )


def copy_repository(to: Path, source: Path = ROOT) -> Path:
    """Copy this repository, or a copy of it, to a folder that is not there yet; returns the folder."""
    return Path(shutil.copytree(source, to, ignore=not_copied))


def not_copied(folder: str, names: list[str]) -> set[str]:
    """The names in a folder of the repository that a copy does without; `ops/rollouts` is code and is copied."""
    return NOT_COPIED(folder, names) | (set(OF_OTHER_RUNS) if Path(folder) == ROOT else set())
