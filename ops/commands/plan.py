"""scripts/plan: what a service takes and costs, what fits, how fast it would be, and what a deploy changes."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from ops.cloud.target import target_of
from ops.console import cli
from ops.console.cli import CommandError, err, out
from ops.console.options import CloudOption, ImageOption, JsonOption, ProjectOption, ServiceArgument, SetOption
from ops.plan import config_diff as plan_changes
from ops.plan import rendering as plan_page
from ops.plan import summary as plan_summary
from ops.project import catalogue
from ops.sizing import hardware
from ops.sizing.capacity import RequestSize


def plan(
    service: ServiceArgument,
    against: Annotated[
        str | None, typer.Option(help="Compare with the service of this name on Anyscale, not with the last deploy.")
    ] = None,
    rate: Annotated[
        float | None,
        typer.Option(help="Requests each second that it is to serve, each of its models where it serves several."),
    ] = None,
    input_tokens: Annotated[int | None, typer.Option(min=1, help="Of each request.")] = None,
    output_tokens: Annotated[int | None, typer.Option(min=1, help="Of each answer.")] = None,
    prices: Annotated[
        Path | None, typer.Option(help="A YAML file of your own prices: <instance type>: <USD per hour>.")
    ] = None,
    html: Annotated[Path | None, typer.Option(help="Write the page into this file too.")] = None,
    cloud: CloudOption = None,
    project: ProjectOption = None,
    settings: SetOption = None,
    image_uri: ImageOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what a service takes and costs, what fits and how fast it would be. Without --against it asks no server.

    Exit status: 0 it can be deployed so, 1 there are problems, 2 it cannot be told.

    Example: scripts/plan small-size-llm --rate 2 --input-tokens 1000 --output-tokens 200
    """
    chosen = catalogue.find(service).with_options(settings, image_uri)
    request = request_of(rate, input_tokens, output_tokens)
    own_prices = hardware.own_prices(prices) if prices else {}
    changes = (
        plan_changes.against_running(chosen, target_of(chosen, against, cloud, project))
        if against
        else plan_changes.against_last_deploy(chosen)
    )
    summary = plan_summary.of(chosen, changes, own_prices, request, rate)
    if html:
        write(html, plan_page.html(summary))
    if as_json:
        print(summary.model_dump_json())
    else:
        out.print(plan_page.text(summary), markup=False)
    if html:
        err.print(f"Written: {html.resolve()}", markup=False)
    sys.exit(cli.PROBLEMS if summary.problems else 0)


def request_of(rate: float | None, input_tokens: int | None, output_tokens: int | None) -> RequestSize | None:
    """Raises CommandError: some of the three are given and others are not, or the rate is nothing."""
    if rate is None and input_tokens is None and output_tokens is None:
        return None
    if rate is None or input_tokens is None or output_tokens is None:
        given = {"--rate": rate, "--input-tokens": input_tokens, "--output-tokens": output_tokens}
        missing = [option for option, value in given.items() if value is None]
        raise CommandError(f"A load is a rate and the size of its requests. Give {' and '.join(missing)} too.")
    if not rate > 0:
        raise CommandError("--rate is how many requests come each second: more than 0.")
    return RequestSize(input_tokens=input_tokens, output_tokens=output_tokens)


def write(file: Path, page: str) -> None:
    try:
        file.write_text(page, encoding="utf-8")
    except OSError as error:
        raise CommandError(f"{file} cannot be written: {error.strerror}.") from None


if __name__ == "__main__":
    cli.run("scripts/plan", plan)
