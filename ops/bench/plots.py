"""The plots of docs/, drawn from the tables of docs/performance: files of their own, for a light and for a dark page.

Draw them again after a table has changed: .venv/bin/python -m ops.bench.plots
"""

import statistics
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ops.bench import tables
from ops.bench.tables import Run, Sample
from ops.console import cli, html
from ops.console.cli import out
from ops.console.html import FIRST, SECOND

STYLE: dict[Any, Any] = {name: value for name, value in html.STYLE.items() if value != html.INK} | {
    "svg.hashsalt": "the same file for the same numbers",
    "font.size": 10,
    "grid.alpha": 0.3,
    "savefig.transparent": False,  # black on white: a file does not take the colours of its page
}


def redraw() -> None:
    """Draw routing.svg and autoscaling.svg in docs/performance again.

    Example: .venv/bin/python -m ops.bench.plots
    """
    runs = tables.read(tables.RUNS, Run)
    draw_routing(tables.FOLDER / "routing.svg", [run for run in runs if run.experiment == "routing"])
    draw_autoscaling(tables.FOLDER / "autoscaling.svg", tables.read(tables.AUTOSCALING, Sample))
    out.print(f"In {tables.FOLDER}: routing.svg, autoscaling.svg")


def draw_routing(file: Path, runs: list[Run]) -> None:
    """Cached prompt tokens and TTFT of each routing, means over its rounds; `runs` are from ops.bench.routing."""
    every = [run for run in runs if run.cache_hit_percent is not None]
    routings = list(dict.fromkeys(run.stack for run in every))

    def means(column: str) -> list[float]:
        return [statistics.mean(getattr(run, column) for run in every if run.stack == name) for name in routings]

    def draw(figure: Figure) -> None:
        rates, times = figure.subplots(1, 2)
        rates.bar(routings, means("cache_hit_percent"), color=FIRST, width=0.6)
        rates.set(title="prompt tokens from the cache", ylabel="%", ylim=(0, 100))
        places = range(len(routings))
        for offset, percentile, color in ((-0.2, "p50", FIRST), (0.2, "p95", SECOND)):
            seconds = [milliseconds / 1000 for milliseconds in means(f"ttft_ms_{percentile}")]
            times.bar([place + offset for place in places], seconds, width=0.36, color=color, label=percentile)
        times.set_xticks(list(places), routings)
        times.set(title="time to first token", ylabel="seconds")
        times.legend()

    save(file, (7.5, 3.2), draw)


def draw_autoscaling(file: Path, samples: list[Sample]) -> None:
    """Replicas, requests and TTFT over time."""
    most = max(sample.replicas for sample in samples)

    def steps(axes: Axes, value: Callable[[Sample], float], label: str, color: str, style: str = "-") -> None:
        """A line through the samples at which the value changes, the first and the last."""
        changes = [now for before, now in pairwise(samples) if value(before) != value(now)]
        points = [(sample.after_s, value(sample)) for sample in (samples[0], *changes, samples[-1])]
        axes.step(*zip(*points, strict=True), where="post", color=color, linestyle=style, linewidth=2, label=label)

    def draw(figure: Figure) -> None:
        replicas, clients, ttft = figure.subplots(3, sharex=True)
        steps(replicas, lambda sample: sample.replicas + sample.starting, "with those that start", SECOND, "--")
        steps(replicas, lambda sample: sample.replicas, "that answer", FIRST)
        replicas.set(ylabel="replicas", ylim=(0, most + 0.5), yticks=range(most + 1))
        replicas.legend(loc="lower center", ncols=2)
        steps(clients, lambda sample: sample.clients, "clients", FIRST)
        steps(clients, lambda sample: sample.waiting, "waiting", SECOND)
        clients.set(ylabel="requests", ylim=(0, None))
        clients.legend(loc="upper right")
        answered = [(one.after_s, one.slowest_ttft_s) for one in samples if one.slowest_ttft_s is not None]
        ttft.plot(*zip(*answered, strict=True), ".", color=FIRST, markersize=4)
        ttft.set(ylabel="slowest TTFT in s", xlabel="seconds", ylim=(0, None))

    save(file, (7.5, 6), draw)


def save(file: Path, size: tuple[float, float], draw: Callable[[Figure], None]) -> None:
    """Write what `draw` draws as SVG; `size` is in inches."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(size, layout="constrained")
        draw(figure)
        figure.savefig(file, metadata=dict.fromkeys(["Creator", "Date", "Format", "Type"]))


if __name__ == "__main__":
    cli.run("python -m ops.bench.plots", redraw)
