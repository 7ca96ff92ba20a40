"""What would leave the dashboard, the alerts or the traces empty, or judge by another SLO."""

from collections.abc import Iterator

from ops.check import registry
from ops.check.finding import Finding, make_finding
from ops.check.rules.environment_variables import variables
from ops.project.service_files import ServiceFiles
from serving.tracing import trace_endpoint

TRACES = ("applications", 0, "args", "traces")
EXPORTER = "RAY_SERVE_TRACING_EXPORTER_IMPORT_PATH"
OVERRIDDEN = {EXPORTER, "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"}
"""What `serving.tracing.spans` sets itself."""
DEAD_ALONE = ("OTEL_EXPORTER_OTLP_", "RAY_SERVE_TRACING_SAMPLING_RATIO")
"""How the names begin of variables that change traces and start none."""


def findings(files: ServiceFiles) -> Iterator[Finding]:
    yield from metrics_off(files)
    yield from collector(files)
    yield from tracing_variables(files)
    yield from tracing_config(files)


def metrics_off(files: ServiceFiles) -> Iterator[Finding]:
    for model in files.models.values():
        if model.get("log_engine_metrics", default=True) is False:
            yield make_finding(
                files,
                registry.ENGINE_METRICS_OFF,
                model.place("log_engine_metrics"),
                what="`log_engine_metrics` is off.",
            )


def collector(files: ServiceFiles) -> Iterator[Finding]:
    endpoint = files.arguments.get("traces")
    if endpoint is not None and (fault := trace_endpoint.fault(endpoint)):
        yield make_finding(
            files,
            registry.TRACES_NOT_A_COLLECTOR,
            files.yaml.place(*TRACES),
            what=f"The address that traces are sent to, {endpoint}, {fault}.",
            fix=f"Write the address of the collector's gRPC receiver, such as {trace_endpoint.EXAMPLE}.",
        )


def tracing_variables(files: ServiceFiles) -> Iterator[Finding]:
    names = {variable.name for variable in variables(files)}
    traced = files.arguments.get("traces") is not None
    by_serve = files.yaml.get("tracing_config") or EXPORTER in names
    for variable in variables(files):
        if traced and variable.name in OVERRIDDEN:
            because = "`traces` in `args` overrides it"
        elif not (traced or by_serve) and variable.name.startswith(DEAD_ALONE):
            because = "nothing starts a trace: `traces` is not in `args`"
        else:
            continue
        yield make_finding(
            files,
            registry.TRACING_VARIABLE_WITHOUT_EFFECT,
            variable.place,
            what=f"`{variable.name}` has no effect: {because}.",
            fix=f"Remove it, and write where they go in `args`, such as traces: {trace_endpoint.EXAMPLE}.",
        )


def tracing_config(files: ServiceFiles) -> Iterator[Finding]:
    config = files.yaml.get("tracing_config")
    if config and files.arguments.get("traces") is not None:
        yield make_finding(
            files,
            registry.TRACES_CONFIGURED_TWICE,
            files.yaml.place("tracing_config"),
            what="`tracing_config` and `traces` in `args` are both set.",
        )
