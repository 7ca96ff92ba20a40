"""The stage of a rehearsal: a copy of this repository, a local control plane, and the commands run against it."""

import json
import os
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
from rehearsal.checkout import Checkout, copy_repository

TOKEN = "aph0_rehearsal"
START_TIMEOUT_S = 60  # guess: importing its web server takes seconds


@dataclass
class Stage(Checkout):
    """A checkout whose commands talk to a local control plane."""

    folder: Path
    """The control plane's: uploads, versions and their logs."""
    url: str

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
def stage(service: Service, *, source: Path = ROOT, reuse: bool = False) -> Generator[Stage]:
    """A stage, with everything that was started on it stopped at the end.

    Args:
        source: the repository to copy, where it is not this one.
        reuse: let versions that run the same share one process, which saves a start of the engine each.

    Raises:
        CommandError: the control plane does not start.
    """
    port = preflight.free_port()
    with tempfile.TemporaryDirectory(prefix="rehearsal-") as temporary:
        folder = Path(temporary)
        repository = copy_repository(folder / "repository", source)
        (folder / "home").mkdir()
        process = start_control_plane(port, folder, reuse)
        try:
            url = f"http://127.0.0.1:{port}"
            env = environment(service, url, folder / "home")
            yield Stage(repository, env, folder / "control-plane", url)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait()


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
