"""scripts/rehearse: play a service's deploys, rollouts and what goes wrong with them on this machine."""

import json
import signal
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from rich.table import Table

from laptop.cache import CACHE
from ops.console import cli
from ops.console.cli import out
from ops.console.options import JsonOption, ServiceArgument
from ops.local import preflight
from ops.project import catalogue
from rehearsal.play import Play
from rehearsal.stage import stage

NOT_PROVEN = (
    "Anyscale's own backend: that it takes the configuration, builds the image, finds the machines and moves traffic "
    "as the local control plane does",
    "the image: a version runs in this machine's environment",
    "GPUs, the real model, its speed and its memory: the laptop profile serves a small one",
    "load balancers of a cloud, DNS and certificates",
    "the limits of the SLO file: the rehearsal has its own, which only what is broken breaks",
)


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
