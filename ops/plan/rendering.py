"""The plan of a service as one page: the same sections as text and as a self-contained HTML file."""

from dataclasses import dataclass, field, replace
from pathlib import Path

from ops.console.durations import lasting
from ops.console.html import render
from ops.plan.config_diff import ConfigDiff
from ops.plan.summary import MemoryFit, ModelSummary, SpeedAt, Summary
from ops.sizing.capacity import ESTIMATE, Capacity, RequestSize
from ops.sizing.memory.engine_settings import GIB

TEMPLATE = Path(__file__).with_name("plan.html.jinja")
UNKNOWN = "unknown"
NOT_INCLUDED = "Anyscale's own fees, disks, network traffic and taxes are not included."
ROLLOUT = "A rollout runs the new version beside the old one, and takes up to twice as much while it lasts."
SPEED = "For text, without prefix caching and queues; ops/sizing/throughput.py says how, and beside what was measured."
DOLLARS = "$ with all machines: the dearer at min replicas, where the head node counts for more."
DOLLARS_OF_ONE = "$ with all machines but those that only other models run on: the dearer at min replicas."


@dataclass(frozen=True)
class Column:
    name: str = ""
    number: bool = False


@dataclass(frozen=True)
class Section:
    title: str
    columns: list[Column] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)
    settings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def heading(plan: Summary) -> str:
    """What is planned, in a line."""
    of_models = []
    for one, replicas in zip(plan.models, plan.cost.replicas, strict=True):
        number = span(replicas.least, replicas.most)
        of_models.append(f"{one.model}, {number} replicas of {replicas.gpus} {one.accelerator or 'GPU'}")
    return f"{plan.service}: {'; '.join(of_models)}"


def sections(plan: Summary) -> list[Section]:
    found = [
        Section("Problems", notes=plan.problems) if plan.problems else None,
        Section("Unknown", notes=plan.unknown) if plan.unknown else None,
        machines(plan),
        quotas(plan),
        *[section for one in plan.models for section in model_sections(plan, one)],
        changes(plan.changes),
    ]
    return [section for section in found if section]


def model_sections(plan: Summary, one: ModelSummary) -> list[Section]:
    """What is about one model; their titles name it where there are several."""
    several = len(plan.models) > 1
    found = [
        memory(one.fit) if one.fit else None,
        speeds(one, plan.request, DOLLARS_OF_ONE if several else DOLLARS) if one.speeds else None,
        load(one.load) if one.load else None,
        cold_start(one),
    ]
    whose = f"{one.model}: " if several else ""
    return [replace(section, title=f"{whose}{section.title}") for section in found if section]


def machines(plan: Summary) -> Section:
    cost = plan.cost
    rows = [
        [
            group.name,
            group.instance_type,
            group.accelerator or "",
            span(group.nodes_at_least, group.nodes_at_most),
            span(group.gpus_at_least, group.gpus_at_most) if group.accelerator else "",
            money(group.usd_per_hour),
            span(
                times(group.usd_per_hour, group.nodes_at_least), times(group.usd_per_hour, group.nodes_at_most), money
            ),
        ]
        for group in cost.machines
    ]
    gpus = span(sum(one.gpus_at_least for one in cost.machines), sum(one.gpus_at_most for one in cost.machines))
    nodes = span(sum(one.nodes_at_least for one in cost.machines), sum(one.nodes_at_most for one in cost.machines))
    total = span(cost.usd_per_hour_at_least, cost.usd_per_hour_at_most, money)
    names = [Column("group"), Column("instance type"), Column("GPU")]
    numbers = [Column(name, number=True) for name in ("nodes", "GPUs", "$/hour of one", "$/hour")]
    sources = [source for source in dict.fromkeys(group.price_source for group in cost.machines) if source]
    notes = [*(f"Prices: {source}." for source in sources), NOT_INCLUDED]
    return Section(
        "Machines, at min to max replicas",
        [*names, *numbers],
        [*rows, ["total", "", "", nodes, gpus, "", total]],
        notes=notes,
    )


def quotas(plan: Summary) -> Section | None:
    if not plan.cost.quotas:
        return None
    rows = [[f"{one.amount:,}", one.unit, one.name, ", ".join(one.machines)] for one in plan.cost.quotas]
    columns = [Column(number=True), Column(), Column("quota"), Column("for")]
    return Section("Quota, at max replicas", columns, rows, notes=[ROLLOUT])


def memory(fit: MemoryFit) -> Section:
    parts = {
        "weights": fit.weights,
        "activations": fit.activations,
        "CUDA graphs": fit.graphs,
        "other": fit.other,
        "KV cache": fit.kv_cache,
    }
    rows = [[name, f"{size / GIB:.1f} GiB"] for name, size in parts.items()]
    notes = [
        f"The KV cache holds {fit.kv_tokens:,} tokens: {fit.max_concurrency:.1f} requests of {fit.max_model_len:,} "
        "tokens, which is max_model_len, at a time.",
    ]
    if fit.target_ongoing_requests and fit.fits:
        notes.append(
            f"With {fit.target_ongoing_requests} at a time (target_ongoing_requests) each may have "
            f"{fit.context_at_target:,} tokens."
        )
    if fit.largest_context > fit.max_model_len:
        notes.append(f"One alone could have {fit.largest_context:,}, if max_model_len were raised.")
    if not fit.fits:
        notes = []
    title = f"Memory of each GPU, {fit.accelerator} with {fit.memory / GIB:.1f} GiB"
    return Section(title, [Column(), Column(number=True)], rows, notes=notes)


def speeds(one: ModelSummary, request: RequestSize, dollars: str) -> Section:
    columns = [Column("requests at a time"), Column("requests/s", True), Column("output tokens/s", True)]
    columns += [Column("TTFT", True), Column("TPOT", True), Column("$ per million output tokens", True)]
    title = f"Speed of a replica with {request}: {ESTIMATE}"
    return Section(title, columns, [speed_row(at) for at in one.speeds], notes=[SPEED, dollars])


def speed_row(one: SpeedAt) -> list[str]:
    dollars = one.usd_per_million_output_tokens
    return [
        f"{one.speed.requests} ({one.why})",
        f"{one.speed.requests_per_s:.2f}",
        f"{one.speed.output_tokens_per_s:,.0f}",
        f"{one.speed.ttft_s * 1000:,.0f} ms",
        f"{one.speed.tpot_s * 1000:,.0f} ms",
        span(*sorted(dollars), money) if dollars else UNKNOWN,
    ]


def load(one: Capacity) -> Section:
    rows = []
    if one.within_slo:
        rows.append(["most requests at a time within the SLO", str(one.within_slo.requests)])
        rows.append(["replicas for the SLO", str(one.replicas)])
    if one.autoscaled:
        at = f"at {one.autoscaled.requests} requests at a time (target_ongoing_requests)"
        rows.append([f"replicas that autoscaling starts, {at}", str(one.autoscaled_replicas)])
    for held in one.objectives:
        sign, kept = ("at least" if held.unit == "tokens/s" else "at most"), "" if held.kept else ", missed"
        limit = f"{sign} {held.limit:,.0f} {held.unit}"
        rows.append([f"{held.name} then, {limit} by the SLO{kept}", f"{held.estimate:,.0f} {held.unit}"])
    rows.append(["$/hour for it", money(one.usd_per_hour)])
    title = f"Load of {one.requests_per_s:g} requests/s with {one.request}: {ESTIMATE}"
    notes = [] if one.objectives else ["Not held against an SLO: there is no file of it, or no estimate to hold."]
    return Section(title, [Column(), Column(number=True)], rows, notes=notes)


def cold_start(one: ModelSummary) -> Section:
    start = one.cold_start
    rows = [[part.name, span(part.least_s, part.most_s, duration), part.how] for part in start.parts]
    rows.append(["all that is known", span(start.least_s, start.most_s, duration), ""])
    notes = [f"The weights are {one.source}.", f"Measured on {start.measured_on}."]
    return Section("Cold start of a replica", [Column(), Column(number=True), Column()], rows, notes=notes)


def changes(found: ConfigDiff) -> Section:
    title = f"Changes against {found.against}" if found.against else "ConfigDiff"
    nothing = ["Nothing in service.yaml."] if found.against and not found.lines else []
    return Section(title, settings=found.lines, notes=[*nothing, *found.notes])


def span(least: float | None, most: float | None, write=str) -> str:
    """A range such as `1 to 4`, or `1` where both are the same."""
    return write(least) if write(least) == write(most) else f"{write(least)} to {write(most)}"


def money(usd: float | None) -> str:
    return UNKNOWN if usd is None else f"{usd:,.2f}"


def duration(seconds: float | None) -> str:
    return UNKNOWN if seconds is None else lasting(seconds)


def times(usd: float | None, nodes: int) -> float | None:
    return 0 if not nodes else None if usd is None else usd * nodes


def text(plan: Summary) -> str:
    """The page for a terminal."""
    return "\n\n".join([heading(plan), *map(section_text, sections(plan))])


def section_text(section: Section) -> str:
    return "\n".join([section.title, *table(section), *(f"  {line}" for line in [*section.settings, *section.notes])])


def table(section: Section) -> list[str]:
    names = [column.name for column in section.columns]
    rows = [names, *section.rows] if any(names) else section.rows
    widths = [max(len(row[index]) for row in rows) for index in range(len(names))]
    lines = [
        [
            cell.rjust(width) if column.number else cell.ljust(width)
            for cell, width, column in zip(row, widths, section.columns, strict=True)
        ]
        for row in rows
    ]
    return [f"  {'  '.join(line)}".rstrip() for line in lines]


def html(plan: Summary) -> str:
    """The page for a browser. It needs nothing else to be read anywhere."""
    return render(TEMPLATE, heading=heading(plan), sections=sections(plan))
