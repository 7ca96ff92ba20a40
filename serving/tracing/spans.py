"""Traces: each request as spans of Ray Serve and vLLM, sent to an OpenTelemetry collector.

Serve and vLLM run in one process and share its tracer provider, and Serve's comes first: so its exporter, made here,
sends the spans of both.
"""

import os
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.propagate import inject
from opentelemetry.sdk.trace import SpanProcessor
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from ray.serve.llm import LLMConfig

ENDPOINT = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
SHARE = "RAY_SERVE_TRACING_SAMPLING_RATIO"
"""The share of the requests without a `traceparent` that is traced; with one, its own flag decides."""

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


def traced(config: LLMConfig, endpoint: str) -> LLMConfig:
    """A copy of `config` whose replicas send their spans to a collector.

    `endpoint` is the URL of its OTLP receiver for gRPC, such as http://collector:4317.
    """
    engine_kwargs = config.engine_kwargs or {}
    middleware = [*engine_kwargs.get("middleware", []), f"{__name__}.ContinueTrace"]
    changes = {
        "runtime_env": with_variables(config.runtime_env, endpoint, config.model_id),
        "engine_kwargs": engine_kwargs | {"otlp_traces_endpoint": endpoint, "middleware": middleware},
    }
    return config.model_copy(update=changes)


def traced_ingress(options: dict[str, Any], endpoint: str) -> dict[str, Any]:
    """The deployment options of an ingress, so that its replicas do so too."""
    actor = options.get("ray_actor_options", {})
    traced_actor = actor | {"runtime_env": with_variables(actor.get("runtime_env"), endpoint, "ingress")}
    return options | {"ray_actor_options": traced_actor}


def with_variables(runtime_env: dict[str, Any] | None, endpoint: str, service: str) -> dict[str, Any]:
    """A runtime environment with what turns on the traces of Serve; `service` is the name that spans get."""
    variables = {
        "RAY_SERVE_TRACING_EXPORTER_IMPORT_PATH": f"{__name__}:span_processors",
        SHARE: os.environ.get(SHARE, "1"),  # Ray's default is 0.01: with few requests, who looks for a trace finds none
        ENDPOINT: endpoint,
        "OTEL_SERVICE_NAME": service,
    }
    given = runtime_env or {}
    return given | {"env_vars": given.get("env_vars", {}) | variables}


def span_processors() -> list[SpanProcessor]:
    """What Serve calls in each replica for what its spans go to. In batches, so that no request waits for them."""
    return [BatchSpanProcessor(OTLPSpanExporter(os.environ[ENDPOINT]))]


class ContinueTrace:
    """Makes vLLM's span of a request a child of Serve's: vLLM takes its parent from the request's `traceparent`."""

    def __init__(self, app: Callable[[Scope, Receive, Send], Awaitable[None]]) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        trace: dict[str, str] = {}
        inject(trace)
        if trace and scope["type"] == "http":
            kept = [(name, value) for name, value in scope["headers"] if name.decode("latin-1") not in trace]
            added = [(name.encode(), value.encode()) for name, value in trace.items()]
            scope = {**scope, "headers": kept + added}
        await self.app(scope, receive, send)
