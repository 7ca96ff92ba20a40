"""A version is asked for the model that it serves, which a rollout may change."""

from ops import catalogue, live
from ops.service_state import Version

SERVICE = catalogue.find("small-size-llm")


def version(args: dict) -> Version:
    return Version("1", "v1", "RUNNING", 100, {"applications": [{"import_path": "a:b", "args": args}]})


def test_the_model_is_that_of_the_version_not_of_the_checkout():
    assert live.model_of(SERVICE, version({"model": "phi-4-mini"})) == "phi-4-mini"


def test_a_version_without_a_model_serves_the_one_of_the_probe():
    assert live.model_of(SERVICE, version({})) == "llama-3.1-8b"
