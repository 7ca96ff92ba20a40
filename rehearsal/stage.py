"""Where a rehearsal plays: a copy of this repository, a local control plane, and the commands run against it."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import platformdirs

from ops.console.cli import CommandError
from ops.local import preflight
from ops.project.catalogue import ROOT, Service
from ops.rollouts.journal import Journal

TOKEN = "aph0_rehearsal"
START_TIMEOUT_S = 60  # guess: importing its web server takes seconds
NOT_COPIED = shutil.ignore_patterns(".git", ".venv", ".bundle*", "__pycache__", "*_cache")
OF_OTHER_RUNS = ("rollouts", "benchmarks", "alerts")
"""Folders at the root that commands have written."""


@dataclass
class Stage:
    repository: Path
    """The copy: what is changed and deployed."""
    folder: Path
    """The control plane's: uploads, versions and their logs."""
    url: str
    env: dict[str, str]

    def command(self, verb: str, *words: str) -> list[str]:
        return [sys.executable, "-m", f"ops.commands.{verb}", *words]

    def start(self, verb: str, *words: str, **options: Any) -> subprocess.Popen:
        """Run a command of the copy as a user does, and return while it runs."""
        return subprocess.Popen(self.command(verb, *words), cwd=self.repository, env=self.env, text=True, **options)

    def run(self, verb: str, *words: str, **more_env: str) -> subprocess.CompletedProcess:
        """Run a command of the copy to its end; what it prints is in the result."""
        return subprocess.run(
            self.command(verb, *words),
            cwd=self.repository,
            env=self.env | more_env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    def anyscale(self, *words: str) -> subprocess.CompletedProcess:
        """Run the CLI itself."""
        command = [sys.executable, "-c", "from anyscale.scripts import main; main()", *words]
        return subprocess.run(command, cwd=self.repository, env=self.env, capture_output=True, text=True, check=False)

    def status(self, name: str) -> dict[str, Any]:
        """What `anyscale service status` says."""
        asked = self.anyscale("service", "status", "--name", name, "--output", "json")
        if asked.returncode:
            raise CommandError(f"The control plane cannot tell how {name} is. {asked.stderr.strip()}")
        return json.loads(asked.stdout)

    def journals(self, name: str) -> list[Journal]:
        """The journals of a service, the newest first."""
        files = sorted((self.repository / "rollouts" / name).glob("*/journal.jsonl"), reverse=True)
        return [Journal(file.parent) for file in files]


@contextmanager
def stage(service: Service, *, reuse: bool = False) -> Generator[Stage]:
    """A stage, with everything that was started on it stopped at the end.

    Args:
        reuse: let versions that run the same share one process, which saves a start of the engine each.

    Raises:
        CommandError: the control plane does not start.
    """
    port = preflight.free_port()
    with tempfile.TemporaryDirectory(prefix="rehearsal-") as temporary:
        folder = Path(temporary)
        shutil.copytree(ROOT, folder / "repository", ignore=not_copied)
        (folder / "home").mkdir()
        process = start_control_plane(port, folder, reuse)
        try:
            url = f"http://127.0.0.1:{port}"
            env = environment(service, url, folder / "home")
            yield Stage(folder / "repository", folder / "control-plane", url, env)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait()


def not_copied(folder: str, names: list[str]) -> set[str]:
    """The names in a folder of the repository that a copy does without; `ops/rollouts` is code and is copied."""
    return NOT_COPIED(folder, names) | (set(OF_OTHER_RUNS) if Path(folder) == ROOT else set())


def start_control_plane(port: int, folder: Path, reuse: bool) -> subprocess.Popen:
    words = ["--port", str(port), "--folder", str(folder / "control-plane"), "--token", TOKEN]
    log = folder / "control-plane.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "rehearsal.control_plane", *words, *(["--reuse"] if reuse else [])],
            cwd=ROOT,
            stdout=output,
            stderr=output,
            start_new_session=True,  # Ctrl-C is for the rehearsal, which stops it when it is done with it
        )
    deadline = time.monotonic() + START_TIMEOUT_S
    while not answers(f"http://127.0.0.1:{port}/rehearsal/faults"):
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            raise CommandError(f"The local control plane does not start. {log.read_text()[-2000:]}")
        time.sleep(0.2)
    return process


def answers(url: str) -> bool:
    try:
        return httpx.get(url, trust_env=False).is_success
    except httpx.TransportError:
        return False


def environment(service: Service, url: str, home: Path) -> dict[str, str]:
    """The caller's, led to the control plane and away from the caller's own account and secrets."""
    secrets = {name: f"rehearsal-of-{name}" for name, value in service.env_vars.items() if not value}
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("ANYSCALE_")}
    own = {
        "HOME": str(home),  # the CLI would find the caller's credentials in theirs
        "XDG_CACHE_HOME": platformdirs.user_cache_dir(),
        "ANYSCALE_HOST": url,
        "ANYSCALE_CLI_TOKEN": TOKEN,
        "ANYSCALE_SUPPRESS_UPGRADE_WARNING": "1",
        "ANYSCALE_TELEMETRY_SAMPLE_RATE": "0",
        "NO_PROXY": "127.0.0.1",
    }
    return inherited | own | secrets
