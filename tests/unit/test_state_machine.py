"""What a resumed rollout makes of a service that others changed meanwhile. What it asks of Anyscale is made up."""

from types import SimpleNamespace

import pytest

from ops.cloud import mutations, service_state, waiting
from ops.cloud.service_state import ServiceState, Version
from ops.cloud.version_spec import Previous
from ops.console.cli import Failed
from ops.probing.measurement import Measurement
from ops.project import catalogue
from ops.rollouts import analysis, state_machine
from ops.rollouts.journal import Entry, Journal, Plan, State
from ops.rollouts.state_machine import Rollout

PLAN = Plan(
    kind="rollout",
    service="small-size-llm",
    name="my-llm",
    cloud=None,
    project=None,
    version="v2",
    steps=[5, 25, 50, 100],
    bake_s=0,
    start_timeout_s=10,
    slo="slo.yaml",
    previous=Previous(version="v1", config={}, secrets=[]),
)


def service(primary: str, canary: str | None = None, weight: int = 0, state: str = "ROLLING_OUT") -> ServiceState:
    versions = [
        Version(name, name, "RUNNING", share, {}) for name, share in ((primary, 100 - weight), (canary, weight))
    ]
    return ServiceState("id", "my-llm", state, "http://x", None, None, versions[0], versions[1] if canary else None)


@pytest.fixture
def rollout(tmp_path, monkeypatch):
    """A rollout of v2 over v1 that passed 25%, resumed on a service as given; what it changed is in `changed`."""
    changed: list = []
    for name in ("deploy", "cancel_rollout"):
        monkeypatch.setattr(mutations, name, lambda *_, name=name: changed.append(name))
    monkeypatch.setattr(mutations, "move_weight", lambda state, version, weight, project: changed.append(weight))
    for wait in ("for_canary", "for_primary"):
        monkeypatch.setattr(waiting, wait, lambda *_: SimpleNamespace(primary=None))
    monkeypatch.setattr(waiting, "until", lambda *_, **__: None)
    monkeypatch.setattr(analysis, "probe_side_by_side", lambda *_: {"canary": [], "primary": []})
    monkeypatch.setattr(analysis, "probe_failures", lambda *_: [])
    reading = Measurement(requests=1, errors=0, empty_answers=0)
    monkeypatch.setattr(analysis, "measure", lambda *_: {"canary": reading, "primary": reading})
    monkeypatch.setattr(state_machine.gate, "breaches", lambda *_: [])

    def resumed_on(state: ServiceState) -> SimpleNamespace:
        monkeypatch.setattr(service_state, "find", lambda *_: state)
        log = Journal(tmp_path)
        log.write(Entry(state=State.PLANNED, plan=PLAN))
        log.write(Entry(state=State.PASSED, weight=25))
        limits = SimpleNamespace(load=SimpleNamespace(requests=1))
        progress = SimpleNamespace(waiting_for=lambda _: None)
        rolling = Rollout(catalogue.find("small-size-llm"), log, PLAN, limits, progress)
        return SimpleNamespace(run=rolling.run, changed=changed, log=log)

    return resumed_on


def test_it_goes_on_with_the_next_step(rollout):
    resumed = rollout(service("v1", "v2", 25))
    assert resumed.run() == State.FINISHED
    assert resumed.changed == [50, 100]


def test_it_takes_no_traffic_from_a_canary_that_was_given_more(rollout):
    resumed = rollout(service("v1", "v2", 60))
    assert resumed.run() == State.FINISHED
    assert resumed.changed == [100]


def test_a_canary_that_was_promoted_by_hand_is_only_checked(rollout):
    resumed = rollout(service("v2", state="RUNNING"))
    assert resumed.run() == State.FINISHED
    assert resumed.changed == []


def test_a_rollout_that_was_cancelled_by_hand_is_at_its_end(rollout):
    resumed = rollout(service("v1", state="RUNNING"))
    assert resumed.run() == State.ROLLED_BACK
    assert resumed.changed == []


@pytest.mark.parametrize("state", [service("v3", state="RUNNING"), service("v1", "v3", 10)])
def test_what_somebody_else_deployed_is_left_alone(rollout, state):
    resumed = rollout(state)
    with pytest.raises(Failed, match="runs v3, which was deployed by somebody else"):
        resumed.run()
    assert resumed.changed == []


def test_each_of_several_models_is_judged(rollout, monkeypatch):
    well, failing = (Measurement(requests=2, errors=errors, empty_answers=0) for errors in (0, 2))
    readings = {f"{version}, {model}": well for version in ("canary", "primary") for model in ("small", "large")}
    monkeypatch.setattr(analysis, "measure", lambda *_: readings | {"canary, large": failing})
    monkeypatch.setattr(
        state_machine.gate, "breaches", lambda _, new, old: ["failed"] if new.errors and not old.errors else []
    )
    resumed = rollout(service("v1", "v2", 25))
    assert resumed.run() == State.ROLLED_BACK
    assert resumed.log.last.why == ["large: failed"]
