"""What would leave the dashboard, the alerts or the traces empty, or judge by another SLO."""

from collections.abc import Iterator

from ops import slo
from ops.catalogue import Service
from ops.check.engine_variables import variables
from ops.check.finding import Finding, Place
from ops.check.service_files import ServiceFiles
from ops.cli import CommandError
from ops.monitoring import alerts
from serving import trace_endpoint

TRACES = ("applications", 0, "args", "traces")
EXPORTER = "RAY_SERVE_TRACING_EXPORTER_IMPORT_PATH"
OVERRIDDEN = {EXPORTER, "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"}
"""What `serving.tracing` sets itself."""
DEAD_ALONE = ("OTEL_EXPORTER_OTLP_", "RAY_SERVE_TRACING_SAMPLING_RATIO")
"""How the names begin of variables that change traces and start none."""


def findings(files: ServiceFiles) -> Iterator[Finding]:
    yield from rules(files)
    yield from metrics_off(files)
    yield from collector(files)
    yield from tracing_variables(files)
    yield from tracing_config(files)


def rules(files: ServiceFiles) -> Iterator[Finding]:
    """Alerts are made from the SLO file; one that is not there or cannot be read, another check tells."""
    try:
        wanted = alerts.text(Service(files.folder), slo.load(files.slo_file))
    except (CommandError, LookupError, TypeError, AttributeError):
        return
    file = alerts.file_of(files.name, files.root)
    name = file.relative_to(files.root)
    if not file.is_file():
        yield files.finding(
            "no-alert-rules",
            files.slo.place("objectives"),
            what=f"{name} is not there.",
            why="Nobody is told when the service breaks what this file promises.",
            fix="Run scripts/monitoring, which makes it.",
        )
    elif file.read_text() != wanted:
        yield files.finding(
            "alert-rules-of-another-slo",
            Place(file, 1),
            what=f"{name} is not what scripts/monitoring makes of {files.slo_file.relative_to(files.root)}.",
            why="Alerts would be judged by other figures than rollouts.",
            fix="Run scripts/monitoring, and load the file again where alerts are evaluated.",
        )


def metrics_off(files: ServiceFiles) -> Iterator[Finding]:
    for model in files.models.values():
        if model.get("log_engine_metrics", default=True) is False:
            yield files.finding(
                "engine-metrics-off",
                model.place("log_engine_metrics"),
                what="`log_engine_metrics` is off.",
                why="vLLM measures nothing then: the dashboard stays empty, and of the alerts only those on errors and "
                "replicas can fire.",
                fix="Take it away: it is on by default.",
            )


def collector(files: ServiceFiles) -> Iterator[Finding]:
    endpoint = files.arguments.get("traces")
    if endpoint is not None and (fault := trace_endpoint.fault(endpoint)):
        yield files.finding(
            "traces-not-a-collector",
            files.yaml.place(*TRACES),
            what=f"The address that traces are sent to, {endpoint}, {fault}.",
            why="The application is refused when it is built, after the nodes are there and the image is pulled.",
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
        yield files.finding(
            "dead-tracing-variable",
            variable.place,
            what=f"`{variable.name}` has no effect: {because}.",
            why="Who reads the file believes that traces are sent as it says.",
            fix=f"Take it away, and write where they go in `args`, such as traces: {trace_endpoint.EXAMPLE}.",
        )


def tracing_config(files: ServiceFiles) -> Iterator[Finding]:
    config = files.yaml.get("tracing_config")
    if config and files.arguments.get("traces") is not None:
        yield files.finding(
            "traces-twice",
            files.yaml.place("tracing_config"),
            what="`tracing_config` and `traces` in `args` are both set.",
            why="Serve takes the exporter of `tracing_config`, and vLLM's spans go through it too: nothing arrives at "
            "the collector that `traces` names.",
            fix="Take one of them away.",
        )
