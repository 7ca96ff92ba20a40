"""scripts/upgrade between versions of a template in temporary repositories, as a user runs it, with real git.

The template has the runtime, the tools and four services of this repository. Version 0.2.0 changes a tool, adds one,
drops one, changes a service and adds one; 0.3.0 adds a page. No network: the template is a folder.
"""

import os
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import ROOT

PARTS = ("ops", "scripts", "serving", "laptop", "templates", "requirements", "versions.toml", ".gitignore")
SERVICES = ("small_size_llm", "reasoning_llm", "gpt_oss", "vision_llm")
NEW_SERVICE = "services/multi_lora"
TOOL = "ops/console/durations.py"
DROPPED = "ops/console/dropped.py"
NEW_TOOL = "ops/console/colours/names.py"
CHANGELOG = """# Changelog

## [Unreleased]

- Not to be seen.

## [0.3.0] - 2027-02-01

- A page about colours.

## [0.2.0] - 2027-01-01

- Colours have names.

## [0.1.0] - 2026-12-01

- The first version.
"""
KILLED_AT = """
import os, runpy, signal, sys
sys.path.insert(0, os.getcwd())
left = int(sys.argv.pop(1))

def hook(event, arguments):
    global left
    writes = event in ("os.rename", "os.remove", "os.link", "os.rmdir", "subprocess.Popen")
    if writes and os.path.exists(".git/upgrade"):
        left -= 1
        if left == 0:
            os.kill(0, signal.SIGKILL)

sys.addaudithook(hook)
runpy.run_module("ops.commands.upgrade", run_name="__main__", alter_sys=True)
"""
"""Run an upgrade and kill it before the n-th rename, removal, link or start of git after it began to write."""


@dataclass
class Repository:
    folder: Path
    env: dict[str, str]

    def run(self, *words: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            words, cwd=self.folder, env=self.env, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )

    def git(self, *words: str) -> str:
        done = self.run("git", *words)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def write(self, path: str, text: str) -> None:
        (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / path).write_text(text)

    def append(self, path: str, text: str) -> None:
        self.write(path, (self.folder / path).read_text() + text)

    def commit(self, message: str, tag: str | None = None) -> None:
        self.git("add", "--all", "--", ".", ":!keys.yaml")
        self.git("commit", "--quiet", "--allow-empty", "--message", message)
        if tag:
            self.git("tag", tag)

    def upgrade(self, *words: str) -> subprocess.CompletedProcess:
        return self.run("scripts/upgrade", *words)

    def files(self) -> dict[str, bytes]:
        """The content of what git tracks, and of what it neither tracks nor ignores."""
        paths = self.git("ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0")
        return {path: (self.folder / path).read_bytes() for path in paths if path and (self.folder / path).is_file()}

    def state(self) -> tuple[str, str, dict[str, bytes]]:
        return self.git("rev-parse", "HEAD"), self.git("status", "--porcelain"), self.files()


@pytest.fixture(scope="module")
def env(tmp_path_factory) -> dict[str, str]:
    """The environment of a user who has configured git, and whose python3 is that of the tests."""
    home = tmp_path_factory.mktemp("home")
    (home / ".gitconfig").write_text("[user]\nname = A User\nemail = user@example.com\n[init]\ndefaultBranch = main\n")
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    return kept | {"HOME": str(home), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}


@pytest.fixture(scope="module")
def template(env, tmp_path_factory) -> Repository:
    made = Repository(tmp_path_factory.mktemp("template"), env)
    for part in PARTS:
        if (ROOT / part).is_dir():
            shutil.copytree(ROOT / part, made.folder / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / part, made.folder / part)
    for service in SERVICES:
        shutil.copytree(ROOT / "tests/fixtures/services" / service, made.folder / "services" / service)
    made.git("init", "--quiet")
    made.write("README.md", "# The template\n")
    made.write("CHANGELOG.md", CHANGELOG)
    made.write(DROPPED, "")
    set_version(made, "0.1.0")
    made.commit("0.1.0", "v0.1.0")
    made.append(TOOL, "\n\ndef colour() -> str:\n    return 'blue'\n")
    made.write(NEW_TOOL, "BLUE = 'blue'\n")
    (made.folder / DROPPED).unlink()
    made.append("README.md", "With colours.\n")
    made.append("services/small_size_llm/slo.yaml", "# A figure of 0.2.0.\n")
    made.append("services/gpt_oss/slo.yaml", "# A figure of 0.2.0.\n")
    shutil.copytree(ROOT / "tests/fixtures" / NEW_SERVICE, made.folder / NEW_SERVICE)
    set_version(made, "0.2.0")
    made.commit("0.2.0", "v0.2.0")
    made.write("docs/colours.md", "# Colours\n")
    set_version(made, "0.3.0")
    made.commit("0.3.0", "v0.3.0")
    made.git("tag", "nightly")
    return made


def set_version(repository: Repository, version: str) -> None:
    text = (ROOT / "pyproject.toml").read_text()
    lines = [f'version = "{version}"' if line.startswith("version = ") else line for line in text.splitlines()]
    repository.write("pyproject.toml", "\n".join(lines) + "\n")


@pytest.fixture
def clone(template, env, tmp_path) -> Repository:
    """A user's: one service edited, one added, two deleted, a README of their own, and keys that git does not track."""
    made = Repository(tmp_path / "clone", env)
    template.git("clone", "--quiet", "--no-tags", str(template.folder), str(made.folder))
    made.git("reset", "--quiet", "--hard", template.git("rev-parse", "v0.1.0").strip())
    shutil.rmtree(made.folder / "services/gpt_oss")
    shutil.rmtree(made.folder / "services/vision_llm")
    made.append("services/small_size_llm/slo.yaml", "# Ours.\n")
    shutil.copytree(made.folder / "services/reasoning_llm", made.folder / "services/my_llm")
    for file in ("serve.py", "service.yaml"):
        text = (made.folder / "services/my_llm" / file).read_text()
        made.write(
            f"services/my_llm/{file}", text.replace("reasoning-llm", "my-llm").replace("reasoning_llm", "my_llm")
        )
    made.write("README.md", "# Our models\n")
    made.write("docs/runbook.md", "# Ours\n")
    made.git("tag", "v0.2.0")  # a release of their own: the workflow rolls tags v* out
    made.commit("Ours")
    made.write("keys.yaml", "# not in git\n")
    set_up(made)
    return made


def set_up(repository: Repository) -> None:
    """A `.venv` with the packages of the tests' own: installing them would take minutes and gigabytes."""
    venv = repository.folder / ".venv"
    (venv / "bin").mkdir(parents=True)
    (venv / "bin/python").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    (venv / "bin/python").chmod(0o755)
    fingerprint = "from ops.local import venv; print(venv.fingerprint(), end='')"
    (venv / "setup-done").write_text(repository.run(sys.executable, "-c", fingerprint).stdout)


@pytest.fixture
def without_services(clone) -> Repository:
    """A clone whose services are not there yet, so that scripts/check, which follows an upgrade, takes seconds."""
    shutil.rmtree(clone.folder / "services")
    clone.commit("No services")
    return clone


@pytest.fixture
def refused(clone):
    """Run an upgrade that is refused: exit status 2, and the clone is as before. Returns what it printed."""

    def run(*words: str) -> str:
        before = clone.state()
        done = clone.upgrade(*words)
        assert done.returncode == 2, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        assert clone.state() == before
        return done.stdout + done.stderr

    return run


def test_brings_what_is_the_templates_and_leaves_what_is_the_users(clone, template):
    _, _, before = clone.state()
    done = clone.upgrade("--to", "v0.2.0")
    assert done.returncode in (0, 1), done.stderr
    _, changed, after = clone.state()
    assert changed == "?? keys.yaml\n"
    of_template = {path: template.git("show", f"v0.2.0:{path}").encode() for path in (TOOL, NEW_TOOL, "pyproject.toml")}
    assert after == {path: text for path, text in before.items() if path != DROPPED} | of_template

    assert "Left as you have them: README.md." in done.stdout
    assert "- Colours have names." in done.stdout
    assert not any(text in done.stdout for text in ("The first version", "about colours", "Not to be seen"))
    take = next(line for line in done.stdout.splitlines() if line.endswith(f" -- {NEW_SERVICE}"))
    clone.git(*take.split()[1:])
    assert (clone.folder / NEW_SERVICE / "serve.py").exists()
    clone.git("reset", "--quiet", "--hard")
    assert "services/gpt_oss" not in done.stdout, "who deleted it is not told that it changed"
    patch = next(line for line in done.stdout.splitlines() if "services/small_size_llm | git apply" in line)
    assert clone.run("bash", "-c", patch).returncode == 1, "both added a last line, so git shows a conflict"
    assert "A figure of 0.2.0." in (clone.folder / "services/small_size_llm/slo.yaml").read_text()
    clone.git("reset", "--quiet", "--hard")

    assert clone.git("tag") == "v0.2.0\n"
    revert = next(line for line in done.stdout.splitlines() if line.startswith("To undo the upgrade: "))
    clone.git(*revert.removeprefix("To undo the upgrade: git ").split())
    assert clone.files() == before


def test_check_runs_with_the_new_tools_and_a_finding_does_not_undo_the_upgrade(clone):
    clone.git("rm", "--quiet", "-r", "services/small_size_llm", "services/reasoning_llm")
    clone.append("services/my_llm/service.yaml", "no_such_key: 1\n")
    clone.commit("A fault")
    done = clone.upgrade()
    assert done.returncode == 1
    assert "no_such_key" in done.stdout
    assert "The upgrade is done. Fix what scripts/check says, or undo the upgrade." in done.stdout
    assert 'version = "0.3.0"' in (clone.folder / "pyproject.toml").read_text()
    assert "about colours" in done.stdout
    assert "Colours have names" in done.stdout
    again = clone.upgrade()
    assert again.returncode == 0
    assert "Nothing to do: this clone has v0.3.0, the newest version of the template" in again.stdout


def test_a_change_to_a_tool_is_refused_with_its_diff_and_can_be_kept(without_services, clone, refused):
    clone.append("ops/console/progress.py", "\nOURS = 1\n")
    (clone.folder / "scripts/bench").unlink()
    clone.commit("Our tool")
    said = refused("--to", "v0.2.0")
    assert "+OURS = 1" in said
    assert "deleted file" in said
    commands = [
        line.strip() for line in said.splitlines() if line.startswith("  git ") or line.startswith("  scripts/")
    ]
    assert len(commands) == 5
    for command in commands:
        done = clone.run("bash", "-c", command)
        assert done.returncode in ((0, 1) if command.startswith("scripts/") else (0,)), done.stderr
    assert "OURS = 1" in (clone.folder / "ops/console/progress.py").read_text()
    assert "def colour" in (clone.folder / TOOL).read_text()


def test_uncommitted_changes(clone, refused):
    clone.append("services/my_llm/slo.yaml", "# Not committed.\n")
    assert " M services/my_llm/slo.yaml" in refused()


@pytest.mark.parametrize("tracked", [True, False])
def test_a_file_of_the_users_where_a_new_one_goes(clone, refused, tracked):
    clone.write("docs/colours.md", "# Our colours\n")
    clone.write("ops/console/colours", "a file where a folder goes\n")
    if tracked:
        clone.commit("Our colours")
    said = refused("--to", "v0.3.0")
    assert f"files of your own: docs/colours.md, {NEW_TOOL}." in said


def test_unknown_version(refused):
    said = refused("--to", "v0.2.1")
    assert "has no version v0.2.1. Did you mean v0.2.0? Its versions are: v0.1.0, v0.2.0, v0.3.0." in said


def test_same_version(clone):
    before = clone.state()
    done = clone.upgrade("--to", "0.1.0")
    assert (done.returncode, done.stdout) == (0, "Nothing to do: this clone has v0.1.0.\n")
    assert clone.state() == before


def test_an_older_version_needs_consent(without_services):
    clone = without_services
    clone.upgrade("--to", "v0.3.0")
    before = clone.state()
    refused = clone.upgrade("--to", "v0.2.0")
    assert refused.returncode == 2
    assert "Pass --yes" in refused.stderr
    assert clone.state() == before
    done = clone.upgrade("--to", "v0.2.0", "--yes")
    assert "What v0.3.0 had, from the changelog:" in done.stdout
    assert "about colours" in done.stdout
    assert not (clone.folder / "docs/colours.md").exists()
    assert (clone.folder / "docs/runbook.md").exists()


def test_the_default_source_is_the_remote_template(without_services, template, tmp_path):
    clone = without_services
    clone.git("remote", "set-url", "origin", str(tmp_path / "gone"))
    clone.git("remote", "add", "template", str(template.folder))
    assert "v0.3.0 from " + str(template.folder) in clone.upgrade().stderr


def test_no_source(clone, refused):
    clone.git("remote", "remove", "origin")
    assert "git remote add template URL" in refused()


def test_source_that_is_not_there(refused, tmp_path):
    assert f"The template at {tmp_path / 'no-such'} cannot be read. git says: " in refused(
        "--from", str(tmp_path / "no-such")
    )


def test_source_that_cannot_be_reached_is_named_without_its_token(refused):
    said = refused("--from", "https://user:hunter2@127.0.0.1:1/template.git")
    assert "The template at https://127.0.0.1:1/template.git cannot be read. git says: unable to access" in said
    assert "hunter2" not in said


def test_source_that_is_not_a_template(env, refused, tmp_path):
    other = Repository(tmp_path / "other", env)
    other.write("main.py", "")
    other.git("init", "--quiet")
    other.commit("Another project")
    assert "has no tag of a version, such as v0.2.0, so it is not the template" in refused("--from", str(other.folder))
    other.git("tag", "v0.1.0")
    other.git("tag", "v0.2.0")
    assert "The tag v0.1.0 of" in (said := refused("--from", str(other.folder)))
    assert "is not a version of the template" in said


def test_source_that_is_the_users_own_repository(clone, refused):
    """Its tags are releases of theirs, and hold another version of the template than they say."""
    clone.git("tag", "v0.1.0")
    assert "is not that version of the template: its pyproject.toml says v0.1.0" in refused("--from", str(clone.folder))
    clone.git("tag", "--delete", "v0.1.0")
    assert "has no version v0.1.0, which this clone has" in refused("--from", str(clone.folder))


def test_folder_that_is_not_a_git_checkout(clone):
    shutil.rmtree(clone.folder / ".git")
    done = clone.upgrade()
    assert done.returncode == 2
    assert "is not a git checkout" in done.stderr


def test_folder_of_another_repository(clone, env, tmp_path):
    shutil.rmtree(clone.folder / ".git")
    Repository(tmp_path, env).git("init", "--quiet")
    done = clone.upgrade()
    assert done.returncode == 2
    assert f"is a folder of the git repository {tmp_path}" in done.stderr


def test_without_a_branch(clone, refused):
    clone.git("checkout", "--quiet", "--detach")
    assert "not on a branch" in refused()


def test_a_clone_that_lost_the_templates_parts(clone, refused):
    clone.git("rm", "--quiet", "versions.toml")
    clone.commit("Without versions.toml")
    assert "is not a clone of the template" in refused()


def killed(clone: Repository, at: int) -> bool:
    """Run an upgrade that is killed before the `at`-th event after it began to write; whether it had so many."""
    command = [sys.executable, "-c", KILLED_AT, str(at), "--to", "v0.2.0"]
    done = subprocess.run(
        command, cwd=clone.folder, env=clone.env, capture_output=True, text=True, start_new_session=True, check=False
    )
    return done.returncode == -signal.SIGKILL


def test_killed_anywhere_the_clone_is_as_before_or_as_after(without_services, tmp_path):
    clone, untouched = without_services, tmp_path / "untouched"
    shutil.copytree(clone.folder, untouched)
    head_before, changed_before, files_before = clone.state()
    as_before, at = [], 1
    while killed(clone, at):
        next_command = clone.run("scripts/setup")
        assert next_command.returncode == 0, next_command.stderr
        head, changed, files = clone.state()
        assert changed == changed_before, f"event {at}"
        as_before.append(head == head_before)
        if head == head_before:
            assert files == files_before
        else:
            assert clone.git("rev-parse", "HEAD~1").strip() == head_before.strip()
            assert set(clone.git("diff", "--name-only", "HEAD~1").split()) == {
                DROPPED,
                NEW_TOOL,
                TOOL,
                "pyproject.toml",
            }
        clone.commit("Work goes on")
        shutil.rmtree(clone.folder)
        shutil.copytree(untouched, clone.folder)
        at += 1
    assert True in as_before
    assert as_before == sorted(as_before, reverse=True), "as before up to an event, as after from there on"
    assert as_before.count(False) > 10
