"""What a benchmark measures and what it makes of it: medians over the rounds, and ratios with their spread."""

import statistics
from dataclasses import dataclass
from typing import Any

from ops.project.strict_model import StrictModel


class LatencyMs(StrictModel):
    """Percentiles of a time, in milliseconds."""

    p50: float
    p95: float
    p99: float


class Cell(StrictModel):
    """One run of `vllm bench serve`: one stack at one concurrency in one round."""

    round: int
    stack: str
    concurrency: int
    requests: int
    failed: int
    first_error: str
    seconds: float
    output_tokens_per_s: float
    ttft_ms: LatencyMs
    tpot_ms: LatencyMs
    itl_ms: LatencyMs


class BenchResult(StrictModel):
    """What scripts/bench --json prints."""

    service: str
    model: str
    workload: str
    profile: str
    replicas: int
    machine: dict[str, Any]
    stacks: dict[str, str]
    """Each with the command that started it or the URL where it was; the service first."""
    load: str
    """A command line that asks one of the stacks for the same."""
    cells: list[Cell]

    @property
    def concurrencies(self) -> list[int]:
        return sorted({cell.concurrency for cell in self.cells})

    @property
    def failed(self) -> list[Cell]:
        return [cell for cell in self.cells if cell.failed]


@dataclass(frozen=True)
class Metric:
    title: str
    unit: str
    path: tuple[str, ...]
    """Fields from a Cell down."""
    digits: int

    def of(self, cell: Cell) -> float:
        value: Any = cell
        for name in self.path:
            value = getattr(value, name)
        return value


METRICS = [
    Metric("output tokens/s", "", ("output_tokens_per_s",), 0),
    Metric("TTFT p50", "ms", ("ttft_ms", "p50"), 1),
    Metric("TTFT p99", "ms", ("ttft_ms", "p99"), 1),
    Metric("TPOT p50", "ms", ("tpot_ms", "p50"), 2),
    Metric("TPOT p99", "ms", ("tpot_ms", "p99"), 2),
]


@dataclass(frozen=True)
class Spread:
    """Over the rounds."""

    median: float
    least: float
    most: float


def spread(values: list[float]) -> Spread:
    return Spread(statistics.median(values), min(values), max(values))


def by_round(result: BenchResult, stack: str, concurrency: int, metric: Metric) -> dict[int, float]:
    cells = [cell for cell in result.cells if (cell.stack, cell.concurrency) == (stack, concurrency)]
    return {cell.round: metric.of(cell) for cell in cells}


def over_rounds(result: BenchResult, stack: str, concurrency: int, metric: Metric) -> Spread:
    return spread(list(by_round(result, stack, concurrency, metric).values()))


def ratio(result: BenchResult, concurrency: int, metric: Metric) -> Spread | None:
    """The ratio of the first stack to the second, round by round; None where there is no second, or it measured
    nothing."""
    if len(result.stacks) < 2:
        return None
    first, second = (by_round(result, stack, concurrency, metric) for stack in result.stacks)
    ratios = [first[number] / second[number] for number in first if second.get(number)]
    return spread(ratios) if ratios else None


def rows(result: BenchResult) -> list[list[str]]:
    """A row for each concurrency and metric: a value for each stack, then the ratio."""
    return [
        [str(concurrency), f"{metric.title} {metric.unit}".strip(), *values(result, concurrency, metric)]
        for concurrency in result.concurrencies
        for metric in METRICS
    ]


def values(result: BenchResult, concurrency: int, metric: Metric) -> list[str]:
    found = [over_rounds(result, stack, concurrency, metric) for stack in result.stacks]
    texts = [f"{one.median:.{metric.digits}f}" for one in found]
    compared = ratio(result, concurrency, metric)
    if len(result.stacks) > 1:
        texts.append(f"{compared.median:.2f} ({compared.least:.2f}-{compared.most:.2f})" if compared else "-")
    return texts


def columns(result: BenchResult) -> list[str]:
    return ["concurrency", "", *result.stacks, *(["ratio (least-most)"] if len(result.stacks) > 1 else [])]
