"""Runs of `scripts/dev` on the laptop profile: real Ray, real vLLM, a real model."""

import os
import re
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from laptop.cache import CACHE
from ops import preflight
from ops.catalogue import Service

Scripts = Callable[..., subprocess.CompletedProcess]


@pytest.fixture(scope="session")
def environment(tmp_path_factory, laptop_packages) -> dict[str, str]:
    """The caller's environment with a cache folder of its own, so that `scripts/dev --stop` sees the tests' runs only.

    The checkpoints in the user's cache are used and kept.
    """
    cache = tmp_path_factory.mktemp("cache")
    models = CACHE / "models"
    models.mkdir(parents=True, exist_ok=True)
    (cache / CACHE.name).mkdir()
    (cache / CACHE.name / "models").symlink_to(models)
    inherited = {name: value for name, value in os.environ.items() if name not in ("HF_TOKEN", "RAY_ADDRESS")}
    return inherited | {"XDG_CACHE_HOME": str(cache)}


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
            timeout=600,
            check=False,
        )

    return run


@dataclass
class Served:
    service: Service
    url: str
    printed: str
    """What scripts/dev printed when it was ready."""

    def printed_lines(self, start: str, end: str) -> str:
        """The part of what was printed from a line that begins with `start` to one that begins with `end`."""
        return re.search(rf"^{start}.*?(?={end})", self.printed, re.MULTILINE | re.DOTALL)[0]


@pytest.fixture(scope="module")
def served(service: Service, scripts: Scripts) -> Iterator[Served]:
    """The service on the laptop profile, started once for the tests of a module."""
    port = str(preflight.free_port(8000))
    started = scripts("dev", service.name, "--profile", "laptop", "--port", port, "--detach")
    assert started.returncode == 0, started.stdout + started.stderr
    yield Served(service, f"http://127.0.0.1:{port}", started.stdout)
    scripts("dev", "--stop")
