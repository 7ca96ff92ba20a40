"""Put what a benchmark measured into docs/performance/runs.csv, one row for each cell.

Run it: .venv/bin/python -m ops.bench.add_runs benchmarks/NAME/result.json --experiment h200-tp2
"""

from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError

from ops.bench import tables
from ops.bench.figures import BenchResult
from ops.bench.tables import RUNS, Run
from ops.bench.workloads import WORKLOADS
from ops.console import cli
from ops.console.cli import CommandError, out


def add(
    files: Annotated[
        list[Path], typer.Argument(help="result.json of scripts/bench; runs.csv of ops.bench.routing or .autoscaling.")
    ],
    experiment: Annotated[str, typer.Option(help="A short name for all of them; no row may have it yet.")],
    notes: Annotated[str, typer.Option(help="What the other columns do not say.")] = "",
    table: Annotated[Path, typer.Option(help="The table that gets the rows.")] = RUNS,
) -> None:
    """Add the cells of results to the table of all runs.

    Example: .venv/bin/python -m ops.bench.add_runs benchmarks/small-size-llm-20261128-120000/result.json
    --experiment h200-tp2
    """
    there = tables.read(table, Run) if table.exists() else []
    if any(run.experiment == experiment for run in there):
        raise CommandError(
            f"{table} has rows of the experiment {experiment}. Choose another name, or delete these rows first."
        )
    added = [
        run.model_copy(update={"experiment": experiment, "notes": "; ".join(filter(None, (notes, run.notes)))})
        for file in files
        for run in runs_of(file)
    ]
    tables.write(table, [*there, *added])
    out.print(f"{table}: {len(added)} rows of {experiment}.")


def runs_of(file: Path) -> list[Run]:
    """The rows of one result.

    Raises:
        CommandError: the file cannot be read, or has no result.
    """
    if file.suffix == ".csv":
        return tables.read(file, Run)
    try:
        result = BenchResult.model_validate_json(file.read_text())
    except OSError as error:
        raise CommandError(f"{file} cannot be read: {error.strerror}.") from None
    except ValidationError:
        raise CommandError(f"{file} is not a result of scripts/bench, which writes result.json.") from None
    return of_bench(result)


def of_bench(result: BenchResult) -> list[Run]:
    """A row for each cell. The sizes of requests are left empty where they differ: in a file, or in conversations."""
    workload = WORKLOADS.get(result.workload)
    size = workload.size(result.profile) if workload and workload.turns == 1 else None
    return [
        Run(
            experiment=result.service,
            **tables.machine_columns(result.machine),
            service=result.service,
            model=result.model,
            stack=cell.stack,
            replicas=result.replicas,
            workload=result.workload,
            input_tokens=size.prompt if size else None,
            output_tokens=size.answer if size else None,
            concurrency=cell.concurrency,
            load_processes=min(result.replicas, cell.concurrency) if workload else 1,
            round=cell.round,
            requests=cell.requests,
            failed=cell.failed,
            seconds=cell.seconds,
            output_tokens_per_s=cell.output_tokens_per_s,
            **{
                f"{metric}_{percentile}": value
                for metric in ("ttft_ms", "tpot_ms", "itl_ms")
                for percentile, value in getattr(cell, metric)
            },
            notes=f"The first error: {cell.first_error}" if cell.failed else "",
        )
        for cell in result.cells
    ]


if __name__ == "__main__":
    cli.run("python -m ops.bench.add_runs", add)
