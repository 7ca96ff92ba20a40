"""Builders: which models they serve, what they refuse, and what the laptop profile makes of the configurations."""

import dataclasses
import inspect

import pytest
from ray import serve
from ray.serve import Application
from ray.serve.llm import LLMConfig

import serving.app
from laptop import models
from ops.console.cli import CommandError
from ops.project import builder
from ops.project.builder import import_application
from ops.project.catalogue import Service
from rehearsal.control_plane import run_version
from serving.app import AppArgs, ServiceArgs, served


@pytest.fixture
def serves_all(service) -> bool:
    """Whether its models are served at once, and not one that is chosen."""
    return len(service.files.served) > 1


@pytest.fixture
def on_a_laptop(service, serves_all, category, monkeypatch, tmp_path) -> list[dict]:
    """What the builder builds on the laptop profile, for each of its models or once for all; nothing is trained.

    It is called as the local control plane does, which puts any service on that profile.
    """
    for name, stand_in in models.MODELS.items():
        monkeypatch.setitem(models.MODELS, name, dataclasses.replace(stand_in, checkpoint=lambda: tmp_path))
    built: list[dict] = []

    def build(arguments: dict) -> Application:  # Ray's own starts a cluster
        built.append(arguments)
        return serve.deployment(object).bind()

    monkeypatch.setattr(serving.app, "build_openai_app", build)
    _, builder = import_application(service)
    for chosen in [{}] if serves_all else [{"model": name} for name in category.MODELS]:
        run_version.build(builder, chosen)
    return built


def arguments_of(service: Service) -> type[ServiceArgs]:
    """What the service's builder takes."""
    (parameter,) = inspect.signature(import_application(service)[1]).parameters.values()
    return parameter.annotation


def test_laptop_profile_takes_the_gpu_away_and_keeps_the_rest(laptop_packages, category, capsys, on_a_laptop):
    printed = capsys.readouterr().err
    configs = [config for application in on_a_laptop for config in application["llm_configs"]]
    assert [config.model_id for config in configs] == list(category.MODELS)
    for laptop in configs:
        config = category.MODELS[laptop.model_id]
        changes = printed.partition(f"changes of {laptop.model_id},")[2].partition("Not covered by a run with it: ")[0]
        bundles = laptop.get_engine_config().placement_bundles
        assert all((bundle["CPU"], bundle.get("GPU", 0)) == (1, 0) for bundle in bundles)
        assert laptop.experimental_configs == config.experimental_configs
        for field in changed_fields(config, laptop) - {"server_cls", "lora_config.dynamic_lora_loading_path"}:
            levels = field.split(".")
            paths = [".".join(levels[:count]) for count in range(1, len(levels) + 1)]
            assert any(f"  {path}: " in changes for path in paths), f"the profile changes {field} and does not say so"


def test_ingress_of_several_models_has_replicas_and_leaves_the_cpus_to_the_engines(serves_all, on_a_laptop, category):
    if not serves_all:
        pytest.skip("without an ingress: requests go straight to the replica of the one model")
    (application,) = on_a_laptop
    assert category.INGRESS["num_replicas"] > 1
    assert application["ingress_deployment_config"]["ray_actor_options"] == {"num_cpus": 0}


def changed_fields(before: LLMConfig, after: LLMConfig) -> set[str]:
    old, new = flatten(before.model_dump()), flatten(after.model_dump())
    return {key for key in old.keys() | new.keys() if old.get(key) != new.get(key)}


def flatten(fields: dict, prefix: str = "") -> dict[str, object]:
    flat = {}
    for key, value in fields.items():
        flat |= flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat


def test_unknown_model_names_the_nearest(category, serves_all):
    if serves_all:
        pytest.skip("no model is chosen: requests name it")
    name = next(iter(category.MODELS))
    with pytest.raises(ValueError, match=f"Did you mean {name}"):
        served(category.MODELS, AppArgs(model=name + "x"), category.GATED)


def test_model_that_is_chosen_where_all_are_served_says_so(service, category, serves_all):
    if not serves_all:
        pytest.skip("one model is chosen")
    with pytest.raises(CommandError, match="serves all of its models at once, so none can be chosen"):
        builder.served(service, {"model": next(iter(category.MODELS))})


def test_gated_model_on_a_gpu_needs_a_token(service, category, serves_all, monkeypatch):
    monkeypatch.delenv("HF_TOKEN", raising=False)
    kind = arguments_of(service)
    for name in category.GATED:
        chosen = {} if serves_all else {"model": name}
        with pytest.raises(ValueError, match=f"{name} .* are gated, and HF_TOKEN is not set"):
            served(category.MODELS, kind(**chosen), category.GATED)
        assert name in served(category.MODELS, kind(profile="laptop", **chosen), category.GATED)
        monkeypatch.setenv("HF_TOKEN", "a token")
        assert name in served(category.MODELS, kind(**chosen), category.GATED)
        monkeypatch.delenv("HF_TOKEN")
