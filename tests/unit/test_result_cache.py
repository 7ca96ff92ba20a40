"""What the slow checks found is kept, and forgotten when anything that decides it is another."""

import pytest

from ops.check import result_cache
from ops.check.finding import Finding
from ops.project.service_files import ServiceFiles
from tests.planted import change

FINDING = Finding(check="unknown-key", severity="error", file="a.yaml", line=1, what="What.", why="Why.", fix="Fix.")


@pytest.fixture
def kept(copied, monkeypatch, tmp_path_factory):
    """The copy of a repository, and of two modules of ops, whose findings are kept."""
    monkeypatch.setattr(result_cache, "CACHE", tmp_path_factory.mktemp("cache"))
    monkeypatch.setattr(result_cache, "OPS", copied / "ops")
    for module in ("check/run.py", "sizing/hardware.yaml"):
        (copied / "ops" / module).parent.mkdir(parents=True)
        (copied / "ops" / module).write_text("old")
    result_cache.write(ServiceFiles(copied, copied / "services" / "small_size_llm"), [FINDING])
    return copied


def read(root):
    return result_cache.read(ServiceFiles(root, root / "services" / "small_size_llm"))


def test_findings_are_those_that_were_written(kept):
    assert read(kept) == [FINDING]


def test_another_service_has_none(kept):
    assert result_cache.read(ServiceFiles(kept, kept / "services" / "gpt_oss")) is None


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("services/small_size_llm/service.yaml", "name:", "# name\nname:"),
        ("serving/app.py", '"""', '"""New. '),
        ("versions.toml", "ray", "# ray\nray"),
        ("ops/check/run.py", "old", "new"),
        ("ops/sizing/hardware.yaml", "old", "new"),
    ],
)
def test_a_file_that_decides_is_changed(file, old, new, kept):
    change(kept, file, old, new)
    assert read(kept) is None
