import shutil
from pathlib import Path

import pytest

from ops.catalogue import ROOT
from tests.planted import PARTS


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """A copy of what the checks read, to plant a fault in."""
    for part in PARTS:
        if (ROOT / part).is_dir():
            shutil.copytree(ROOT / part, tmp_path / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / part, tmp_path)
    return tmp_path
