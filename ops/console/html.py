"""Self-contained HTML pages: one file that needs nothing else to be read anywhere, with plots inside."""

import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2
from markupsafe import Markup

if TYPE_CHECKING:  # slow to import, and most commands draw nothing
    from matplotlib.figure import Figure

INK = "#010203"  # becomes the colour of the page's text, which a dark colour scheme changes
FIRST, SECOND = "#2f81f7", "#d9730d"  # stand out from white and from black
SIZE = (4.4, 2.8)  # inches; at most a phone's width, so that the text in it stays readable there
STYLE: dict[Any, Any] = {  # of matplotlib, which annotates each key
    "svg.fonttype": "none",  # text stays text
    "font.size": 9,
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": INK,
    "grid.alpha": 0.15,
    "legend.frameon": False,
    "legend.handlelength": 3,
    "savefig.transparent": True,
}


@dataclass(frozen=True)
class Plot:
    title: str
    alt: str
    svg: Markup


def render(template: Path, filters: dict[str, Callable] | None = None, **values: Any) -> str:
    """The page that a template makes of `values`; it extends page.html.jinja, which wants a `heading`."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([template.parent, Path(__file__).parent]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= filters or {}
    return environment.get_template(template.name).render(**values)


def svg(name: str, size: tuple[float, float], draw: Callable[["Figure"], None]) -> Markup:
    """What `draw` draws, as an element to put into a page."""
    import matplotlib
    from matplotlib.figure import Figure

    text = io.StringIO()
    with matplotlib.rc_context(STYLE):
        figure = Figure(size, layout="constrained")
        draw(figure)
        figure.savefig(text, format="svg", metadata=dict.fromkeys(["Creator", "Date", "Format", "Type"]))
    element = text.getvalue()[text.getvalue().index("<svg") :]
    element = re.sub(r' xmlns(:xlink)?="[^"]*"', "", element).replace(INK, "currentColor")
    prefix = re.sub(r"\W", "-", name)  # the plots of a page are one document, where an id may occur once
    return Markup(re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{prefix}-", element))
