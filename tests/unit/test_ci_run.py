""".ci/run tests the services that a change is about, and everything where it is about more."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.project import ROOT

FILES = (
    "README.md",
    "serving/app.py",
    "services/one_llm/serve.py",
    "services/two_llm/serve.py",
    "services/ignore.yaml",
)
SAYS_WHAT_IT_WAS_ASKED = '#!/usr/bin/env bash\necho "$@"\n'
"""In the place of scripts/test, which takes half an hour."""


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    for file in FILES:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text("before\n")
    (tmp_path / ".ci").mkdir()
    (tmp_path / "scripts").mkdir()
    shutil.copy(ROOT / ".ci" / "run", tmp_path / ".ci")
    (tmp_path / "scripts" / "test").write_text(SAYS_WHAT_IT_WAS_ASKED)
    (tmp_path / "scripts" / "test").chmod(0o755)
    git(tmp_path, "init", "--quiet")
    commit(tmp_path)
    return tmp_path


def git(folder: Path, *words: str) -> None:
    own = ("-c", "user.name=test", "-c", "user.email=test@example.com", "-c", "commit.gpgsign=false")
    subprocess.run(["git", *own, *words], cwd=folder, check=True)


def commit(folder: Path) -> None:
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "--message", "a change")


def asked(clone: Path, *words: str) -> str:
    return subprocess.run([clone / ".ci" / "run", *words], capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.parametrize(
    ("changed", "tested"),
    [
        (["services/two_llm/serve.py"], "services two_llm"),
        (["services/one_llm/serve.py", "services/two_llm/serve.py"], "services one_llm two_llm"),
        (["services/one_llm/serve.py", "serving/app.py"], "all"),
        (["services/ignore.yaml"], "all"),
        (["README.md"], "all"),
    ],
)
def test_what_is_tested_of_a_change(clone, changed, tested):
    for file in changed:
        (clone / file).write_text("after\n")
    commit(clone)
    assert asked(clone, "HEAD^1") == tested


def test_a_service_that_was_taken_out_is_not_asked_for(clone):
    shutil.rmtree(clone / "services" / "one_llm")
    (clone / "services" / "two_llm" / "serve.py").write_text("after\n")
    commit(clone)
    assert asked(clone, "HEAD^1") == "services two_llm"


def test_without_a_base_everything_is_tested(clone):
    assert asked(clone) == "all"
