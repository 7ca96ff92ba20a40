"""A cached checkpoint is whole, or it is made anew."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from laptop.cache import cached_checkpoint


def write_weights(folder: Path) -> None:
    (folder / "weights").write_text("whole")


def refuse(folder: Path) -> None:
    raise AssertionError("made a second time")


def test_is_made_once(tmp_path):
    folder = cached_checkpoint("model", write_weights, tmp_path)
    assert (folder / "weights").read_text() == "whole"
    assert cached_checkpoint("model", refuse, tmp_path) == folder


def test_failure_leaves_nothing_behind(tmp_path):
    def fail(folder: Path) -> None:
        write_weights(folder)
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        cached_checkpoint("model", fail, tmp_path)
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == []


def test_damaged_checkpoint_is_made_anew(tmp_path):
    folder = cached_checkpoint("model", write_weights, tmp_path)
    (folder / "weights").write_text("damaged")
    assert (cached_checkpoint("model", write_weights, tmp_path) / "weights").read_text() == "whole"


def test_killed_process_leaves_nothing_that_is_taken_for_a_checkpoint(tmp_path, root):
    script = (
        "import os, signal, sys; from pathlib import Path; from laptop.cache import cached_checkpoint\n"
        "def make(folder):\n    (folder / 'weights').write_text('ha'); os.kill(os.getpid(), signal.SIGKILL)\n"
        "cached_checkpoint('model', make, Path(sys.argv[1]))"
    )
    killed = subprocess.run([sys.executable, "-c", script, str(tmp_path)], cwd=root, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert not (tmp_path / "model").exists()
    folder = cached_checkpoint("model", write_weights, tmp_path)
    assert (folder / "weights").read_text() == "whole"
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == ["model"]
