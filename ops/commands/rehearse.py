"""scripts/rehearse: play a service's deploys, rollouts and what goes wrong with them on this machine."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

from rich.table import Table

from laptop.cache import CACHE
from ops.console import cli
from ops.console.cli import CommandError, err, out
from ops.console.options import JsonOption, ServiceArgument
from ops.local import preflight
from ops.project import catalogue, probe_file
from ops.project.catalogue import Service
from ops.rollouts.journal import Entry, State
from rehearsal import edits
from rehearsal.stage import Stage, stage
from rehearsal.streams import Streams

CLIENTS = 2  # more would make the two engines of a laptop so slow that a rehearsal takes half an hour
ROLLOUT = ("--yes", "--steps", "25,100", "--bake", "2s", "--slo", "rehearsal/slo.yaml")
NOT_PROVEN = (
    "Anyscale's own backend: that it takes the configuration, builds the image, finds the machines and moves traffic "
    "as the local control plane does",
    "the image: a version runs in this machine's environment",
    "GPUs, the real model, its speed and its memory: the laptop profile serves a small one",
    "load balancers of a cloud, DNS and certificates",
    "the limits of the SLO file: the rehearsal has its own, which only what is broken breaks",
)


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
    """From the moment the bad version had traffic to the moment the version before had all of it again."""
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
        return max(entry.weight for entry in entries if entry.state == State.CHECKING)


def rehearse(service: ServiceArgument, as_json: JsonOption = False) -> None:
    """Rehearse a service's first deploy, a good, a bad and a killed rollout, and its end, on this machine.

    The Anyscale CLI and the commands are the real ones; only what they talk to is local. Takes four minutes on two
    cores.

    Exit status: 0 all came out as it should, 1 something did not, 2 it could not be played.

    Example: scripts/rehearse small-size-llm
    """
    chosen = catalogue.find(service)
    preflight.check_memory(preflight.engines(chosen), versions=2)
    preflight.check_disk(CACHE, Path(tempfile.gettempdir()))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(cli.CANNOT))  # so that what was started is stopped then, too
    with stage(chosen) as opened:
        play = Play(chosen, opened)
        well = play.play()
    tell(play, well, as_json)
    sys.exit(0 if well else cli.PROBLEMS)


def tell(play: Play, well: bool, as_json: bool) -> None:
    seconds = sum(act.seconds for act in play.acts)
    verdict = "came out as it should" if well else f"stopped at: {play.acts[-1].what}"
    if as_json:
        figures = {"streams_held_open": play.streams_held, "streams_cut": len(play.streams_cut)}
        acts = [asdict(act) for act in play.acts]
        print(json.dumps({"acts": acts, **figures, "seconds_from_bad_step_to_rolled_back": play.back_s, "well": well}))
        return
    table = Table(title=f"What was rehearsed of {play.service.name}", title_justify="left")
    for column in ("act", "", "what came of it", "s"):
        table.add_column(column)
    for act in play.acts:
        table.add_row(act.what, "ok" if act.well else "FAIL", act.came_of_it, f"{act.seconds:.0f}")
    out.print(table)
    out.print("What a rehearsal cannot prove:", *(f"- {what}" for what in NOT_PROVEN), sep="\n", markup=False)
    out.print(f"streams held open: {play.streams_held}")
    out.print(f"streams cut: {len(play.streams_cut)}")
    out.print(f"seconds from bad step to rolled back: {play.back_s:.1f}")
    out.print(
        f"The rehearsal of {play.service.name} {verdict}: {len(play.acts)} acts in {seconds:.0f} s.", markup=False
    )


if __name__ == "__main__":
    cli.run("scripts/rehearse", rehearse)
