"""The tables of docs/performance: what is in them, how rows are added, and the plots that are drawn from them."""

import pytest

from ops.bench import add_runs, plots, routing, tables
from ops.bench.figures import BenchResult, Cell, LatencyMs
from ops.bench.tables import AUTOSCALING, FOLDER, RUNS, Run, Sample
from ops.console.cli import CommandError

TIMES = LatencyMs(p50=10.5, p95=20, p99=30)


def cell(stack: str, failed: int = 0) -> Cell:
    figures = dict(seconds=5, output_tokens_per_s=96.25, ttft_ms=TIMES, tpot_ms=TIMES, itl_ms=TIMES)
    first_error = "Bad Gateway" if failed else ""
    return Cell(round=1, stack=stack, concurrency=16, requests=64, failed=failed, first_error=first_error, **figures)


@pytest.fixture
def result(tmp_path):
    """A result.json as scripts/bench writes it."""
    versions = {"ray": "2.59.0", "vllm": "0.27.0", "vllm-router": "0.1.17"}
    gpus = ["NVIDIA H200", "NVIDIA H200"]
    machine = dict(date="2026-11-28", processor="a CPU", cores=32, memory_gb=256, gpus=gpus, versions=versions)
    said = dict(service="small-size-llm", model="llama-3.1-8b", workload="chat", profile="gpu", replicas=2)
    cells = [cell("small-size-llm"), cell("vllm serve", failed=3)]
    measured = BenchResult(**said, machine=machine, stacks={}, load="vllm bench serve", cells=cells)
    file = tmp_path / "result.json"
    file.write_text(measured.model_dump_json())
    return file


@pytest.mark.parametrize(("file", "kind"), [(RUNS, Run), (AUTOSCALING, Sample)])
def test_table_is_the_same_when_it_is_read_and_written(tmp_path, file, kind):
    tables.write(tmp_path / "again.csv", tables.read(file, kind))
    assert (tmp_path / "again.csv").read_bytes() == file.read_bytes()


def test_readme_has_every_column_and_every_experiment():
    text = (FOLDER / "README.md").read_text()
    for name in [*Run.model_fields, *Sample.model_fields]:
        assert f"`{name}`" in text
    for name in {run.experiment for run in tables.read(RUNS, Run)}:
        assert f"`{name}`" in text


def test_cells_of_a_result_become_rows(tmp_path, result):
    table = tmp_path / "runs.csv"
    add_runs.add([result], "h200-x2-mine", "fp8", table)
    service, vllm = tables.read(table, Run)
    assert (service.experiment, service.date, service.gpus, service.ray) == (
        "h200-x2-mine",
        "2026-11-28",
        "2 x NVIDIA H200",
        "2.59.0",
    )
    assert (service.other_versions, service.input_tokens, service.output_tokens) == ("vllm-router 0.1.17", 512, 128)
    assert (service.stack, service.concurrency, service.round) == ("small-size-llm", 16, 1)
    assert (service.output_tokens_per_s, service.ttft_ms_p50, service.itl_ms_p99) == (96.25, 10.5, 30)
    assert (service.failed, service.notes) == (0, "fp8")
    assert (vllm.failed, vllm.notes) == (3, "fp8; The first error: Bad Gateway")


def test_rows_are_added_behind_the_others_and_an_experiment_is_not_added_twice(tmp_path, result):
    table = tmp_path / "runs.csv"
    add_runs.add([result], "first", "", table)
    before = table.read_text()
    add_runs.add([result], "second", "", table)
    assert table.read_text().startswith(before)
    with pytest.raises(CommandError, match="has rows of the experiment second"):
        add_runs.add([result], "second", "", table)


def test_rows_of_another_benchmark_are_added_as_they_are(tmp_path):
    runs = [run for run in tables.read(RUNS, Run) if run.experiment == "routing"]
    tables.write(tmp_path / "measured.csv", runs)
    add_runs.add([tmp_path / "measured.csv"], "mine", "", tmp_path / "runs.csv")
    added = tables.read(tmp_path / "runs.csv", Run)
    assert added == [run.model_copy(update={"experiment": "mine"}) for run in runs]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("none.json", None, "none.json cannot be read: No such file"),
        ("other.json", '{"cells": []}', "is not a result of scripts/bench"),
        ("other.csv", "experiment,concurrency\nx,many\n", "wrong value in the column"),
        ("none.csv", None, "none.csv cannot be read: No such file"),
    ],
)
def test_file_that_is_no_result_is_refused(tmp_path, name, content, said):
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(CommandError, match=said):
        add_runs.add([tmp_path / name], "mine", "", tmp_path / "runs.csv")
    assert not (tmp_path / "runs.csv").exists()


def test_means_of_each_routing():
    runs = [run for run in tables.read(RUNS, Run) if run.experiment == "routing"]
    means = routing.summary(runs)
    assert means["fewest requests: conversations"] == {
        "ttft_ms_p50": 929.1,
        "ttft_ms_p95": 2730.3,
        "cache_hit_percent": 45.3,
    }
    assert "cache_hit_percent" not in means["prefix: conversations, later messages"]


def test_plots_of_the_docs_are_those_of_the_tables(tmp_path):
    runs = [run for run in tables.read(RUNS, Run) if run.experiment == "routing"]
    plots.draw_routing(tmp_path / "routing.svg", runs)
    plots.draw_autoscaling(tmp_path / "autoscaling.svg", tables.read(AUTOSCALING, Sample))
    for name in ("routing.svg", "autoscaling.svg"):
        assert (tmp_path / name).read_bytes() == (FOLDER / name).read_bytes(), f"python -m ops.bench.plots makes {name}"
