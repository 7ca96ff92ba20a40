"""A journal outlives the command that writes it."""

import subprocess
import sys

import pytest

from ops.console.cli import CommandError
from ops.rollouts import journal
from ops.rollouts.journal import Entry, Journal, State


def test_a_line_that_a_kill_cut_short_is_left_out_and_overwritten(tmp_path):
    log = Journal(tmp_path)
    log.write(Entry(state=State.PLANNED))
    with log.file.open("a") as file:
        file.write('{"at": "2026-11-2')
    assert [entry.state for entry in log.entries()] == [State.PLANNED]
    log.write(Entry(state=State.DEPLOYING, weight=5))
    assert [entry.state for entry in log.entries()] == [State.PLANNED, State.DEPLOYING]


def test_a_line_that_is_not_a_journals_is_named(tmp_path):
    log = Journal(tmp_path)
    log.file.write_text('{"state": "no such state"}\n')
    with pytest.raises(CommandError, match=r"journal\.jsonl cannot be read"):
        log.entries()


def test_the_newest_journal_comes_first(tmp_path, monkeypatch):
    monkeypatch.setattr(journal, "FOLDER", tmp_path)
    for state in (State.PLANNED, State.DEPLOYING):
        journal.new("my-llm").write(Entry(state=state))
    assert [log.last.state for log in journal.of("my-llm")] == [State.DEPLOYING, State.PLANNED]


def test_a_second_command_for_a_service_is_refused_until_the_first_ends_however_it_ends(tmp_path, monkeypatch, root):
    monkeypatch.setattr(journal, "FOLDER", tmp_path)
    hold = (
        "import sys, time; from pathlib import Path; from ops.rollouts import journal\n"
        "journal.FOLDER = Path(sys.argv[1])\n"
        "with journal.lock('my-llm'): print('held', flush=True); time.sleep(60)"
    )
    other = subprocess.Popen([sys.executable, "-c", hold, tmp_path], cwd=root, stdout=subprocess.PIPE, text=True)
    assert other.stdout.readline() == "held\n"
    with pytest.raises(CommandError, match="Another command is changing my-llm"), journal.lock("my-llm"):
        pass
    other.kill()
    other.wait()
    with journal.lock("my-llm"):
        pass
