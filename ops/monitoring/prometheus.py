"""Prometheus and promtool on this machine: found on PATH, or unpacked from Debian's package into the user's cache."""

import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import httpx
import yaml
from filelock import FileLock

from laptop.cache import CACHE
from ops.console.cli import CommandError
from ops.local import preflight

FOLDER = CACHE / "prometheus"
SCRAPE_INTERVAL = (
    "5s"  # a laptop's questions are about the last minute; Anyscale and most others scrape every 15 to 60 s
)
HOW_TO_GET_IT = (
    "Prometheus is not on PATH, and without apt-get it cannot be fetched. Install it, for instance from the downloads "
    "of prometheus.io, and put prometheus and promtool on PATH."
)


@dataclass(frozen=True)
class Tools:
    prometheus: Path
    promtool: Path

    @property
    def has_pages(self) -> bool:
        """Whether its web pages are there: Debian's are in a folder that only an installed package has."""
        return not self.prometheus.is_relative_to(FOLDER)


def tools() -> Tools | None:
    """The tools on PATH, else those unpacked before; None where there are none yet."""
    server, promtool = shutil.which("prometheus"), shutil.which("promtool")
    if server and promtool:
        return Tools(Path(server), Path(promtool))
    unpacked = Tools(FOLDER / "usr/bin/prometheus", FOLDER / "usr/bin/promtool")
    return unpacked if unpacked.promtool.is_file() else None


def get(waiting_for: Callable[[str], None] = lambda _: None) -> Tools:
    """The tools; downloads Debian's package where they are not there: 30 MB, 100 MB unpacked, no root needed.

    Raises:
        CommandError: they are not on PATH, and apt-get is not there or could not download them.
    """
    if found := tools():
        return found
    if not all(map(shutil.which, ("apt-get", "dpkg-deb"))):
        raise CommandError(HOW_TO_GET_IT)
    FOLDER.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(FOLDER.with_suffix(".lock")):
        if not tools():
            waiting_for("Debian's package of Prometheus to be downloaded")
            download()
    if found := tools():
        return found
    raise CommandError(f"Debian's package of Prometheus has no promtool any more. {HOW_TO_GET_IT}")


def download() -> None:
    """Unpack the package into FOLDER, with lists of packages of our own: the system's may be old, and are root's."""
    unfinished = FOLDER.with_suffix(".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    for folder in ("lists/partial", "archives/partial"):
        (unfinished / "apt" / folder).mkdir(parents=True)
    apt = ["apt-get", "--quiet", "--quiet", "-o", f"Dir::State::Lists={unfinished}/apt/lists"]
    apt += [
        "-o",
        f"Dir::Cache={unfinished}/apt",
        "-o",
        "APT::Sandbox::User=root",
    ]  # root's _apt may not read our folder
    try:
        run([*apt, "update"], unfinished)
        run([*apt, "download", "prometheus"], unfinished)
        (package,) = unfinished.glob("prometheus_*.deb")
        run(["dpkg-deb", "--extract", str(package), str(unfinished)], unfinished)
        package.unlink()
        shutil.rmtree(unfinished / "apt")
        shutil.rmtree(FOLDER, ignore_errors=True)
        unfinished.rename(FOLDER)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def run(command: list[str], folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise CommandError(
            f"Debian's package of Prometheus could not be fetched: {' '.join(command[:1] + command[-1:])} says "
            f"{(done.stderr or done.stdout).strip().splitlines()[-1:]}. Run 'apt-get install prometheus', or put "
            "prometheus and promtool on PATH."
        )


@dataclass(frozen=True)
class Server:
    """A Prometheus that runs, as its HTTP API knows it."""

    url: str

    def query(self, expression: str) -> list[dict]:
        """The series of an expression now: `metric`, the labels, and `value`, the time and the value as text.

        Raises:
            ValueError: it is not PromQL.
        """
        answer = self.get("query", query=expression)
        if answer["status"] != "success":
            raise ValueError(f"{answer['error']}: {expression}")
        return answer["data"]["result"]

    def rules(self, group: str) -> list[dict]:
        """The rules of a group with their `health` and `state`."""
        groups = self.get("rules")["data"]["groups"]
        return next((one["rules"] for one in groups if one["name"] == group), [])

    def get(self, what: str, **parameters: str) -> dict:
        return httpx.get(f"{self.url}/api/v1/{what}", params=parameters, timeout=30, trust_env=False).json()

    def is_ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/-/ready", trust_env=False).is_success
        except httpx.TransportError:
            return False


START_TIMEOUT_S = 30  # guess: it takes a second on an idle machine


def configuration(targets: list[str], rules: list[Path]) -> dict:
    return {
        "global": {"scrape_interval": SCRAPE_INTERVAL, "evaluation_interval": SCRAPE_INTERVAL},
        "rule_files": [str(file) for file in rules],
        "scrape_configs": [{"job_name": "ray", "static_configs": [{"targets": targets}]}],
    }


def start(targets: list[str], rules: list[Path], folder: Path, found: Tools) -> tuple[Server, subprocess.Popen]:
    """Start a Prometheus on a free port of 127.0.0.1 that scrapes `targets` and evaluates the files `rules`.

    Its data and what it prints are in `folder`.

    Raises:
        CommandError: it did not start; the message has its last line.
    """
    file, log = folder / "prometheus.yml", folder / "prometheus.log"
    file.write_text(yaml.safe_dump(configuration(targets, rules), sort_keys=False))
    address = f"127.0.0.1:{preflight.free_port()}"
    command = [found.prometheus, f"--config.file={file}", f"--storage.tsdb.path={folder / 'prometheus'}"]
    with log.open("w") as output:
        process = subprocess.Popen([*command, f"--web.listen-address={address}"], stdout=output, stderr=output)
    server, deadline = Server(f"http://{address}"), time.monotonic() + START_TIMEOUT_S
    while not server.is_ready():
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            raise CommandError(f"Prometheus did not start. It printed: {log.read_text().strip().splitlines()[-1:]}")
        time.sleep(0.2)
    return server, process
