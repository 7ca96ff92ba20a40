"""scripts/warm: wake a service that has scaled to zero, and wait for its first token."""

from typing import Annotated

import typer

from ops.cloud import target
from ops.console import cli
from ops.console.cli import out
from ops.console.options import ServiceArgument
from ops.console.progress import Progress
from ops.probing.first_token import wait_for_token
from ops.project import catalogue, probe_file


def warm(
    service: ServiceArgument,
    url: Annotated[str, typer.Option(help="Where it runs.")] = "http://127.0.0.1:8000",
    api_key: Annotated[str | None, typer.Option(help="Sent as bearer token; Anyscale services want one.")] = None,
    model: Annotated[str | None, typer.Option(help="The model id to ask, where it is not the probe's own.")] = None,
    timeout: Annotated[
        str | None, typer.Option(help="How long it may take, such as 90min. Default: as for a deploy.")
    ] = None,
) -> None:
    """Ask for one token until there is one. Exit status: 0 it answers, 1 it did not in time, 2 it could not be asked.

    Example: scripts/warm small-size-llm --url http://127.0.0.1:8001
    """
    chosen = catalogue.find(service)
    asked = model or probe_file.load(chosen.probe_file).model
    limit_s = target.start_timeout_s(chosen, timeout)
    with Progress() as progress:
        wait_for_token(url, api_key, asked, limit_s, progress)
        out.print(f"{chosen.name} generated a token of {asked}, {progress.seconds():.1f} s after it was asked.")


if __name__ == "__main__":
    cli.run("scripts/warm", warm)
