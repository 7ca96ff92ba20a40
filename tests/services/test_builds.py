"""The builder of each service builds what service.yaml asks for, with Ray's own classes and without a cluster.

What can be told without them is a check of scripts/check.
"""

import os
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from multiprocessing import get_context
from types import SimpleNamespace
from typing import Any

import pytest
from transformers.utils.chat_template_utils import render_jinja_template

from ops.project.builder import import_application
from ops.project.catalogue import Service
from ops.project.serve_py import CLUSTER
from ops.project.service_files import ServiceFiles

CONVERSATION = [
    {"role": "user", "content": "What is 1+1?"},
    {"role": "assistant", "content": "2"},
    {"role": "user", "content": "And 2+2?"},
]


@pytest.fixture
def files(service) -> ServiceFiles:
    return service.files


@pytest.fixture
def environment(files, monkeypatch) -> None:
    """What the builder finds on a cluster, with something in place of each secret that is not set here."""
    for name, value in files.env_vars.items():
        monkeypatch.setenv(name, value or os.environ.get(name) or "a secret")
    for name, value in CLUSTER.items():
        monkeypatch.setenv(name, os.environ.get(name) or value)


@pytest.fixture(scope="session")
def builders() -> Iterator[dict[str, ProcessPoolExecutor]]:
    """A process for services with direct streaming and one for those without.

    Ray Serve LLM reads which it is once, when it is imported, and that takes too long to do for each service.
    """
    with ExitStack() as stack:
        yield defaultdict(lambda: stack.enter_context(ProcessPoolExecutor(1, mp_context=get_context("spawn"))))


def test_builder_builds_every_model_that_it_can_be_asked_for(service, files, environment, builders):
    asked = {name: value for name, value in files.arguments.items() if name != "api_keys"}  # may be a secret
    choices = [name for name, _ in files.serve.entries] if "model" in asked else []
    arguments = [asked, *(asked | {"model": name} for name in choices)]
    builder = builders[os.environ.get("RAY_SERVE_LLM_ENABLE_DIRECT_STREAMING", "0")]
    builder.submit(build, service, dict(os.environ), arguments).result()


def build(service: Service, environment: dict[str, str], arguments: list[dict[str, Any]]) -> None:
    os.environ.clear()
    os.environ.update(environment)
    import ray  # slow
    from ray.serve import Application
    from ray.serve._private.api import call_user_app_builder_with_args_if_necessary  # what `serve run` calls

    ray.get_runtime_context = lambda: SimpleNamespace(runtime_env={})  # else builders start a cluster by asking for it
    _, builder = import_application(service)
    for given in arguments:
        assert isinstance(call_user_app_builder_with_args_if_necessary(builder, given), Application), given
    assert not ray.is_initialized()


def test_chat_templates_render_a_conversation(files):
    for model in files.models.values():
        template = model.engine.get("chat_template")
        if template and "{" in template:  # else it is the path of a file in the image
            (prompt,), _ = render_jinja_template(
                [CONVERSATION], chat_template=template, add_generation_prompt=True, bos_token="", eos_token=""
            )
            assert prompt.index("1+1") < prompt.index("2+2"), model.id
