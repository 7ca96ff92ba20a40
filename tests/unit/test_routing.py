"""What `routing` makes of an LLMConfig, what is refused at start, and how a session's replica is found."""

from collections import Counter
from types import SimpleNamespace

import pytest
from ray.llm._internal.serve.core.ingress import builder
from ray.serve._private import build_app
from ray.serve._private.common import DeploymentID, ReplicaID
from ray.serve.llm import LLMConfig

from serving.app import ServiceArgs, application, prepared
from serving.routing.choice import FORWARD_BODY, routed
from serving.routing.session_router import SessionRouter

SESSIONS = [f"session {number}" for number in range(1000)]


def model() -> LLMConfig:
    deployment = dict(autoscaling_config=dict(max_replicas=4, target_ongoing_requests=16), max_ongoing_requests=64)
    return LLMConfig(model_loading_config=dict(model_id="a-model"), deployment_config=deployment)


def test_routing_keeps_the_rest_of_the_configuration(monkeypatch):
    monkeypatch.setenv(FORWARD_BODY, "1")
    for routing in ("session", "prefix"):
        changed = routed(model(), routing).deployment_config
        assert changed.pop("request_router_config")["request_router_class"].startswith("serving.")
        assert changed == model().deployment_config
    assert routed(model(), None) == model()


@pytest.mark.parametrize(("routing", "routes"), [(None, "HAProxy"), ("session", "Ray"), ("prefix", "Ray")])
def test_ray_routes_in_direct_streaming_only_where_that_is_asked_for(routing, routes, monkeypatch, no_cluster):
    monkeypatch.setenv(FORWARD_BODY, "1")
    monkeypatch.setattr(builder, "RAY_SERVE_LLM_ENABLE_DIRECT_STREAMING", True)
    monkeypatch.setattr(build_app, "RAY_SERVE_ENABLE_HA_PROXY", True)
    args = ServiceArgs(routing=routing)
    app = application({"llm_configs": [prepared(model(), args, "")]}, args)
    built = build_app.build_app(app, name="app")
    assert (built.ingress_request_router_deployment is not None) == (routes == "Ray")


def test_prefix_routing_yields_to_load_and_forgets(monkeypatch):
    monkeypatch.setenv(FORWARD_BODY, "1")
    settings = routed(model(), "prefix").deployment_config["request_router_config"]["request_router_kwargs"]
    assert 0 < settings["imbalanced_threshold"] <= 16
    assert settings["do_eviction"]
    assert settings["eviction_target_chars"] < settings["eviction_threshold_chars"]


def test_prefix_routing_is_refused_where_the_router_would_see_no_prompt(monkeypatch):
    monkeypatch.setenv("RAY_SERVE_LLM_ENABLE_DIRECT_STREAMING", "1")
    monkeypatch.delenv(FORWARD_BODY, raising=False)
    with pytest.raises(ValueError, match=f'set {FORWARD_BODY} to "1" in env_vars'):
        routed(model(), "prefix")
    monkeypatch.delenv("RAY_SERVE_LLM_ENABLE_DIRECT_STREAMING")
    assert routed(model(), "prefix"), "the default ingress has the prompt itself"


def test_session_routing_names_its_header_at_start(monkeypatch, capsys):
    routed(model(), "session")
    assert "x-session-id header" in capsys.readouterr().err
    monkeypatch.setenv("RAY_SERVE_SESSION_ID_HEADER_KEY", "x-correlation-id")
    routed(model(), "session")
    assert "x-correlation-id header" in capsys.readouterr().err


def replica(name: str) -> ReplicaID:
    return ReplicaID(unique_id=name, deployment_id=DeploymentID(name="LLMServer:a-model", app_name="app"))


def ring(*names: str) -> SessionRouter:
    """The router's ring of these replicas, without the Serve application around it."""
    router = SessionRouter.__new__(SessionRouter)
    router._deployment_id = replica("a").deployment_id
    router.initialize_state()
    router._rebuild_ring(frozenset(map(replica, names)))
    return router


def places(router: SessionRouter) -> dict[str, str]:
    return {session: router._lookup_ranked_replicas(session)[0].unique_id for session in SESSIONS}


def test_a_new_replica_takes_sessions_and_the_others_move_none_between_them():
    before, after = places(ring("a", "b")), places(ring("a", "b", "c"))
    moved = [session for session in SESSIONS if before[session] != after[session]]
    assert {after[session] for session in moved} == {"c"}
    assert 200 < len(moved) < 467, "a third of the sessions, give or take the ring's unevenness"


def test_only_the_sessions_of_a_dead_replica_move_and_to_where_they_would_fall_back():
    router = ring("a", "b", "c")
    before, after = places(router), places(ring("a", "c"))
    assert {before[session] for session in SESSIONS if before[session] != after[session]} == {"b"}
    for session in SESSIONS:
        if before[session] == "b":
            assert router._lookup_ranked_replicas(session)[1].unique_id == after[session]


def test_sessions_are_spread_over_the_replicas():
    shares = Counter(places(ring("a", "b", "c")).values())
    assert min(shares.values()) > 200, shares


def test_requests_without_the_header_are_spread_and_told_of_once(caplog):
    router = ring("a", "b")
    keys = set()
    for number in range(5):
        metadata = SimpleNamespace(session_id="", internal_request_id=f"request {number}")
        keys.add(router._routing_key(SimpleNamespace(metadata=metadata)))
    assert keys == {f"request {number}" for number in range(5)}
    assert len({id(record) for record in caplog.records if "without the header x-session-id" in record.message}) == 1
