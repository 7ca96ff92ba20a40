import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from ops.project.catalogue import ROOT
from tests.planted import PARTS


@pytest.fixture
def no_cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Builders ask for the runtime_env of the job, and asking starts a cluster where there is none."""
    import ray  # slow, and few tests need it

    monkeypatch.setattr(ray, "get_runtime_context", lambda: SimpleNamespace(runtime_env={}))
    yield
    assert not ray.is_initialized()


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """A copy of what the checks read, to plant a fault in."""
    for part in PARTS:
        if (ROOT / part).is_dir():
            shutil.copytree(ROOT / part, tmp_path / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / part, tmp_path)
    return tmp_path
