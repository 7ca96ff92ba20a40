"""What the SDK answers, and its errors, as this repository's commands understand them."""

from datetime import UTC, datetime

import pytest
from anyscale.client.openapi_client.exceptions import ApiException
from anyscale.service.models import ServiceStatus, ServiceVersionStatus

from ops.cloud import service_state
from ops.cloud.service_state import TryAgain
from ops.console.cli import CommandError

APPLICATIONS = [{"import_path": "services.small_size_llm.serve:app"}]


def version(id: str, name: str, weight: int) -> ServiceVersionStatus:
    created = datetime(2026, 1, 1, tzinfo=UTC)
    config = {"applications": APPLICATIONS, "cloud": "staging"}
    return ServiceVersionStatus(id=id, name=name, state="RUNNING", weight=weight, created_at=created, config=config)


def service(primary: ServiceVersionStatus | None, canary: ServiceVersionStatus | None = None, state="RUNNING"):
    return ServiceStatus(
        id="service2_1",
        name="my-llm",
        creator=None,
        state=state,
        query_url="http://my-llm.test/",
        query_auth_token="its-token",
        primary_version=primary,
        canary_version=canary,
        project=None,
        versions=None,
    )


def test_a_service_is_read_with_its_versions():
    state = service_state.typed(service(version("1", "v1", 75), version("2", "v2", 25), "ROLLING_OUT"))
    assert (state.state, state.url, state.cloud) == ("ROLLING_OUT", "http://my-llm.test", "staging")
    assert (state.version("v1").weight, state.version("v2").weight) == (75, 25)
    assert "its-token" not in repr(state)


def test_two_versions_of_one_name_cannot_be_told_apart():
    with pytest.raises(CommandError, match="Both versions of my-llm are named v1"):
        service_state.typed(service(version("1", "v1", 75), version("2", "v1", 25)))


def test_several_versions_side_by_side_are_not_for_us():
    with pytest.raises(CommandError, match="several versions side by side"):
        service_state.typed(service(None))


def test_a_state_that_the_sdk_does_not_know():
    with pytest.raises(CommandError, match="pip install -U anyscale"):
        service_state.typed(service(version("1", "v1", 100), state="UNKNOWN"))


def sdk_error(status: int) -> Exception:
    """As the SDK raises it: an error of the user's as ValueError, with the answer hidden behind it."""
    answer = ApiException(status=status, reason="from the server")
    if status >= 500:
        return answer
    error = ValueError("from the server")
    error.__context__ = answer
    return error


@pytest.mark.parametrize(
    ("status", "kind", "sentence"),
    [
        (401, CommandError, "anyscale login"),
        (403, CommandError, "anyscale login"),
        (404, CommandError, "from the server"),
        (429, TryAgain, "429"),
        (500, TryAgain, "500"),
        (503, TryAgain, "503"),
    ],
)
def test_what_may_be_tried_again_and_what_not(status, kind, sentence):
    error = service_state.translated(sdk_error(status))
    assert type(error) is kind
    assert sentence in str(error)
