"""Every service directory is complete, and its model configurations build for a GPU and for a laptop."""

import importlib
import re

import pytest
from anyscale.service._private.service_sdk import PrivateServiceSDK
from anyscale.service.models import ServiceConfig
from jinja2.sandbox import ImmutableSandboxedEnvironment
from ray.serve.llm import LLMConfig
from ray.serve.schema import ServeDeploySchema

from laptop.profile import laptop_profile
from ops import probe_file
from serving.app import AppArgs, choose


@pytest.fixture
def category(service):
    return importlib.import_module(service.application["import_path"].partition(":")[0])


def test_has_the_five_files(service):
    expected = {"serve.py", "service.yaml", "Containerfile", "probe.yaml", "README.md"}
    assert expected <= {file.name for file in service.folder.iterdir()}


def test_serve_py_is_short(service):
    assert len((service.folder / "serve.py").read_text().splitlines()) <= 70


def test_service_yaml_is_what_the_anyscale_sdk_and_ray_accept(service, monkeypatch, root):
    monkeypatch.chdir(root)
    config = ServiceConfig.from_yaml(str(service.folder / "service.yaml"))
    ServeDeploySchema(**PrivateServiceSDK._build_ray_serve_config(None, config))


def test_one_name_everywhere(service):
    assert service.config["name"] == service.application["name"] == service.name
    assert service.application["import_path"] == f"services.{service.folder.name}.serve:app"


def test_default_model_is_the_first_and_the_one_that_is_probed(service, category):
    first = next(iter(category.MODELS))
    assert service.application["args"]["model"] == first
    assert probe_file.load(service.probe_file).model == first


def test_model_ids_are_the_names_they_are_chosen_by(category):
    assert {name: config.model_id for name, config in category.MODELS.items()} == {n: n for n in category.MODELS}


def test_replicas_scale_up(category):
    for config in category.MODELS.values():
        autoscaling = config.deployment_config["autoscaling_config"]
        assert autoscaling["target_ongoing_requests"] < config.deployment_config["max_ongoing_requests"] < 1000
        assert autoscaling["max_replicas"] > autoscaling["min_replicas"]


def test_worker_nodes_hold_the_replicas(service, category):
    nodes = sum(group["max_nodes"] for group in service.config["compute_config"]["worker_nodes"])
    assert nodes >= max(c.deployment_config["autoscaling_config"]["max_replicas"] for c in category.MODELS.values())


def test_engine_configurations_build_for_a_gpu(category):
    for config in category.MODELS.values():
        engine = config.get_engine_config()
        assert engine.placement_bundles[0]["GPU"] == 1


def test_laptop_profile_takes_the_gpu_away_and_keeps_the_rest(category, laptop_packages, capsys):
    for config in category.MODELS.values():
        laptop = laptop_profile(config, "smollm2-135m")
        printed = capsys.readouterr().err
        assert all(bundle.get("GPU", 0) == 0 for bundle in laptop.get_engine_config().placement_bundles)
        assert laptop.model_id == config.model_id
        assert laptop.experimental_configs == config.experimental_configs
        for field in changed_fields(config, laptop):
            assert f"  {field}: " in printed, f"the profile changes {field} and does not say so"


def changed_fields(before: LLMConfig, after: LLMConfig) -> set[str]:
    old, new = flatten(before.model_dump()), flatten(after.model_dump())
    changed = {key for key in old.keys() | new.keys() if old.get(key) != new.get(key)}
    return {re.sub(r"\.(num_cpus|kind)$", "", key) for key in changed}


def flatten(fields: dict, prefix: str = "") -> dict[str, object]:
    flat = {}
    for key, value in fields.items():
        flat |= flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat


def test_unknown_model_names_the_nearest(category):
    name = next(iter(category.MODELS))
    with pytest.raises(ValueError, match=f"Did you mean {name}"):
        choose(category.MODELS, AppArgs(model=name + "x"), category.GATED)


def test_gated_model_on_a_gpu_needs_a_token(category, monkeypatch):
    monkeypatch.delenv("HF_TOKEN", raising=False)
    for name in category.GATED:
        with pytest.raises(ValueError, match="HF_TOKEN is not set"):
            choose(category.MODELS, AppArgs(model=name), category.GATED)
        assert choose(category.MODELS, AppArgs(model=name, profile="laptop"), category.GATED).model_id == name
        monkeypatch.setenv("HF_TOKEN", "a token")
        assert choose(category.MODELS, AppArgs(model=name), category.GATED).model_id == name
        monkeypatch.delenv("HF_TOKEN")


def test_chat_templates_render_a_conversation(category):
    conversation = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "What is 1+1?"},
        {"role": "assistant", "content": "2"},
        {"role": "user", "content": "And 2+2?"},
    ]
    for config in category.MODELS.values():
        if template := config.engine_kwargs.get("chat_template"):
            prompt = ImmutableSandboxedEnvironment().from_string(template).render(messages=conversation)
            assert prompt.index("1+1") < prompt.index("2+2")
            assert prompt.rstrip().endswith(":"), "the prompt must end where the model's answer begins"
