"""What would leave the dashboard, the alerts or the traces empty, planted singly."""

import pytest

from serving.tracing import trace_endpoint
from tests.planted import Fault, findings, places, plant

SERVE, YAML = "services/small_size_llm/serve.py", "services/small_size_llm/service.yaml"
PROFILE = "      profile: gpu\n"
STATS = '  VLLM_NO_USAGE_STATS: "1"\n'


def traces(endpoint: str) -> str:
    return f"{PROFILE}      traces: {endpoint}\n"


def variable(name: str) -> str:
    return f'{STATS}  {name}: "0.5"\n'


FAULTS = [
    Fault(
        "metrics off",
        SERVE,
        "COMMON = dict(",
        "COMMON = dict(log_engine_metrics=False, ",
        "engine-metrics-off",
    ),
    *[
        Fault(f"traces to {endpoint}", YAML, PROFILE, traces(endpoint), "traces-not-a-collector", "traces:")
        for endpoint in (
            "collector:4317",
            "http://collector",
            "http://collector:4318",
            "http://collector:4317/v1/traces",
        )
    ],
    Fault("traces to a number", YAML, PROFILE, traces("4317"), "traces-not-a-collector", "traces:"),
    Fault(
        "an endpoint alone",
        YAML,
        STATS,
        variable("OTEL_EXPORTER_OTLP_ENDPOINT"),
        "tracing-variable-without-effect",
        "OTEL_EXP",
    ),
    Fault(
        "a share alone",
        YAML,
        STATS,
        variable("RAY_SERVE_TRACING_SAMPLING_RATIO"),
        "tracing-variable-without-effect",
        "RAY_SERVE_TRACING",
    ),
    Fault(
        "an endpoint beside traces",
        YAML,
        STATS,
        variable("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"),
        "tracing-variable-without-effect",
        "OTEL_EXP",
        also=((YAML, PROFILE, traces(trace_endpoint.EXAMPLE)),),
    ),
    Fault(
        "traces twice",
        YAML,
        "\nenv_vars:",
        "\ntracing_config:\n  enabled: true\nenv_vars:",
        "traces-configured-twice",
        "tracing_config:",
        also=((YAML, PROFILE, traces(trace_endpoint.EXAMPLE)),),
    ),
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_fault_is_found_and_named_at_its_line(fault, copied):
    expected = plant(copied, fault)
    assert expected in places(findings(copied))


@pytest.mark.parametrize(
    "names", [["RAY_SERVE_TRACING_SAMPLING_RATIO"], ["OTEL_EXPORTER_OTLP_HEADERS"]], ids=lambda names: names[0]
)
def test_what_changes_traces_is_right_beside_them(names, copied):
    fault = Fault("", YAML, PROFILE, traces(trace_endpoint.EXAMPLE), "", also=((YAML, STATS, variable(names[0])),))
    plant(copied, fault)
    assert findings(copied) == []
