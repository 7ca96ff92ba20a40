"""Rollouts that are taken back, killed, resumed or aborted, through the real CLI, with a real model."""

import json
import signal
import subprocess
import sys
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from ops.rollouts.journal import State
from rehearsal.stage import Stage
from tests.commands import AT_A_TIME, AT_ONCE, LIKE_A_TERMINAL, ROLLOUT, SERVICE, journal, weights

# Taken back


def test_a_canary_that_never_gets_healthy_is_taken_back(staged, control_plane, deployed):
    before = weights(staged, deployed)
    control_plane.faults(never_healthy=True)
    ended = staged.run("rollout", SERVICE, "--name", deployed, *ROLLOUT, "--start-timeout", "10s")
    assert ended.returncode == 1, ended.stderr
    assert weights(staged, deployed) == before
    assert journal(staged, deployed).last.state == State.ROLLED_BACK


def test_a_canary_that_gets_unhealthy_is_taken_back(staged, control_plane, deployed):
    before = weights(staged, deployed)
    control_plane.faults(unhealthy_at=50)
    ended = staged.run("rollout", SERVICE, "--name", deployed, *ROLLOUT)
    assert ended.returncode == 1, ended.stderr
    assert weights(staged, deployed) == before


def test_a_canary_that_breaks_the_slo_is_taken_back_and_the_report_says_why(staged, deployed):
    before = weights(staged, deployed)
    ended = staged.run("rollout", SERVICE, "--name", deployed, *ROLLOUT[:-1], "strict.yaml", "--json")
    assert ended.returncode == 1, ended.stderr
    result = json.loads(ended.stdout)
    assert result["end"] == "rolled back"
    assert "TTFT p50" in result["why"][0]
    assert "TTFT p50" in Path(result["report"]).read_text()
    assert weights(staged, deployed) == before


def test_a_version_that_breaks_the_slo_after_its_promotion_gives_way_to_the_one_before(staged, deployed):
    (before,) = weights(staged, deployed)
    ended = staged.run("rollout", SERVICE, "--name", deployed, *AT_ONCE[:-1], "strict.yaml")
    assert ended.returncode == 1, ended.stderr
    (now,) = weights(staged, deployed)
    assert now.endswith(f"-as-{before.rpartition('-as-')[2]}")
    assert journal(staged, deployed).last.state == State.ROLLED_BACK


# Delayed


@pytest.mark.parametrize("status", [429, 500])
def test_an_api_that_is_busy_for_a_while(staged, control_plane, deployed, status):
    control_plane.faults(api_status=status, api_times=4, api_path="/services-v2")
    ended = staged.run("rollout", SERVICE, "--name", deployed, *AT_ONCE)
    assert ended.returncode == 0, ended.stderr


# Interrupted


STATES = [State.PLANNED, State.DEPLOYING, State.MOVING, State.BAKING, State.CHECKING, State.PASSED, State.PROMOTED]


def roll_out_and_die(staged: Stage, name: str, state: str, *words: str) -> None:
    """Run a rollout that kills itself as soon as its journal has come to a state."""
    kill = f"""
import os, signal, sys
from ops.commands.rollout import rollout
from ops.console import cli
from ops.rollouts import journal

write = journal.Journal.write

def write_and_die(self, entry):
    write(self, entry)
    if entry.state == {str(state)!r}:
        os.kill(os.getpid(), signal.SIGKILL)

journal.Journal.write = write_and_die
cli.run("scripts/rollout", rollout)
"""
    command = [sys.executable, "-c", kill, SERVICE, "--name", name, *words]
    ended = subprocess.run(command, cwd=staged.repository, env=staged.env, capture_output=True, text=True, check=False)
    assert ended.returncode == -signal.SIGKILL, ended.stderr


@dataclass
class Interrupted:
    """A rollout that was killed and resumed, and how that ended."""

    name: str
    before: dict[str, int]
    killed: dict[str, int]
    resumed: subprocess.CompletedProcess


def interrupt(staged: Stage, state: State, slo_file: str) -> Interrupted:
    """Deploy a service, kill a rollout of it in that state, and resume it."""
    name = f"killed-{state.replace(' ', '-')}-{slo_file.partition('.')[0]}"
    deployed = staged.run("deploy", SERVICE, "--name", name, "--yes")
    assert deployed.returncode == 0, deployed.stderr
    before = weights(staged, name)
    roll_out_and_die(staged, name, state, *ROLLOUT[:-1], slo_file)
    killed = weights(staged, name)
    return Interrupted(name, before, killed, staged.run("rollout", SERVICE, "--name", name, "--resume"))


@pytest.fixture(scope="module")
def interrupted(staged: Stage) -> dict[tuple[State, str], Future[Interrupted]]:
    """All rollouts that the tests below kill."""
    cases = [(state, "quick.yaml") for state in STATES] + [(State.ROLLING_BACK, "strict.yaml")]
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        return {case: pool.submit(interrupt, staged, *case) for case in cases}


@pytest.mark.parametrize("state", STATES)
def test_a_rollout_that_is_killed_and_resumed_ends_as_one_that_is_not(staged, interrupted, state):
    rollout = interrupted[state, "quick.yaml"].result()
    assert rollout.resumed.returncode == 0, rollout.resumed.stderr
    log = journal(staged, rollout.name)
    assert weights(staged, rollout.name) == {log.plan.version: 100}
    assert log.last.state == State.FINISHED
    shares = [entry.weight for entry in log.entries() if entry.state == State.BAKING]
    assert shares == sorted(shares), "traffic was moved backwards"
    assert set(shares) == {50, 100}, "a step was left out"
    assert rollout.killed.get(log.plan.version, 0) <= shares[-1]


def test_a_rollback_that_is_killed_and_resumed_ends_as_one_that_is_not(staged, interrupted):
    rollout = interrupted[State.ROLLING_BACK, "strict.yaml"].result()
    assert rollout.resumed.returncode == 1, rollout.resumed.stderr
    assert weights(staged, rollout.name) == rollout.before
    assert journal(staged, rollout.name).last.state == State.ROLLED_BACK


def test_a_killed_rollout_is_aborted(staged, deployed):
    before = weights(staged, deployed)
    roll_out_and_die(staged, deployed, "passed", *ROLLOUT)
    again = staged.run("rollout", SERVICE, "--name", deployed, *ROLLOUT)
    assert again.returncode == 2
    assert "is under way" in again.stderr
    aborted = staged.run("rollout", SERVICE, "--name", deployed, "--abort")
    assert aborted.returncode == 0, aborted.stderr
    assert weights(staged, deployed) == before


def test_a_second_rollout_is_refused_while_the_first_runs_and_rollback_cancels_it(staged, control_plane, deployed):
    before = weights(staged, deployed)
    first = staged.start(
        "rollout",
        SERVICE,
        "--name",
        deployed,
        *ROLLOUT,
        "--bake",
        "10min",
        stderr=subprocess.DEVNULL,
        **LIKE_A_TERMINAL,
    )
    while len(weights(staged, deployed)) < 2:
        time.sleep(0.5)
    second = staged.run("rollout", SERVICE, "--name", deployed, *ROLLOUT)
    assert second.returncode == 2
    assert "right now" in second.stderr
    first.send_signal(signal.SIGINT)
    assert first.wait(timeout=60) == 1
    cancelled = staged.run("rollback", SERVICE, "--name", deployed, "--yes")
    assert cancelled.returncode == 0, cancelled.stderr
    assert weights(staged, deployed) == before
