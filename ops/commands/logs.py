"""scripts/logs: the logs of a service's version on Anyscale."""

import sys
from typing import Annotated

import typer

from ops.cloud import anyscale_cli, service_state
from ops.cloud.target import target_of
from ops.console import cli
from ops.console.cli import CommandError, out
from ops.console.options import CloudOption, NameOption, ProjectOption, ServiceArgument
from ops.project import catalogue


def logs(
    service: ServiceArgument,
    version: Annotated[str | None, typer.Option(help="The name of a version; default: one that runs.")] = None,
    tail: Annotated[int, typer.Option(help="How many lines from the end.", min=1)] = 200,
    name: NameOption = None,
    cloud: CloudOption = None,
    project: ProjectOption = None,
) -> None:
    """Print the logs of a version, without the service's token.

    Example: scripts/logs small-size-llm --tail 50
    """
    target = target_of(catalogue.find(service), name, cloud, project)
    state = service_state.find(target)
    if state is None:
        raise CommandError(f"There is no service {target}.")
    words = ["logs", "service", "--id", state.id, "--tail", str(tail)]
    words += ["--version", version] if version else []
    outcome = anyscale_cli.run(*words, secrets=[state.token] if state.token else [], show=False)
    if outcome.code:
        raise CommandError(f"Anyscale has no logs to show. {outcome.reason}")
    out.print(outcome.printed, markup=False)
    sys.exit(0)


if __name__ == "__main__":
    cli.run("scripts/logs", logs)
