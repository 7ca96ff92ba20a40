"""A page about one deploy or rollout, made from its journal: what was decided and why, and what was measured."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ops.console.durations import lasting
from ops.console.html import FIRST, INK, SECOND, SIZE, Plot, render, svg
from ops.probing.measurement import Measurement, by_model
from ops.rollouts.gate import READINGS, ms, value
from ops.rollouts.journal import Entry, Journal, Plan, State

if TYPE_CHECKING:  # slow to import, and other commands draw nothing
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Not in templates/: scripts/new makes a file of a service from each one there.
TEMPLATE = Path(__file__).with_name("report.html.jinja")
COLORS = {"canary": FIRST, "primary": SECOND}
MARKERS = {"canary": "o", "primary": "s"}
STILL_TO_COME = {State.DEPLOYING, State.MOVING}  # the weight of such an entry

Reader = Callable[[Measurement], float | None]


@dataclass(frozen=True)
class Moment:
    """An entry and what follows from those before it."""

    entry: Entry
    weight: int
    """Percent of the traffic that the new version has."""
    after_s: float
    """Since the first entry."""


def write(journal: Journal) -> Path:
    """Make report.html beside the journal. It is one file: it needs nothing else to be read anywhere."""
    entries = journal.entries()
    plan, history = journal.plan, moments(entries)
    measured = first_with(history, "readings")
    page = render(
        TEMPLATE,
        {"lasting": lasting, "ms": ms, "utc": utc},
        plan=plan,
        heading=verdict(plan, history),
        decision=decision(plan, history),
        reasons=first_with(history, "why"),
        history=history,
        measured=measured,
        still_to_come=STILL_TO_COME,
        weight_plot=weight_plot(history) if len(history) > 1 else None,
        reading_plots=reading_plots(measured),
    )
    file = journal.folder / "report.html"
    file.write_text(page, encoding="utf-8")
    return file


def moments(entries: list[Entry]) -> list[Moment]:
    weight, before, history = 0, State.PLANNED, []
    for entry in entries:
        if entry.state in (State.PROMOTED, State.FINISHED):
            weight = 100
        elif entry.state is State.ROLLED_BACK or (entry.state is State.FAILED and before is State.ROLLING_BACK):
            weight = 0  # where going back fails, it is the probe that does: the version before has all traffic
        elif entry.weight is not None and entry.state not in STILL_TO_COME:
            weight = entry.weight
        history.append(Moment(entry, weight, (entry.at - entries[0].at).total_seconds()))
        before = entry.state
    return history


def first_with(history: list[Moment], what: str) -> list[Moment]:
    """The moments that have a `why` or `readings`, without those that repeat what an earlier one has."""
    first = []
    for moment in history:
        found = getattr(moment.entry, what)
        if found and found not in [getattr(earlier.entry, what) for earlier in first]:
            first.append(moment)
    return first


def verdict(plan: Plan, history: list[Moment]) -> str:
    """One sentence: what came of it, when, and how long it took."""
    last, what = history[-1], f"{plan.version} of {plan.name}"
    when, long = utc(last.entry.at), lasting(last.after_s)
    match last.entry.state:
        case State.FINISHED:
            done = {"deploy": "was deployed", "rollout": "was promoted", "rollback": "has all traffic again"}
            return f"Version {what} {done[plan.kind]} on {when}, after {long}."
        case State.ROLLED_BACK:
            return f"Version {what} was rolled back on {when}, after {long}."
        case State.FAILED:
            return f"The {plan.kind} of version {what} failed on {when}, after {long}."
    state = f"{last.entry.state} since {when}, {long} after it began"
    return f"The {plan.kind} of version {what} is still under way: {state}."


def decision(plan: Plan, history: list[Moment]) -> str:
    passed = [f"{moment.weight} %" for moment in history if moment.entry.state is State.PASSED]
    kept = ", ".join(dict.fromkeys(passed))  # a resumed rollout has its last entry twice
    match history[-1].entry.state:
        case State.FINISHED:
            return "The new version has all traffic." + (f" It met the SLO at {kept} of it." if kept else "")
        case State.ROLLED_BACK:
            return f"The version before, {plan.goes_back_to.version}, has all traffic again and passed its probe."
        case State.FAILED:
            return "It could not be brought to an end. Somebody has to look."
    return "Nothing is decided yet." + (f" So far it met the SLO at {kept} of the traffic." if kept else "")


def weight_plot(history: list[Moment]) -> Plot:
    """The weight over time, and below it how long each state lasted."""
    states = [state for state in State if any(moment.entry.state is state for moment in history)]
    unit, seconds = time_unit(history[-1].after_s)
    times = [moment.after_s / seconds for moment in history]

    def draw(figure: "Figure") -> None:
        weight, lane = figure.subplots(2, sharex=True, height_ratios=[4, len(states)])
        weight.step(times, [moment.weight for moment in history], where="post", color=COLORS["canary"], linewidth=2)
        weight.set(ylabel="% of the traffic", ylim=(-4, 104), yticks=range(0, 101, 25))
        rows = [states.index(moment.entry.state) for moment in history]
        lane.hlines(rows[:-1], times[:-1], times[1:], color=COLORS["canary"], linewidth=5)
        lane.plot(times, rows, "o", color=COLORS["canary"], markersize=5)
        lane.set(xlabel=f"{unit} since the plan", yticks=range(len(states)), yticklabels=states)
        lane.set_ylim(len(states) - 0.5, -0.5)
        for moment, time in zip(history, times, strict=True):
            if moment.entry.resumed:
                mark_resumed(weight, lane, time)

    alt = "The weight of the new version over time and how long each state lasted. The timeline below has the times."
    return Plot("Weight of the new version", alt, svg("weight", (5.6, 1.9 + 0.22 * len(states)), draw))


def mark_resumed(weight: "Axes", lane: "Axes", time: float) -> None:
    for axes in (weight, lane):
        axes.axvline(time, color=INK, linewidth=1, linestyle=":")
    weight.annotate("resumed", (time, 104), (3, 0), textcoords="offset points", va="top")


def time_unit(span_s: float) -> tuple[str, int]:
    """The unit that shows it in numbers of a readable size, and its seconds."""
    if span_s < 180:
        return "seconds", 1
    return ("minutes", 60) if span_s < 180 * 60 else ("hours", 3600)


def reading_plots(measured: list[Moment]) -> list[Plot]:
    """What was measured at each step; a plot of times without a single value is left out."""
    models = dict.fromkeys(model for moment in measured for model in by_model(moment.entry.readings))
    return [
        plot for model in models for plot in plots_of_model(model, [of_model(moment, model) for moment in measured])
    ]


def of_model(moment: Moment, model: str) -> Moment:
    """The moment with the readings of one model only, by version."""
    readings = by_model(moment.entry.readings).get(model, {})
    return replace(moment, entry=moment.entry.model_copy(update={"readings": readings}))


def plots_of_model(model: str, measured: list[Moment]) -> list[Plot]:
    whose = f", {model}" if model else ""
    plots = [percentile_plot(measured, name, f"{title}{whose}") for name, title in READINGS.items()]
    readers: dict[str, Reader] = {"": lambda got: got.tokens_per_second}
    speed = line_plot(measured, f"Speed of the median answer{whose}", "tokens/s", readers)
    return [plot for plot in [*plots, speed, failure_plot(measured, whose)] if plot]


def percentile_plot(measured: list[Moment], name: str, title: str) -> Plot | None:
    readers: dict[str, Reader] = {
        f" {percentile}": partial(milliseconds, name, percentile) for percentile in ("p50", "p95")
    }
    return line_plot(measured, title[0].upper() + title[1:], "ms", readers)


def milliseconds(name: str, percentile: str, reading: Measurement) -> float | None:
    seconds = value(reading, name, percentile)
    return None if seconds is None else seconds * 1000


def line_plot(measured: list[Moment], title: str, unit: str, readers: dict[str, Reader]) -> Plot | None:
    """A line for each version and reader; None where nothing was read."""
    lines = {
        (version, reader): values
        for version, reader in product(COLORS, readers)
        if not all(map(math.isnan, values := numbers(measured, version, readers[reader])))
    }

    def draw(figure: "Figure") -> None:
        axes = figure.subplots()
        for (version, reader), values in lines.items():
            style: dict[str, Any] = {"linestyle": "--", "markerfacecolor": "none"} if reader == " p95" else {}
            axes.plot(values, color=COLORS[version], marker=MARKERS[version], label=version + reader, **style)
        axes.set(ylabel=unit)
        finish_steps(figure, axes, measured)

    return Plot(title, alt_text(title), svg(title, SIZE, draw)) if lines else None


def numbers(measured: list[Moment], version: str, read: Reader) -> list[float]:
    """A number for each step, nan where there is none: matplotlib leaves a gap there."""
    readings = [moment.entry.readings.get(version) for moment in measured]
    values = [read(reading) if reading else None for reading in readings]
    return [math.nan if value is None else value for value in values]


def failure_plot(measured: list[Moment], whose: str) -> Plot:
    """Bars, as lines at zero would hide each other."""
    title = f"Errors and empty answers{whose}"

    def draw(figure: "Figure") -> None:
        axes = figure.subplots()
        for version, offset in {"canary": -0.2, "primary": 0.2}.items():
            found = {step: moment.entry.readings.get(version) for step, moment in enumerate(measured)}
            readings = {step + offset: reading for step, reading in found.items() if reading}
            if readings:
                draw_failures(axes, version, readings)
        axes.set(ylabel="requests")
        if not axes.dataLim.ymax:
            axes.text(0.5, 0.5, "none", transform=axes.transAxes, ha="center")
        steps: Any = axes.yaxis.get_major_locator()  # one that takes `integer`, annotated as any locator
        steps.set_params(integer=True)
        finish_steps(figure, axes, measured)

    return Plot(title, alt_text(title), svg(title, SIZE, draw))


def draw_failures(axes: "Axes", version: str, readings: dict[float, Measurement]) -> None:
    errors = [reading.errors for reading in readings.values()]
    empty = [reading.empty_answers for reading in readings.values()]
    bars: dict[str, Any] = {"width": 0.34, "edgecolor": COLORS[version]}
    axes.bar(list(readings), errors, color=COLORS[version], label=f"{version} errors", **bars)
    axes.bar(list(readings), empty, bottom=errors, color="none", label=f"{version} empty", **bars)


def finish_steps(figure: "Figure", axes: "Axes", measured: list[Moment]) -> None:
    """Steps side by side at the same distance: 1 % and 5 % would be one place on a scale."""
    axes.set_xticks(range(len(measured)), [step_label(moment) for moment in measured])
    axes.set(xlabel="traffic of the new version", xlim=(-0.5, len(measured) - 0.5))
    axes.set_ylim(0, 1.1 * axes.dataLim.ymax or 1)
    figure.legend(loc="outside upper left", ncols=2)


def step_label(moment: Moment) -> str:
    state = moment.entry.state
    return f"{moment.weight} %" if state is State.PASSED else f"{moment.weight} %\n{state}"


def alt_text(title: str) -> str:
    return f"{title} at each step. The table below has the numbers."


def utc(time: datetime) -> str:
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
