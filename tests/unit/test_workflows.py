"""The workflows are valid, run only scripts that exist, and keep secrets and strangers' input where they belong."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ops.project import yaml_models
from ops.project.catalogue import ROOT

FILES = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
DEPLOY = yaml_models.load(ROOT / ".github" / "workflows" / "deploy.yml")
TRIGGERS = DEPLOY[True]  # `on` is a boolean in YAML 1.1
JOBS: dict[str, dict[str, Any]] = DEPLOY["jobs"]
STEPS = [step for job in JOBS.values() for step in job["steps"]]
RUNS = [step["run"].replace("\\\n", " ") for step in STEPS if "run" in step]
COMMANDS = sorted({line for run in RUNS for line in run.splitlines() if "scripts/" in line})


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
@pytest.mark.parametrize(
    "linter", [["check-jsonschema", "--builtin-schema", "vendor.github-workflows"], ["zizmor", "--offline"]]
)
def test_linters_find_nothing(linter, file):
    program, *options = linter
    command = [Path(sys.executable).with_name(program), *options, file]
    linted = subprocess.run(command, capture_output=True, text=True, check=False)
    assert not linted.returncode, linted.stdout + linted.stderr


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_actions_are_pinned_to_a_commit(file):
    uses = re.findall(r"uses:(.*)", file.read_text())
    assert uses
    for action in uses:
        assert re.fullmatch(r" actions/[a-z-]+@[0-9a-f]{40}  # v\d+\.\d+\.\d+", action)


def test_only_our_scripts_are_run():
    for run in RUNS:
        assert len(run.strip().splitlines()) == 1
        assert re.match(r"(exec )?(scripts/\w+|\.ci/run)", run)


@pytest.mark.parametrize("command", COMMANDS)
def test_command_exists(command):
    script, words = re.search(r"scripts/(\w+)(.*)", command).groups()
    assert (ROOT / "scripts" / script).is_file()
    options = set(re.findall(r"--[a-z-]+", words))
    if options:
        said = subprocess.run(
            [sys.executable, "-m", f"ops.commands.{script}", "--help"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        assert options <= set(re.findall(r"--[a-z-]+", said)), said


def test_run_has_no_expressions():
    """They would be pasted into the shell's text; the value of an environment variable stays a value."""
    for run in RUNS:
        assert "${{" not in run


def test_pull_requests_see_no_secrets():
    assert "pull_request_target" not in TRIGGERS
    mine = [job for job in JOBS.values() if "pull_request'" in job["if"]]
    assert mine == [JOBS["test"]]
    assert "environment" not in JOBS["test"]
    assert "secrets" not in str(JOBS["test"])


def test_secrets_are_for_the_steps_that_need_them():
    for job in JOBS.values():
        assert "secrets" not in str(job.get("env", ""))
    for step in STEPS:
        if "secrets" in str(step):
            assert re.search("scripts/(deploy|rollout|rollback)", step["run"])


def test_permissions_are_read_only():
    for permissions in [DEPLOY["permissions"], *(job["permissions"] for job in JOBS.values() if "permissions" in job)]:
        assert set(permissions.values()) == {"read"}


def test_one_change_of_production_at_a_time_and_none_is_cut_short():
    groups = [job["concurrency"] for job in JOBS.values() if job.get("environment") == "production"]
    assert groups == [{"group": "production", "cancel-in-progress": False, "queue": "max"}] * 2
    assert JOBS["production"]["strategy"]["fail-fast"] is False


@pytest.mark.parametrize("name", ["production", "manual"])
def test_journal_is_kept_whatever_happens(name):
    job = JOBS[name]
    changes, upload = job["steps"][-2], job["steps"][-1]
    assert upload["uses"].startswith("actions/upload-artifact@")
    assert upload["if"] == "always()"
    assert upload["with"]["path"] == "rollouts"
    assert changes["timeout-minutes"] < job["timeout-minutes"] < 360  # GitHub ends a job after 360


def test_every_job_has_a_time_limit():
    assert all("timeout-minutes" in job for job in JOBS.values())
