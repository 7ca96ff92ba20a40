"""tests/unit runs on the services of tests/fixtures, in a process of its own, and never opens the user's."""

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from ops.project import catalogue
from ops.project.builder import import_application
from ops.project.catalogue import Service
from tests.project import CHECKED, FIXTURES, ROOT, RUN, assemble

HERE = Path(__file__).parent
PROJECT = assemble(Path(tempfile.mkdtemp(prefix="project-of-tests-")).resolve(), RUN)
SERVICES_OF_THE_USER = f"{ROOT / 'services'}{os.sep}"

# Before the tests are collected: some are parametrised over the services.
catalogue.SERVICES = PROJECT / "services"
sys.path.insert(0, str(FIXTURES))  # for `import services.small_size_llm.serve`

opened: list[str] = []
"""Files of the user's services that were opened, and folders that were searched."""


def watch(event: str, arguments: tuple[Any, ...]) -> None:
    """Not of os.listdir: an import of `services.x` lists every `services` of sys.path, and takes the first x."""
    if event in ("open", "os.scandir") and isinstance(arguments[0], str | os.PathLike):
        path = os.path.abspath(arguments[0])  # noqa: PTH100 (pathlib is slow, and this hears of every file)
        if f"{path}{os.sep}".startswith(SERVICES_OF_THE_USER):
            opened.append(path)


sys.addaudithook(watch)


@pytest.fixture(autouse=True)
def user_owns_services() -> Iterator[None]:
    """Fails the test that reads what stands in the user's services; the first test, for what collection reads."""
    yield
    seen, opened[:] = list(opened), []
    assert seen == [], "tests/unit must not depend on services/: take those of tests/fixtures, by `project` or `copied`"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that takes `service` runs once for each service there is."""
    if "service" in metafunc.fixturenames:
        services = catalogue.services()
        metafunc.parametrize("service", services, ids=lambda service: service.name, scope="module")


@pytest.fixture(scope="module")
def category(service: Service) -> ModuleType:
    """The serve.py of the service."""
    return import_application(service)[0]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if elsewhere := [item for item in items if HERE not in item.path.parents]:
        raise pytest.UsageError(
            f"tests/unit replaces the services by its own, so {elsewhere[0].nodeid} cannot run beside it. "
            "Run them one after the other, as scripts/test does."
        )


def pytest_unconfigure() -> None:
    shutil.rmtree(PROJECT)


@pytest.fixture(scope="session")
def project() -> Path:
    """A repository with the services of tests/fixtures, to read and to run commands in."""
    return PROJECT


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """A copy of what the checks read, to plant a fault in."""
    return assemble(tmp_path, CHECKED)
