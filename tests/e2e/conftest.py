"""Ours: what tools and runtime do with services of our own, those of tests/fixtures, in a copy of the repository."""

import re
import subprocess
from collections.abc import Iterator

import pytest

from ops.project.catalogue import Service
from rehearsal.checkout import Checkout
from rehearsal.stage import Stage
from tests import collector, commands, keys, project
from tests.running import Served, serving
from tests.scheduling import ByService, by_service

SCALED_BY_ENGINE = "hybrid-reasoning-llm"
"""The service that the tests run with the policy that follows the engine."""
MONITORED = (keys.SERVICE, "multi-model", SCALED_BY_ENGINE)
"""The services with Prometheus: in direct streaming, behind Ray's own ingress, and scaled by the engine."""

SERVICES = (keys.SERVICE, "multi-model", "multi-lora", "vision-llm", SCALED_BY_ENGINE, "gpt-oss")
"""What test_laptop.py starts, the longest first. Of the others of tests/fixtures, test_routed_engines.py and
test_layouts.py start reasoning-llm and large-size-llm, and test_replicas.py runs the engine of medium-size-llm."""
ONLY = {
    "once": (keys.SERVICE,),
    "keyed": (keys.SERVICE,),
    "several": ("multi-model",),
    "with_adapters": ("multi-lora",),
    "seeing": ("vision-llm",),
    "watching": MONITORED,
    "collected": collector.TRACED,
    "scaled_by_engine": (SCALED_BY_ENGINE,),
}
"""A test with one of these fixtures is about these services and runs on no other."""

LONGEST = ("test_rollouts.py", "test_operations.py", "test_laptop.py", "test_rehearse.py")
"""Begun first, as whichever worker gets a long file last keeps the other waiting."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "service" in metafunc.fixturenames:
        services = [Service(project.SERVICES / name.replace("-", "_")) for name in SERVICES]
        metafunc.parametrize("service", services, ids=SERVICES, scope="module")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items[:] = [item for item in items if is_about_its_service(item)]
    items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> ByService:
    return by_service(config, log, SERVICES)


def is_about_its_service(item: pytest.Item) -> bool:
    if "service" not in item.fixturenames:
        return True
    wanted = [ONLY[fixture] for fixture in item.fixturenames if fixture in ONLY]
    return all(item.callspec.params["service"].name in names for names in wanted)


@pytest.fixture(scope="session")
def checkout(environment, tmp_path_factory) -> Checkout:
    """The repository with our own services."""
    return Checkout(project.checkout(tmp_path_factory.mktemp("checkout") / "repository"), environment)


@pytest.fixture(scope="module")
def traces() -> Iterator[tuple[collector.Collector, str]]:
    """A collector of traces and its URL."""
    with collector.listening() as listening:
        yield listening


@pytest.fixture(scope="module")
def served(service: Service, checkout: Checkout, api_keys, prometheus_tools, traces) -> Iterator[Served]:
    """The service on the laptop profile, started once for the tests of a module."""
    options = ["--set", f"api_keys={api_keys.file}"] if service.name == keys.SERVICE else []
    options += ["--set", f"traces={traces[1]}"] if service.name in collector.TRACED else []
    options += ["--set", "autoscaling=engine"] if service.name == SCALED_BY_ENGINE else []
    options += ["--monitoring"] if prometheus_tools and service.name in MONITORED else []
    with serving(checkout.run, service, *options) as running:
        yield running


@pytest.fixture(scope="module")
def staged(laptop_packages, tmp_path_factory) -> Iterator[Stage]:
    with commands.staged(project.checkout(tmp_path_factory.mktemp("staged") / "repository")) as opened:
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
