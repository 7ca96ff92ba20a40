"""scripts/test: what its words ask for, and what it says where no test matches."""

import subprocess
import sys

import pytest

from ops.commands.test import Asked, asked
from ops.console.cli import CommandError
from ops.project import catalogue
from tests.project import ROOT


def test_without_a_word_it_lints_and_tests_one_service():
    first = catalogue.services()[0].name
    assert asked([]) == Asked(["unit", "services"], [first], lint=True, pytest=[])


@pytest.mark.parametrize(
    ("words", "suites", "services", "lint"),
    [
        (["all"], ["unit", "services", "e2e"], [], True),
        (["unit"], ["unit"], [], False),
        (["services"], ["services"], [], False),
        (["services", "gpt_oss", "multi-lora"], ["services"], ["gpt-oss", "multi-lora"], False),
    ],
)
def test_words_choose_suites_and_services(words, suites, services, lint):
    assert asked(words) == Asked(suites, services, lint, pytest=[])


def test_what_follows_two_dashes_is_for_pytest():
    assert asked(["e2e", "--", "-k", "auth or routing"]).pytest == ["-k", "auth or routing"]
    assert asked(["--", "-x"]).suites == ["unit", "services"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["uint"], r"There is no suite uint\. Usage: scripts/test \[services"),
        (["unit", "small-size-llm"], "unit takes no names"),
        (["services", "smal-size-llm"], "Did you mean small-size-llm?"),
    ],
)
def test_words_that_ask_for_nothing_there_is(words, said):
    with pytest.raises(CommandError, match=said):
        asked(words)


def test_without_services_the_others_are_tested(tmp_path, monkeypatch):
    monkeypatch.setattr(catalogue, "SERVICES", tmp_path)
    assert asked([]).suites == ["unit"]
    assert asked(["all"]).suites == ["unit", "e2e"]
    with pytest.raises(CommandError, match="services/ holds no service"):
        asked(["services"])


def run(*words: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "ops.commands.test", *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_no_test_that_matches_is_an_error_that_says_so():
    few = "--ignore-glob=*/test_[!j]*.py"
    ended = run("unit", "--", few, "--numprocesses=0", "-k", "nothing")
    assert ended.returncode == 2
    assert "No test of unit matches" in ended.stderr
    assert "-k nothing" in ended.stderr


def test_a_suite_that_is_not_there_ends_with_the_usage():
    ended = run("units")
    assert ended.returncode == 2
    assert "Usage: scripts/test [services [NAME ...]" in ended.stderr
