"""scripts/status: how a service on Anyscale is."""

import json
import sys
import time
from contextlib import nullcontext
from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich.live import Live
from rich.table import Table

from ops.cloud import service_state
from ops.cloud.service_state import ServiceState, Target
from ops.cloud.target import target_of
from ops.console import cli
from ops.console.cli import CommandError, out
from ops.console.options import CloudOption, JsonOption, NameOption, ProjectOption, ServiceArgument
from ops.project import catalogue
from ops.rollouts import journal
from ops.rollouts.journal import ENDS

WATCH_S = 5  # guess: often enough for what takes minutes
WELL = {"STARTING", "RUNNING", "UPDATING", "ROLLING_OUT", "ROLLING_BACK"}


def status(
    service: ServiceArgument,
    watch: Annotated[bool, typer.Option("--watch", help="Go on showing it, until Ctrl-C.")] = False,
    name: NameOption = None,
    cloud: CloudOption = None,
    project: ProjectOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show a service's state, its versions and their traffic, and what it waits for.

    Exit status: 0 it runs or is on its way, 1 something is wrong with it, 2 it cannot be told.

    Example: scripts/status small-size-llm --watch
    """
    target = target_of(catalogue.find(service), name, cloud, project)
    state = read(target)
    if as_json:
        print(json.dumps(described(state)))
    elif watch:
        watch_it(target, state)
    else:
        out.print(page(state))
    sys.exit(0 if state.state in WELL else cli.PROBLEMS)


def read(target: Target) -> ServiceState:
    state = service_state.find(target)
    if state is None:
        raise CommandError(f"There is no service {target}.")
    return state


def watch_it(target: Target, state: ServiceState) -> None:
    """Show the service again and again: in one place on a terminal, else page after page."""
    with Live(console=out, auto_refresh=False) if out.is_terminal else nullcontext() as place:
        try:
            while True:
                if place:
                    place.update(page(state), refresh=True)
                else:
                    out.print(page(state))
                time.sleep(WATCH_S)
                state = read(target)
        except KeyboardInterrupt:
            return


def described(state: ServiceState) -> dict[str, Any]:
    """Everything but its token and its configuration, which has the values of secrets."""
    whole = asdict(state)
    del whole["token"]
    for version in ("primary", "canary"):
        if whole[version]:
            del whole[version]["config"]
    return whole | {"last_change": last_change(state.name)}


def last_change(name: str) -> str | None:
    """The last thing that was done to the service from this checkout, in words."""
    log = next(iter(journal.of(name)), None)
    if log is None:
        return None
    plan, last = log.plan, log.last
    weight = f" at {last.weight}%" if last.weight is not None and last.state not in ENDS else ""
    return f"{plan.kind} of {plan.version}: {last.state}{weight}, {last.at:%Y-%m-%d %H:%M} UTC"


def page(state: ServiceState) -> Table:
    table = Table(title=f"{state.name}: {state.state}", caption=state.url, title_justify="left", show_header=True)
    for column in ("what", "state", "traffic", "message"):
        table.add_column(column)
    for item in state.checklist:
        table.add_row(item.label, item.state, "", item.message)
    for role, version in (("primary", state.primary), ("canary", state.canary)):
        if version:
            table.add_row(f"{role} {version.name}", version.state, f"{version.weight}%", "")
            for item in version.checklist:
                table.add_row(f"  {item.label}", item.state, "", item.message)
    if changed := last_change(state.name):
        table.add_row("last change from here", "", "", changed)
    return table


if __name__ == "__main__":
    cli.run("scripts/status", status)
