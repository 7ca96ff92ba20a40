"""The key that our own commands send: from the environment, and known to be right before anything is started."""

import pytest

from ops.console import options
from ops.console.cli import CommandError
from ops.probing import client, service_key
from tests import keys


@pytest.fixture
def made(tmp_path):
    file = tmp_path / "keys.yaml"
    return {"api_keys": str(file)}, keys.make(file, alice={})["alice"]


def test_a_service_without_keys_needs_none(monkeypatch):
    monkeypatch.delenv(service_key.VARIABLE, raising=False)
    service_key.check({"model": "x"})
    assert "x-api-key" not in client.connect("http://127.0.0.1:8000", None, 1).default_headers


def test_the_key_of_the_environment_is_sent_beside_the_token(monkeypatch):
    monkeypatch.setenv(service_key.VARIABLE, "sk-one")
    connection = client.connect("http://127.0.0.1:8000", "a token", 1)
    assert (connection.default_headers["x-api-key"], connection.api_key) == ("sk-one", "a token")


def test_a_missing_or_wrong_key_is_told_before_the_start(made, monkeypatch):
    args, key = made
    monkeypatch.setenv(service_key.VARIABLE, key)
    service_key.check(args)
    monkeypatch.setenv(service_key.VARIABLE, "sk-wrong")
    with pytest.raises(CommandError, match="SERVICE_API_KEY holds none of its keys") as raised:
        service_key.check(args)
    assert "sk-wrong" not in str(raised.value)
    monkeypatch.delenv(service_key.VARIABLE)
    with pytest.raises(CommandError, match="SERVICE_API_KEY is not set"):
        service_key.check(args)


def test_keys_that_cannot_be_read_are_told_before_the_start(tmp_path):
    with pytest.raises(CommandError, match="cannot be read: No such file"):
        service_key.check({"api_keys": str(tmp_path / "none.yaml")})


def test_settings_of_dev_go_before_those_of_service_yaml():
    assert options.given("phi-2", ["api_keys=keys.yaml", "x=a=b"]) == {
        "api_keys": "keys.yaml",
        "x": "a=b",
        "model": "phi-2",
    }
    with pytest.raises(CommandError, match="api_keys is not a setting such as"):
        options.given(None, ["api_keys"])
