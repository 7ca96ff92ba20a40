"""The result of a benchmark as a self-contained page: the table, and throughput and latency as plots."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ops.bench import figures
from ops.bench.figures import METRICS, BenchResult, Metric
from ops.console.html import FIRST, SECOND, SIZE, Plot, render, svg

if TYPE_CHECKING:  # slow to import, and without --html nothing is drawn
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TEMPLATE = Path(__file__).with_name("bench.html.jinja")
STYLES: list[dict[str, Any]] = [dict(color=FIRST, marker="o"), dict(color=SECOND, marker="s")]
THROUGHPUT, TTFT_P50, TTFT_P99, TPOT_P50, TPOT_P99 = METRICS


def heading(result: BenchResult) -> str:
    """What was measured, in a line."""
    return f"{result.workload} on {' and '.join(result.stacks)}: {result.model}"


def html(result: BenchResult) -> str:
    return render(
        TEMPLATE,
        heading=heading(result),
        result=result,
        columns=figures.columns(result),
        rows=figures.rows(result),
        rounds=max(cell.round for cell in result.cells),
        plots=[
            throughput_plot(result),
            percentile_plot(result, "Time to first token", TTFT_P50, TTFT_P99),
            percentile_plot(result, "Time per output token", TPOT_P50, TPOT_P99),
        ],
    )


def throughput_plot(result: BenchResult) -> Plot:
    title = "Throughput against latency"

    def draw(figure: "Figure") -> None:
        axes = figure.subplots()
        for stack, style in zip(result.stacks, STYLES, strict=False):
            tokens, times = medians(result, stack, THROUGHPUT), medians(result, stack, TPOT_P50)
            axes.plot(times, tokens, label=stack, **style)
            for concurrency, time, rate in zip(result.concurrencies, times, tokens, strict=True):
                axes.annotate(str(concurrency), (time, rate), (4, 4), textcoords="offset points", fontsize=8)
        axes.set(xlabel="TPOT p50 in ms, for each concurrency", ylabel="output tokens/s", ylim=(0, None))
        axes.margins(x=0.1)
        figure.legend(loc="outside upper left", ncols=2)

    return Plot(title, alt_text(title), svg(title, SIZE, draw))


def percentile_plot(result: BenchResult, title: str, p50: Metric, p99: Metric) -> Plot:
    def draw(figure: "Figure") -> None:
        axes = figure.subplots()
        for stack, style in zip(result.stacks, STYLES, strict=False):
            draw_line(axes, result, stack, p50, style)
            draw_line(axes, result, stack, p99, style | dict(linestyle="--", markerfacecolor="none"))
        axes.set(xlabel="requests at a time", ylabel="ms", ylim=(0, None))
        axes.set_xticks(range(len(result.concurrencies)), [str(number) for number in result.concurrencies])
        axes.margins(x=0.1)
        figure.legend(loc="outside upper left", ncols=2)

    return Plot(title, alt_text(title), svg(title, SIZE, draw))


def draw_line(axes: "Axes", result: BenchResult, stack: str, metric: Metric, style: dict[str, Any]) -> None:
    axes.plot(medians(result, stack, metric), label=f"{stack} {metric.title.split()[-1]}", **style)


def medians(result: BenchResult, stack: str, metric: Metric) -> list[float]:
    """Over the rounds, for each concurrency."""
    return [figures.over_rounds(result, stack, concurrency, metric).median for concurrency in result.concurrencies]


def alt_text(title: str) -> str:
    return f"{title} at each concurrency. The table has the numbers."
