"""The user's services, found in `services/`, each tested by being there.

With `--service NAME`, which can be repeated, only those; `scripts/test services NAME` passes it.
"""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from ops.project import catalogue
from ops.project.builder import import_application
from ops.project.catalogue import Service
from tests.running import Run, Served, serving
from tests.scheduling import ByService, by_service

CLIENT = "client.py"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--service", action="append", help="test this service only; can be repeated")


def chosen(config: pytest.Config) -> list[Service]:
    names = config.getoption("--service", default=None)
    return [catalogue.find(name) for name in names] if names else catalogue.services()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that takes `service` runs once for each service, all tests of one on one of pytest's workers."""
    if "service" in metafunc.fixturenames:
        metafunc.parametrize("service", chosen(metafunc.config), ids=lambda service: service.name, scope="module")


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> ByService:
    return by_service(config, log, [service.name for service in chosen(config)])


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave out the test of a client for services that have none."""
    items[:] = [item for item in items if "client" not in getattr(item, "fixturenames", ()) or client_of(item).exists()]


def client_of(item: pytest.Item) -> Path:
    return item.callspec.params["service"].folder / CLIENT


@pytest.fixture
def client(service: Service) -> Path:
    return service.folder / CLIENT


@pytest.fixture(scope="module")
def category(service: Service) -> ModuleType:
    """The serve.py of the service."""
    return import_application(service)[0]


@pytest.fixture(scope="session")
def services(request: pytest.FixtureRequest) -> list[Service]:
    return chosen(request.config)


@pytest.fixture(scope="session")
def scripts(root: Path, environment: dict[str, str]) -> Run:
    """Run one of scripts/, as a user does: scripts("probe", "small-size-llm")."""

    def run(name: str, *words: str, **more_environment: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [root / "scripts" / name, *words],
            env=environment | more_environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    return run


@pytest.fixture(scope="module")
def served(service: Service, scripts: Run, api_keys) -> Iterator[Served]:
    """The service on the laptop profile, started once for the tests of a module."""
    has_keys = service.application.get("args", {}).get("api_keys")
    options = ["--set", f"api_keys={api_keys.file}"] if has_keys else []  # its own are where it is deployed
    with serving(scripts, service, *options) as running:
        yield running
