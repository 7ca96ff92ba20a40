"""A version is asked for the model that it serves, which a rollout may change."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import openai
import pytest

from ops.cloud.service_state import ServiceState, Version
from ops.probing import client, load_test, service_key
from ops.probing.client import Answer
from ops.project import catalogue, routes
from ops.rollouts import analysis

SERVICE = catalogue.find("small-size-llm")


def version(args: dict) -> Version:
    return Version("1", "v1", "RUNNING", 100, {"applications": [{"import_path": "a:b", "args": args}]})


def test_the_model_is_that_of_the_version_not_of_the_checkout():
    assert analysis.model_of(SERVICE, version({"model": "phi-4-mini"})) == "phi-4-mini"


def test_a_version_without_a_model_serves_the_one_of_the_probe():
    assert analysis.model_of(SERVICE, version({})) == "llama-3.1-8b"


@pytest.fixture
def listed(monkeypatch) -> list[str]:
    """What /v1/models of each version lists; asked for without a service, which would take minutes to start."""
    ids = ["llama-3.1-8b", "qwen3-32b"]
    monkeypatch.setattr(client, "ask", lambda *_: Answer(model_ids=tuple(ids)))
    return ids


def measured(monkeypatch, primary: dict, canary: dict) -> dict[str, str]:
    """The model of each reading."""
    versions = [
        Version(name, name, "RUNNING", 50, version(args).config) for name, args in (("p", primary), ("c", canary))
    ]
    state = ServiceState("id", "s", "ROLLING_OUT", "http://x", None, None, *versions)
    monkeypatch.setattr(load_test, "measure", lambda asked, _: {name: model for name, (_, model) in asked.items()})
    return analysis.measure(catalogue.find("multi-model"), state, None)


def test_every_model_of_a_version_that_serves_several_is_measured(monkeypatch, listed):
    assert measured(monkeypatch, {}, {}) == {
        "canary, llama-3.1-8b": "llama-3.1-8b",
        "canary, qwen3-32b": "qwen3-32b",
        "primary, llama-3.1-8b": "llama-3.1-8b",
        "primary, qwen3-32b": "qwen3-32b",
    }


def test_one_model_is_measured_under_the_name_of_the_version(monkeypatch, listed):
    assert measured(monkeypatch, {"model": "phi-2"}, {"model": "phi-4-mini"}) == {
        "canary": "phi-4-mini",
        "primary": "phi-2",
    }


def test_a_version_that_cannot_be_reached_is_measured_for_the_model_of_the_probe(monkeypatch):
    def broken(*_):
        raise openai.APIConnectionError(request=None)

    monkeypatch.setattr(client, "ask", broken)
    assert set(measured(monkeypatch, {}, {}).values()) == {"llama-3.1-8b"}


@pytest.fixture
def guarded() -> Iterator[str]:
    """A service that takes one key, and one that takes any: the path says which."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            refused = self.path.startswith("/guarded") and self.headers.get("x-api-key") != "sk-one"
            self.send_response(401 if refused else 200)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(json.dumps({"object": "list", "data": []}).encode())

        def log_message(self, *args):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def test_a_service_with_keys_must_refuse_who_has_none(guarded, monkeypatch):
    monkeypatch.setenv(service_key.VARIABLE, "sk-one")

    def failures(path: str) -> list[str]:
        return analysis.unguarded(client.connect(guarded + path, "a token", 5, with_key=False)).failures

    assert failures("/guarded") == []
    assert failures("/open") == ["expected status 401 without one, got 200"]
    with_key = client.connect(f"{guarded}/guarded", "a token", 5)
    assert client.ask(with_key, routes.MODELS, {}).status == 200
