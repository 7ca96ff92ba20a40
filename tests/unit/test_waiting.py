"""A wait ends when it is reached, when it is lost, and when Anyscale stays away; here with the answers made up,
because a real outage takes minutes."""

from itertools import chain, repeat

import pytest

from ops.cloud import service_state, waiting
from ops.cloud.service_state import ChecklistItem, ServiceState, TryAgain, Version
from ops.console.cli import Failed
from ops.console.progress import Progress


def version(name: str, state: str = "RUNNING", weight: int = 100) -> Version:
    return Version(name, name, state, weight, {})


def service(state: str, primary: Version, canary: Version | None = None) -> ServiceState:
    items = [ChecklistItem("Load balancer", "UNHEALTHY", "no healthy target")]
    return ServiceState("id", "my-llm", state, "http://x", None, None, primary, canary, items)


OLD = version("v1")
STARTING = service("ROLLING_OUT", OLD, version("v2", "STARTING", 0))
UNHEALTHY = service("ROLLING_OUT", OLD, version("v2", "UNHEALTHY", 0))
AT_25 = service("ROLLING_OUT", version("v1", weight=75), version("v2", weight=25))


@pytest.fixture
def answers(monkeypatch):
    """Let Anyscale answer these, one after the other, the last one for ever; errors are raised."""

    def answer_with(*states) -> None:
        left = chain(states, repeat(states[-1]))

        def read(_: str) -> ServiceState:
            state = next(left)
            if isinstance(state, Exception):
                raise state
            return state

        monkeypatch.setattr(service_state, "read", read)
        monkeypatch.setattr(waiting, "POLL_S", 0.01)

    return answer_with


def wait_for_25() -> ServiceState:
    with Progress() as progress:
        return waiting.for_canary("id", "v2", 25, progress, timeout_s=1)


def test_a_canary_is_there_when_it_runs_at_its_weight(answers):
    answers(STARTING, service("ROLLING_OUT", OLD, version("v2", "RUNNING", 0)), AT_25)
    assert wait_for_25() is AT_25


def test_a_short_outage_is_waited_out(answers):
    answers(STARTING, TryAgain("500"), TryAgain("500"), AT_25)
    assert wait_for_25() is AT_25


def test_a_long_outage_ends_the_wait_and_does_not_blame_the_version(answers, monkeypatch):
    monkeypatch.setattr(waiting, "OUTAGE_S", 0.1)
    answers(STARTING, TryAgain("Anyscale cannot be asked just now."))
    with pytest.raises(Failed, match="cannot be asked") as error:
        wait_for_25()
    assert not isinstance(error.value, waiting.NotReached)


@pytest.mark.parametrize(
    ("states", "why"),
    [
        ([STARTING, service("ROLLING_BACK", OLD, version("v2", "UNHEALTHY", 0))], "rolling v2 back.*no healthy target"),
        ([STARTING, service("RUNNING", OLD)], "gave v2 up: the service runs v1"),
        ([service("ROLLING_OUT", OLD, version("v2", "SYSTEM_FAILURE", 0))], "v2 is SYSTEM_FAILURE"),
        ([STARTING], "not got there within 1 s. v2, STARTING with 0%"),
    ],
)
def test_a_version_that_will_not_get_there(answers, states, why):
    answers(*states)
    with pytest.raises(waiting.NotReached, match=why):
        wait_for_25()


def test_a_version_may_be_unhealthy_for_a_moment(answers):
    answers(STARTING, UNHEALTHY, UNHEALTHY, AT_25)
    assert wait_for_25() is AT_25


def test_a_version_that_stays_unhealthy_is_lost(answers, monkeypatch):
    monkeypatch.setattr(waiting, "UNHEALTHY_S", 0.1)
    answers(STARTING, UNHEALTHY)
    with pytest.raises(waiting.NotReached, match="has been UNHEALTHY"):
        wait_for_25()


def test_the_primary_is_waited_for_while_a_canary_is_rolled_back(answers):
    back = service("RUNNING", OLD)
    answers(service("ROLLING_BACK", OLD, version("v2", "UNHEALTHY", 0)), back)
    with Progress() as progress:
        assert waiting.for_primary("id", "v1", progress, timeout_s=1) is back
