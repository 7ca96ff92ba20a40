"""The rehearsal of one service, act by act: deploys, rollouts and what goes wrong with them."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from ops.console.cli import CommandError, err
from ops.project import probe_file
from ops.project.catalogue import Service
from ops.rollouts.journal import Entry, State
from rehearsal import edits
from rehearsal.stage import Stage
from rehearsal.streams import Streams

CLIENTS = 2  # more would make the two engines of a laptop so slow that a rehearsal takes half an hour
ROLLOUT = ("--yes", "--steps", "25,100", "--bake", "2s", "--slo", "rehearsal/slo.yaml")


class Unexpected(Exception):
    """An act did not come out as it should, in a sentence."""


@dataclass
class Act:
    """One thing that was rehearsed."""

    what: str
    came_of_it: str
    well: bool
    seconds: float


@dataclass
class Play:
    """A rehearsal of one service, act by act."""

    service: Service
    stage: Stage
    acts: list[Act] = field(default_factory=list)
    streams_held: int = 0
    streams_cut: list[str] = field(default_factory=list)
    back_s: float = 0
    """The time from the moment the bad version had traffic to the moment the version before had all of it again."""
    journals_before: int = 0
    """How many journals there were when the last rollout was begun."""

    @property
    def serve(self) -> Path:
        return self.stage.repository / "services" / self.service.folder.name / "serve.py"

    def play(self) -> bool:
        """Play act after act until one does not come out well; whether all did."""
        for what, played in (
            ("first deploy", self.deploy),
            ("probe", self.probe),
            ("rollout of a good change, with streams open", self.roll_out_a_good_change),
            ("rollout of a bad change", self.roll_out_a_bad_change),
            ("rollout that is killed and resumed", self.kill_a_rollout_and_resume_it),
            ("terminate", self.terminate),
        ):
            err.print(f"\n{what} ...", style="bold", markup=False)
            started = time.monotonic()
            try:
                came_of_it, well = played(), True
            except (Unexpected, CommandError) as error:
                came_of_it, well = str(error), False
            self.acts.append(Act(what, came_of_it, well, round(time.monotonic() - started, 1)))
            if not well:
                return False
        return True

    def deploy(self) -> str:
        self.expect(0, "deploy", self.service.name, "--yes")
        return "runs, and passed its probe"

    def probe(self) -> str:
        status = self.stage.status(self.service.name)
        url, token = status["query_url"], status["query_auth_token"]
        self.expect(2, "probe", self.service.name, "--url", url)
        self.expect(0, "probe", self.service.name, "--url", url, "--api-key", token)
        return "all checks passed; without the token it was refused"

    def roll_out_a_good_change(self) -> str:
        edits.harmless(self.serve)
        status = self.stage.status(self.service.name)
        model = probe_file.load(self.service.probe_file).model
        streams = Streams(status["query_url"], status["query_auth_token"], model)
        rollout = self.begin_rollout()
        self.wait_for(rollout, State.BAKING)
        streams.start(CLIENTS)
        code = rollout.wait()
        streams.end()
        self.streams_held, self.streams_cut = streams.held, streams.cut
        if code != 0 or streams.cut:
            raise Unexpected(f"exit status {code}; streams cut: {'; '.join(streams.cut) or 'none'}")
        return f"has all traffic; {streams.held} streams were open meanwhile, none was cut"

    def roll_out_a_bad_change(self) -> str:
        before = self.serve.read_text()
        edits.breaking(self.serve)
        primary = self.stage.status(self.service.name)["primary_version"]["name"]
        code = self.begin_rollout().wait()
        self.serve.write_text(before)
        entries = self.entries()
        now = self.stage.status(self.service.name)
        if code != 1 or entries[-1].state != State.ROLLED_BACK or now["primary_version"]["name"] != primary:
            raise Unexpected(f"exit status {code}, {entries[-1].state}: {' '.join(entries[-1].why)}")
        bad = next(entry.at for entry in entries if entry.state == State.BAKING)
        self.back_s = (entries[-1].at - bad).total_seconds()
        return f"was caught at {self.weight(entries)}% and taken back: {entries[-1].why[-1]}"

    def kill_a_rollout_and_resume_it(self) -> str:
        edits.harmless(self.serve)
        rollout = self.begin_rollout()
        self.wait_for(rollout, State.PASSED)
        os.killpg(rollout.pid, signal.SIGKILL)
        rollout.wait()
        weight = self.stage.status(self.service.name)["canary_version"]["weight"]
        self.expect(0, "rollout", self.service.name, "--resume")
        if self.entries()[-1].state != State.FINISHED:
            raise Unexpected(f"the resumed rollout ended {self.entries()[-1].state}")
        return f"was killed with {weight}% of the traffic, resumed, and has all of it"

    def terminate(self) -> str:
        self.expect(0, "terminate", self.service.name, "--yes")
        return "is terminated"

    def begin_rollout(self) -> subprocess.Popen:
        self.journals_before = len(self.stage.journals(self.service.name))
        return self.stage.start("rollout", self.service.name, *ROLLOUT, stdout=sys.stderr, start_new_session=True)

    def expect(self, code: int, verb: str, *words: str) -> None:
        """Raises Unexpected: the command ends with another status."""
        ended = self.stage.start(verb, *words, stdout=sys.stderr, stdin=subprocess.DEVNULL).wait()
        if ended != code:
            raise Unexpected(f"scripts/{verb} ended with {ended} instead of {code}")

    def wait_for(self, rollout: subprocess.Popen, state: State) -> None:
        """Wait until the rollout that was begun last has come to a state.

        Raises:
            Unexpected: it ended before.
        """
        while rollout.poll() is None:
            journals = self.stage.journals(self.service.name)
            begun = len(journals) > self.journals_before
            if begun and any(entry.state == state for entry in journals[0].entries()):
                return
            time.sleep(0.1)
        raise Unexpected(f"the rollout ended with {rollout.returncode} before it was {state}")

    def entries(self) -> list[Entry]:
        return self.stage.journals(self.service.name)[0].entries()

    def weight(self, entries: list[Entry]) -> int:
        return max(entry.weight or 0 for entry in entries if entry.state == State.CHECKING)
