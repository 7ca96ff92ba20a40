"""`traces` in the arguments of a service: what is refused, and what it changes. The e2e tests see the spans."""

import pytest
from pydantic import ValidationError

from serving.app import AppArgs
from serving.tracing import spans, trace_endpoint
from tests import collector


@pytest.mark.parametrize(
    ("endpoint", "said"),
    [
        ("collector:4317", "host and a port"),
        ("http://collector", "host and a port"),
        ("grpc://collector:4317", "host and a port"),
        ("http://collector:port", "is not a URL"),
        ("http://[collector:4317", "is not a URL"),
        ("http://collector:4318", "http://collector:4317"),
        ("https://collector:4318/v1/traces", "https://collector:4317"),
        ("http://collector:4317/v1/traces", "by gRPC"),
        ("", "host and a port"),
    ],
)
def test_an_address_that_takes_no_spans_is_refused_at_the_start(endpoint, said):
    assert said in trace_endpoint.fault(endpoint)
    with pytest.raises(ValidationError, match="traces"):
        AppArgs(traces=endpoint)


@pytest.mark.parametrize(
    "endpoint", [trace_endpoint.EXAMPLE, "https://collector.example.com:4317", "http://[::1]:4317/"]
)
def test_an_address_that_takes_spans(endpoint):
    assert AppArgs(traces=endpoint).traces == endpoint


def test_traces_change_nothing_else_of_a_configuration(category):
    config = next(iter(category.MODELS.values()))
    before = config.model_dump()
    after = spans.traced(config, trace_endpoint.EXAMPLE).model_dump()
    assert config.model_dump() == before, "services share their settings"
    assert {name for name in before if before[name] != after[name]} == {"runtime_env", "engine_kwargs"}
    added = {name for name, value in after["engine_kwargs"].items() if before["engine_kwargs"].get(name) != value}
    assert added == {"otlp_traces_endpoint", "middleware"}
    kept = (before["runtime_env"] or {}).get("env_vars", {})
    assert kept.items() <= after["runtime_env"]["env_vars"].items()


def test_the_ingress_of_several_models_keeps_its_options():
    options = {"num_replicas": 2, "ray_actor_options": {"num_cpus": 0, "runtime_env": {"env_vars": {"A": "1"}}}}
    traced = spans.traced_ingress(options, trace_endpoint.EXAMPLE)
    assert traced["num_replicas"] == 2
    assert traced["ray_actor_options"]["num_cpus"] == 0
    variables = traced["ray_actor_options"]["runtime_env"]["env_vars"]
    assert (variables["A"], variables[spans.ENDPOINT]) == ("1", trace_endpoint.EXAMPLE)
    assert options["ray_actor_options"]["runtime_env"] == {"env_vars": {"A": "1"}}


def test_the_share_that_the_cluster_has_is_kept(category, monkeypatch):
    monkeypatch.setenv(spans.SHARE, "0.1")
    config = spans.traced(next(iter(category.MODELS.values())), trace_endpoint.EXAMPLE)
    assert config.runtime_env["env_vars"][spans.SHARE] == "0.1"


def test_what_serve_calls_in_a_replica_sends_spans_to_the_collector(monkeypatch):
    from opentelemetry.sdk.trace import TracerProvider

    with collector.listening() as (received, url):
        monkeypatch.setenv(spans.ENDPOINT, url)
        provider = TracerProvider()
        for processor in spans.span_processors():
            provider.add_span_processor(processor)
        provider.get_tracer("test").start_span("asked").end()
        provider.shutdown()
        assert received.wait_for(lambda span: span.name == "asked", timeout_s=5)
