"""Runs of `scripts/dev` on the laptop profile: real Ray, real vLLM, a real model."""

import json
import os
import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from laptop.cache import CACHE
from ops.local import preflight
from ops.monitoring import prometheus
from ops.probing import service_key
from ops.project.catalogue import Service
from rehearsal.stage import Stage
from tests import collector, commands, keys

# Ray's default is 15: while commands of one test run, they would leave the engines of the other nearly no processor.
os.environ.update(RAY_worker_niceness="0")

SCALED_BY_ENGINE = "hybrid-reasoning-llm"
"""The service that the tests run with the policy that follows the engine."""

Scripts = Callable[..., subprocess.CompletedProcess]


LONGEST = ["test_rollouts.py", "test_operations.py", "test_laptop.py", "test_rehearse.py"]
"""Begun first, as whichever worker gets a long file last keeps the other waiting. A file of one test gets the next one
too, which is not to be a long one."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))


@dataclass
class ApiKeys:
    file: Path
    by_name: dict[str, str]


@pytest.fixture(scope="session")
def api_keys(tmp_path_factory) -> ApiKeys:
    """Of keys.SERVICE: `admin` has no limits, and is the key that our commands send."""
    file = tmp_path_factory.mktemp("keys") / "keys.yaml"
    return ApiKeys(file, keys.make(file, admin={}, minute=dict(requests_per_minute=3), day=dict(tokens_per_day=50)))


@pytest.fixture(scope="session")
def environment(tmp_path_factory, laptop_packages, prometheus_tools, api_keys) -> dict[str, str]:
    """The caller's environment with a cache folder of its own, so that `scripts/dev --stop` sees the tests' runs only.

    The checkpoints and the Prometheus in the user's cache are used and kept, and what vLLM has found out about model
    classes, for which it imports itself once more: 20 s on two cores.
    """
    cache = tmp_path_factory.mktemp("cache")
    (CACHE / "models").mkdir(parents=True, exist_ok=True)
    (cache / CACHE.name).mkdir()
    for kept in (CACHE / "models", prometheus.FOLDER):
        if kept.is_dir():
            (cache / CACHE.name / kept.name).symlink_to(kept)
    inherited = {name: value for name, value in os.environ.items() if name not in ("HF_TOKEN", "RAY_ADDRESS")}
    of_tests = {"XDG_CACHE_HOME": str(cache), "VLLM_CACHE_ROOT": str(CACHE.parent / "vllm")}
    return inherited | of_tests | {service_key.VARIABLE: api_keys.by_name["admin"]}


@pytest.fixture(scope="session")
def scripts(root: Path, environment: dict[str, str]) -> Scripts:
    """Run one of scripts/, as a user does: scripts("probe", "small-size-llm")."""

    def run(name: str, *words: str, stdin: str = "", **more_environment: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [root / "scripts" / name, *words],
            input=stdin,
            env=environment | more_environment,
            capture_output=True,
            text=True,
            timeout=1800,  # the first start of a model that stands in for others trains it
            check=False,
        )

    return run


@pytest.fixture(scope="session")
def processes(environment: dict[str, str]) -> Callable[[], list[psutil.Process]]:
    """All processes that the tests' commands have started and that still run: those that have their cache folder."""
    cache = environment["XDG_CACHE_HOME"]

    def running() -> list[psutil.Process]:
        return [p for p in psutil.process_iter(["environ"]) if (p.info["environ"] or {}).get("XDG_CACHE_HOME") == cache]

    return running


@pytest.fixture
def left(processes: Callable[[], list[psutil.Process]]) -> Callable[[], list[list[str]]]:
    """The command lines of those that do not end by themselves."""
    return lambda: [process.cmdline() for process in psutil.wait_procs(processes(), timeout=20)[1]]


@dataclass
class Served:
    service: Service
    url: str
    printed: str
    """What scripts/dev printed when it was ready."""

    def printed_lines(self, start: str, end: str) -> str:
        """The part of what was printed from a line that begins with `start` to one that begins with `end`."""
        return re.search(rf"^{start}.*?(?={end})", self.printed, re.MULTILINE | re.DOTALL)[0]

    @property
    def logs(self) -> Path:
        """The folder of Ray's logs."""
        return Path(self.printed_lines("Its logs:", "\n").split()[-1])


@contextmanager
def serving(scripts: Scripts, service: Service, *options: str, **environment: str) -> Iterator[Served]:
    """The service on the laptop profile, started as a user starts it and stopped at the end."""
    port = str(preflight.free_port())
    words = ("--profile", "laptop", "--port", port, "--detach", *options)
    started = scripts("dev", service.name, *words, **environment)
    assert started.returncode == 0, started.stdout + started.stderr
    yield Served(service, f"http://127.0.0.1:{port}", started.stdout)
    scripts("dev", "--stop")


def check_probe_passes(served: Served, scripts: Scripts) -> None:
    probe = scripts("probe", served.service.name, "--url", served.url, "--json")
    assert probe.returncode == 0, probe.stdout + probe.stderr
    assert all(not result["failures"] for result in json.loads(probe.stdout)["results"])


@pytest.fixture(scope="module")
def traces() -> Iterator[tuple[collector.Collector, str]]:
    """A collector of traces and its URL."""
    with collector.listening() as listening:
        yield listening


@pytest.fixture(scope="module")
def served(service: Service, scripts: Scripts, api_keys: ApiKeys, prometheus_tools, traces) -> Iterator[Served]:
    """The service on the laptop profile, started once for the tests of a module."""
    options = ["--set", f"api_keys={api_keys.file}"] if service.name == keys.SERVICE else []
    options += ["--set", f"traces={traces[1]}"] if service.name in collector.TRACED else []
    options += ["--set", "autoscaling=engine"] if service.name == SCALED_BY_ENGINE else []
    options += ["--monitoring"] if prometheus_tools else []
    with serving(scripts, service, *options) as running:
        yield running


@pytest.fixture(scope="module")
def staged(laptop_packages) -> Iterator[Stage]:
    with commands.staged() as opened:
        yield opened


@pytest.fixture
def control_plane(staged: Stage) -> Iterator[commands.ControlPlane]:
    """The control plane, with no fault left over from another test."""
    plane = commands.ControlPlane(staged.url)
    yield plane
    plane.faults()


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    return re.sub(r"[^a-z0-9]+", "-", request.node.name.removeprefix("test_")).strip("-")[:40]


@pytest.fixture(scope="module")
def first_deploy(staged: Stage) -> subprocess.CompletedProcess:
    return staged.run("deploy", commands.SERVICE, "--name", "deployed", "--yes")


@pytest.fixture(scope="module")
def deployed(first_deploy: subprocess.CompletedProcess) -> str:
    """The name of a service that runs, for tests that leave it running."""
    assert first_deploy.returncode == 0, first_deploy.stdout + first_deploy.stderr
    return "deployed"
