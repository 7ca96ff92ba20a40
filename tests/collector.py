"""An OpenTelemetry collector for tests: it takes spans by OTLP over gRPC, as the real ones do, and keeps them."""

import time
from collections.abc import Callable, Iterator
from concurrent import futures
from contextlib import contextmanager
from dataclasses import dataclass

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.proto.trace.v1.trace_pb2 import Span as Message

TRACED = ("small-size-llm", "multi-model")
"""Services that the tests run with traces: one in direct streaming, one behind Ray's own ingress."""


@dataclass(frozen=True)
class Span:
    service: str
    """`service.name` of the process that sent it."""
    name: str
    trace: str
    id: str
    parent: str
    """The id of its parent span; empty where it has none."""
    attributes: dict[str, str | float | int | bool]


class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    def __init__(self) -> None:
        self.spans: list[Span] = []

    def Export(self, request: trace_service_pb2.ExportTraceServiceRequest, context: grpc.ServicerContext):
        for resource in request.resource_spans:
            service = values(resource.resource.attributes).get("service.name", "")
            for scope in resource.scope_spans:
                self.spans += [span(message, service) for message in scope.spans]
        return trace_service_pb2.ExportTraceServiceResponse()

    def wait_for(self, wanted: Callable[[Span], bool], timeout_s: float = 30) -> Span:
        """The first span that is `wanted`; they come seconds after what they measure."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            if found := next(filter(wanted, self.spans), None):
                return found
            time.sleep(0.2)
        raise AssertionError(f"no such span among {[(span.name, span.trace) for span in self.spans]}")


def span(message: Message, service: str) -> Span:
    ids = message.trace_id.hex(), message.span_id.hex(), message.parent_span_id.hex()
    return Span(service, message.name, *ids, values(message.attributes))


def values(attributes) -> dict[str, str | float | int | bool]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in attributes}


@contextmanager
def listening() -> Iterator[tuple[Collector, str]]:
    """A collector and its URL."""
    server, collector = grpc.server(futures.ThreadPoolExecutor(2)), Collector()
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(collector, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield collector, f"http://127.0.0.1:{port}"
    finally:
        server.stop(grace=None)
