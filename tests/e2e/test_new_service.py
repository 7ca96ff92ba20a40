"""scripts/new makes a service that runs at once, in a copy of the repository."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ops.local import preflight

NAME = "my-llm"


@pytest.fixture(scope="module")
def copy(root: Path, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("copy") / "repository"
    shutil.copytree(root, folder, ignore=shutil.ignore_patterns(".venv", ".git", ".bundle*", "*_cache", "__pycache__"))
    made = run(folder, "ops.commands.new", NAME, "--model", "Qwen/Qwen3-8B", "--from", "small-size-llm")
    assert "Made services/my_llm in the shape of small-size-llm" in made.stdout
    return folder


def run(folder: Path, *words: str, **environment: str) -> subprocess.CompletedProcess:
    done = subprocess.run(
        [sys.executable, "-m", *words], cwd=folder, env=environment or None, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def test_lint_and_unit_tests_of_the_new_service(copy):
    run(copy, "ruff", "check", "services")
    run(copy, "ruff", "format", "--check", "services")
    assert "passed" in run(copy, "pytest", "-q", "tests/unit", "-k", NAME).stdout


def test_new_service_passes_its_probe_on_the_laptop_profile(copy, environment):
    port = str(preflight.free_port())
    run(copy, "ops.commands.dev", NAME, "--profile", "laptop", "--port", port, "--detach", **environment)
    try:
        probe = run(copy, "ops.commands.probe", NAME, "--url", f"http://127.0.0.1:{port}", "--json")
    finally:
        run(copy, "ops.commands.dev", "--stop", **environment)
    answers = json.loads(probe.stdout)
    assert answers["model"] == "qwen3-8b"
    assert all(not result["failures"] for result in answers["results"])
