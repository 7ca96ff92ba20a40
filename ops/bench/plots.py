"""Plots for the pages of docs/: files of their own, readable on a light and on a dark page."""

from collections.abc import Callable
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

from ops.console import html

FIRST, SECOND, THIRD = html.FIRST, html.SECOND, "#2da44e"
STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "the same file for the same numbers",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.alpha": 0.3,
    "legend.frameon": False,
}


def save(file: Path, size: tuple[float, float], draw: Callable[[Figure], None]) -> None:
    """Write what `draw` draws as SVG; `size` is in inches."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(size, layout="constrained")
        draw(figure)
        figure.savefig(file, metadata={"Date": None})
