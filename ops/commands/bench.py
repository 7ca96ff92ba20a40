"""scripts/bench: how fast a service answers, beside bare vLLM or another server, with `vllm bench serve`."""

import os
import shlex
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.table import Table

from ops.bench import figures, html_report, local_service, machine, vllm_bench, workloads
from ops.bench.comparison import BenchSettings, check_against, measure, second_stack, served_here
from ops.bench.figures import BenchResult
from ops.bench.stacks import AtUrl, DevService, Stack
from ops.bench.workloads import WORKLOADS
from ops.console import cli
from ops.console.cli import CommandError, Failed, err, out
from ops.console.options import SetOption
from ops.console.progress import Progress
from ops.local.profile_choice import choose_profile
from ops.project import catalogue

CONCURRENCY = {"laptop": "1,16", "gpu": "1,32,256"}
"""A stand-in's batch on a laptop has 8 seats; at 256 most requests would only wait."""


def bench(
    service: Annotated[str, typer.Argument(help="A service such as small-size-llm.")],
    url: Annotated[
        str | None, typer.Option(help="Where it runs already; default: it is started here for each round.")
    ] = None,
    against: Annotated[
        str | None, typer.Option(help="vllm: bare vLLM with its engine arguments; or the URL of another server.")
    ] = None,
    workload: Annotated[str, typer.Option(help=f"{', '.join(WORKLOADS)}, or a .jsonl file of requests.")] = "chat",
    concurrency: Annotated[
        str | None, typer.Option(help="Requests at a time, such as 1,32,256; on a laptop 1,16, unless said.")
    ] = None,
    rounds: Annotated[int, typer.Option(help="How often each is measured, in turn.", min=1)] = 3,
    replicas: Annotated[int, typer.Option(help="Of the service, and of vllm serve behind vllm-router.", min=1)] = 1,
    model: Annotated[str | None, typer.Option(help="One of the service's models.")] = None,
    settings: SetOption = None,
    profile: Annotated[
        Literal["auto", "laptop", "gpu"], typer.Option(help="Of the service; auto: gpu where there is an NVIDIA GPU.")
    ] = "auto",
    api_key: Annotated[str | None, typer.Option(help="Sent to --url as bearer token; Anyscale wants one.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON; all else goes to stderr.")] = False,
    html: Annotated[bool, typer.Option("--html", help="Make a page of it, with plots.")] = False,
) -> None:
    """Measure a service, in turn with what it is compared with. Exit status 1: requests failed.

    Example: scripts/bench small-size-llm --against vllm --workload long --html
    """
    chosen, here = catalogue.find(service), choose_profile(profile)
    concurrencies = numbers(concurrency or CONCURRENCY[here])
    workloads.check(workload)
    check_against(against, replicas)
    at = AtUrl(chosen.name, url, api_key) if url else None
    options = [word for setting in settings or [] for word in ("--set", setting)]
    options += [*(["--model", model] if model else []), "--replicas", str(replicas)]
    with Progress() as progress:
        progress.waiting_for("Ray and vLLM to be imported")
        config = served_here(chosen, here, settings or [], model)
        folder = local_service.result_folder(chosen.name)
        asked = BenchSettings(chosen, config, here, workload, concurrencies, replicas, folder)
        compared: list[Stack] = [at or DevService(chosen, ["--profile", here, *options])]
        compared += [second_stack(asked, against, replicas)] if against else []
        with vllm_bench.loads(replicas, folder / "vllm-bench.log") as loads:
            cells = measure(compared, asked, rounds, loads, progress)
    result = BenchResult(
        service=chosen.name,
        model=config.model_id,
        workload=workload,
        profile=here,
        replicas=replicas,
        machine=machine.facts(),
        stacks={stack.name: stack.what for stack in compared},
        load=shlex.join(["vllm", "bench", "serve", *asked.words("URL", concurrencies[0], seed=0)]),
        cells=cells,
    )
    (folder / "result.json").write_text(result.model_dump_json(indent=1) + "\n")
    if html:
        (folder / "report.html").write_text(html_report.html(result), encoding="utf-8")
    show(result, folder, html, as_json)


def numbers(text: str) -> list[int]:
    """The numbers in a list such as 1,32,256. Raises CommandError: the text is not one."""
    try:
        found = sorted({int(word) for word in text.split(",")})
    except ValueError:
        found = [0]
    if found[0] < 1:
        raise CommandError(f"--concurrency {text} is not a list of numbers. Write it like 1,32,256.")
    return found


def show(result: BenchResult, folder: Path, html: bool, as_json: bool) -> None:
    """Raises Failed: requests failed, so the other figures say little."""
    if as_json:
        print(result.model_dump_json(indent=1))
    else:
        table = Table(title=html_report.heading(result), title_justify="left")
        for name in figures.columns(result):
            table.add_column(name, overflow="fold")  # a number that is cut off is a wrong one
        for row in figures.rows(result):
            table.add_row(*row)
        out.print(table)
    (out if not as_json else err).print(f"In {folder}: result.json{', report.html' if html else ''}")
    if failed := result.failed:
        worst = max(failed, key=lambda cell: cell.failed)
        raise Failed(
            f"{sum(cell.failed for cell in failed)} requests failed; of {worst.stack} at {worst.concurrency} at a time "
            f"{worst.failed} of {worst.requests}. The first: {worst.first_error}"
        )


if __name__ == "__main__":
    try:
        cli.run("scripts/bench", bench)
    except SystemExit as ended:
        sys.stdout.flush()
        os._exit(int(ended.code or 0))  # at Python's own end Triton, which vLLM imports, tells at length what it leaks
