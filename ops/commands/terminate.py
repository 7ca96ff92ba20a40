"""scripts/terminate: stop a service on Anyscale and all that it runs on."""

import json
import sys

import typer

from ops.cloud import mutations, service_state, waiting
from ops.cloud.target import target_of
from ops.console import cli
from ops.console.cli import CommandError, err, out
from ops.console.options import CloudOption, JsonOption, NameOption, ProjectOption, ServiceArgument, YesOption
from ops.console.progress import Progress
from ops.project import catalogue
from ops.rollouts import deploy_plan, journal

TIMEOUT_S = 1800  # guess: machines are given back in minutes


def terminate(
    service: ServiceArgument,
    name: NameOption = None,
    cloud: CloudOption = None,
    project: ProjectOption = None,
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Stop a service; its clients get no answers any more. Asks for its name, unless --yes is given.

    Example: scripts/terminate small-size-llm
    """
    target = target_of(catalogue.find(service), name, cloud, project)
    with journal.lock(target.name):
        running = service_state.find(target)
        if running is None:
            raise CommandError(f"There is no service {target}.")
        if running.state != deploy_plan.GONE:
            (err if as_json else out).print(f"{target} is {running.state} on {running.url}.", markup=False)
            if not yes:
                ask_for_name(target.name)
            mutations.terminate(running.id)
            with Progress() as progress:
                waiting.until(
                    running.id,
                    lambda state: state.state == deploy_plan.GONE,
                    lambda state: "",
                    progress,
                    TIMEOUT_S,
                    lambda state: f"{target.name} to stop: {state.state}",
                )
    if as_json:
        print(json.dumps({"service": target.name, "state": deploy_plan.GONE}))
    else:
        out.print(f"{target} is terminated.", markup=False)


def ask_for_name(name: str) -> None:
    """Raises CommandError: what was typed is not the name, or there is nobody to ask."""
    if not sys.stdin.isatty():
        raise CommandError("Nothing was changed: there is no terminal to ask for the service's name. Pass --yes.")
    if typer.prompt("Type its name to terminate it", err=True) != name:
        raise CommandError("That is another name. Nothing was changed.")


if __name__ == "__main__":
    cli.run("scripts/terminate", terminate)
