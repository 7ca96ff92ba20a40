"""The Grafana dashboard of all services: what it shows, and its JSON.

`python -m ops.monitoring.dashboard` writes docs/dashboard.json again after a change of this module.
"""

import itertools
import json
from dataclasses import dataclass, field

from grafana_foundation_sdk.builders import common, timeseries
from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.builders import prometheus as query
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import (
    LegendDisplayMode,
    LegendPlacement,
    SortOrder,
    TooltipDisplayMode,
    VisibilityMode,
)
from grafana_foundation_sdk.models.dashboard import DataSourceRef, VariableRefresh

from ops.monitoring.promql import INTER_TOKEN, TPOT, TTFT, Scope
from ops.project.catalogue import ROOT

FILE = ROOT / "docs" / "dashboard.json"
UID = "llm-services"
SOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")
CHOSEN = Scope(
    application='application=~"$application"',
    deployment='deployment=~"$deployment"',
    model='model_name=~"$model"',
    window="$__rate_interval",
)
NODE = "ray_node_{}"

ON_GPUS = "Ray measures it where there is a GPU, and the tests have none."
AFTER_A_FAULT = "Ray and vLLM make the series when it first happens."


@dataclass(frozen=True)
class Panel:
    title: str
    unit: str
    """A unit of Grafana: `s`, `percentunit`, `reqps`, `short` ..."""
    about: str
    queries: dict[str, str]
    """PromQL by legend, which may hold `{{label}}`."""
    most: float | None = None
    """The top of the axis."""
    empty_here: str = ""
    """Why a healthy service on a laptop has no series for it; else its tests want one."""


@dataclass(frozen=True)
class PanelRow:
    title: str
    panels: list[Panel] = field(default_factory=list)


def percentiles(histogram: str) -> dict[str, str]:
    return {f"p{share * 100:g} {{{{model_name}}}}": CHOSEN.quantile(share, histogram) for share in (0.5, 0.95)}


def by_model(expression: str) -> dict[str, str]:
    return {"{{model_name}}": f"sum by (model_name) ({expression})"}


def by_replica(expression: str) -> dict[str, str]:
    return {"{{model_name}} {{ReplicaId}}": expression}


def by_deployment(**metrics: str) -> dict[str, str]:
    return {f"{legend} {{{{deployment}}}}": f"sum by (deployment) ({metric})" for legend, metric in metrics.items()}


ROWS = [
    PanelRow(
        "What users get",
        [
            Panel(
                "Time to first token",
                "s",
                "From the arrival at the engine to the first token: queueing and prefill, without HAProxy and network.",
                percentiles(TTFT),
            ),
            Panel("Time between tokens", "s", "One sample a token.", percentiles(INTER_TOKEN)),
            Panel(
                "Time per output token",
                "s",
                "TPOT: the mean time per token after the first; one sample an answer.",
                percentiles(TPOT),
            ),
            Panel(
                "Tokens per second",
                "short",
                "Of all replicas together.",
                {
                    f"{what} {{{{model_name}}}}": f"sum by (model_name) ({CHOSEN.engine_rate(counter)})"
                    for what, counter in (("generated", "generation_tokens_total"), ("read", "prompt_tokens_total"))
                },
            ),
            Panel(
                "Requests",
                "reqps",
                "As HAProxy or Serve's proxy counted them, by status. 499 is a client that hung up.",
                {
                    "{{status_code}} {{application}}": "sum by (application, status_code) "
                    f"({CHOSEN.serve_rate('num_http_requests_total')})"
                },
            ),
            Panel("Errors", "percentunit", "Requests answered with 5xx or 408.", {"failed": CHOSEN.error_share}),
        ],
    ),
    PanelRow(
        "Load",
        [
            Panel(
                "Requests being answered",
                "short",
                "In vLLM's batch, by replica. At max_num_seqs the others wait.",
                by_replica(CHOSEN.engine("num_requests_running")),
            ),
            Panel(
                "Requests waiting",
                "short",
                "In vLLM's queue, by replica: nothing of their answer is computed yet.",
                by_replica(CHOSEN.engine("num_requests_waiting")),
            ),
            Panel(
                "Time in the queue",
                "s",
                "How long a request waited in vLLM before its prompt was read; part of the time to first token.",
                percentiles("request_queue_time_seconds"),
            ),
            Panel(
                "KV cache in use",
                "percentunit",
                "By replica. Full, vLLM preempts: it takes the cache of an answer away and computes it again.",
                by_replica(CHOSEN.engine("kv_cache_usage_perc")),
                most=1,
            ),
            Panel(
                "Prefix cache hit rate",
                "percentunit",
                "Of the tokens of all prompts, how many were in the cache already.",
                {"{{model_name}}": CHOSEN.prefix_cache_hits},
                most=1,
            ),
            Panel(
                "Preemptions",
                "short",
                "Answers whose cache was taken away, in each interval.",
                by_model(CHOSEN.engine_increase("num_preemptions_total")),
                empty_here=AFTER_A_FAULT,
            ),
        ],
    ),
    PanelRow(
        "Replicas",
        [
            Panel(
                "Replicas",
                "short",
                "Wanted by the autoscaler, and healthy.",
                by_deployment(
                    wanted=CHOSEN.deployed("autoscaling_target_replicas"),
                    healthy=CHOSEN.deployed("deployment_replica_healthy"),
                ),
            ),
            Panel(
                "Requests per replica and the autoscaler's target",
                "short",
                "Above the target for long, the autoscaler adds replicas.",
                {
                    "ongoing {{deployment}}": "sum by (deployment) "
                    f"({CHOSEN.deployed('autoscaling_total_requests')}) / sum by (deployment) "
                    f"({CHOSEN.deployed('deployment_replica_healthy')})",
                    "target {{deployment}}": "max by (deployment) "
                    f"({CHOSEN.deployed('autoscaling_target_ongoing_requests')})",
                },
            ),
            Panel(
                "Failed health checks",
                "short",
                "In each interval. A replica whose engine died fails one and is replaced, one that hangs fails three.",
                by_deployment(failed=CHOSEN.increase(CHOSEN.deployed("health_check_failures_total"))),
                empty_here=AFTER_A_FAULT,
            ),
        ],
    ),
    PanelRow(
        "Machines (of all applications)",
        [
            Panel(
                "GPU in use",
                "percent",
                "The share of time in which a kernel ran, by GPU: 100 says busy, not full.",
                {"{{instance}} GPU {{GpuIndex}}": NODE.format("gpus_utilization")},
                most=100,
                empty_here=ON_GPUS,
            ),
            Panel(
                "GPU memory in use",
                "percentunit",
                "By GPU. vLLM takes gpu_memory_utilization of it at its start.",
                {
                    "{{instance}} GPU {{GpuIndex}}": f"{NODE.format('gram_used')} / "
                    f"({NODE.format('gram_used')} + {NODE.format('gram_available')})"
                },
                most=1,
                empty_here=ON_GPUS,
            ),
            Panel(
                "CPU in use",
                "percent",
                "By node, of all its cores.",
                {"{{instance}}": NODE.format("cpu_utilization")},
                most=100,
            ),
            Panel(
                "Memory in use",
                "percentunit",
                "By node.",
                {"{{instance}}": f"{NODE.format('mem_used')} / {NODE.format('mem_total')}"},
                most=1,
            ),
        ],
    ),
]


def text() -> str:
    """The content of the file. Its first key is the description, which says what made it."""
    content = json.loads(JSONEncoder(sort_keys=True).encode(dashboard().build()))
    return json.dumps({"description": content.pop("description")} | content, indent=2) + "\n"


def dashboard() -> build.Dashboard:
    built = (
        build.Dashboard("LLM services")
        .uid(UID)
        .description(
            "Made by `python -m ops.monitoring.dashboard`: change that module, not this file. Ray Serve LLM services: "
            "latency, load, replicas and machines. docs/monitoring.md explains it."
        )
        .tags(["ray", "vllm"])
        .time("now-1h", "now")
        .refresh("30s")
        .with_variable(build.DatasourceVariable("datasource").label("Prometheus").type("prometheus"))
    )
    for name, values in VARIABLES.items():
        built.with_variable(variable(name, values))
    numbers = itertools.count(1)
    for row in ROWS:
        built.with_row(build.Row(row.title).id(next(numbers)))
        for panel in row.panels:
            built.with_panel(drawn(panel).id(next(numbers)))
    return built


VARIABLES = {
    "application": "label_values(ray_serve_application_status, application)",
    "deployment": f"label_values({Scope(CHOSEN.application).serve('deployment_replica_healthy')}, deployment)",
    "model": "label_values(ray_vllm_num_requests_running, model_name)",
}


def variable(name: str, values: str) -> build.QueryVariable:
    made = build.QueryVariable(name).label(name.capitalize()).query(values).datasource(SOURCE)
    return made.refresh(VariableRefresh.ON_TIME_RANGE_CHANGED).multi(True).include_all(True).all_value(".+")


def drawn(panel: Panel) -> timeseries.Panel:
    made = (
        timeseries.Panel()
        .title(panel.title)
        .description(panel.about)
        .datasource(SOURCE)
        .unit(panel.unit)
        .min(0)
        .span(8)
        .height(8)
        .fill_opacity(8)
        .show_points(VisibilityMode.NEVER)
        .legend(
            common.VizLegendOptions()
            .show_legend(True)
            .display_mode(LegendDisplayMode.LIST)
            .placement(LegendPlacement.BOTTOM)
        )
        .tooltip(common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI).sort(SortOrder.DESCENDING))
    )
    if panel.most is not None:
        made.max(panel.most)
    for legend, expression in panel.queries.items():
        made.with_target(query.Dataquery().expr(expression).legend_format(legend).range())
    return made


if __name__ == "__main__":
    FILE.write_text(text())
    print(f"Wrote {FILE.relative_to(ROOT)}.")
