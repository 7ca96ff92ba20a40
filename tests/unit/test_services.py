"""Every service directory is complete, and its model configurations build for a GPU and for a laptop."""

import dataclasses

import pytest
from jinja2.sandbox import ImmutableSandboxedEnvironment
from ray.serve.llm import LLMConfig

from laptop import models
from laptop.profile import laptop_profile
from ops import probe_file
from ops.new import shape_of
from serving.app import AppArgs, choose


def test_has_the_five_files(service):
    expected = {"serve.py", "service.yaml", "Containerfile", "probe.yaml", "README.md"}
    assert expected <= {file.name for file in service.folder.iterdir()}


def test_serve_py_is_short(service):
    assert len((service.folder / "serve.py").read_text().splitlines()) <= 70


def test_default_model_is_the_first_and_the_one_that_is_probed(service, category):
    first = next(iter(category.MODELS))
    assert service.application["args"]["model"] == first
    assert probe_file.load(service.probe_file).model == first


def test_model_ids_are_the_names_they_are_chosen_by(category):
    assert {name: config.model_id for name, config in category.MODELS.items()} == {n: n for n in category.MODELS}


def test_gated_models_have_their_secret_declared(service, category):
    assert ("HF_TOKEN" in service.env_vars) == bool(category.GATED)


def test_prompt_that_is_too_long_is_so_for_every_model(service, category):
    (check,) = [check for check in probe_file.load(service.probe_file).checks if check.prompt_words]
    assert check.prompt_words > max(c.engine_kwargs.get("max_model_len", 0) for c in category.MODELS.values())


def test_engine_configurations_build_for_a_gpu(category):
    for config in category.MODELS.values():
        engine, arguments = config.get_engine_config(), config.engine_kwargs
        workers = arguments.get("tensor_parallel_size", 1) * arguments.get("pipeline_parallel_size", 1)
        on_gpu = {"GPU": 1, f"accelerator_type:{config.accelerator_type}": 0.001}
        assert len(engine.placement_bundles) == workers
        assert all(bundle.items() >= on_gpu.items() for bundle in engine.placement_bundles)


def test_laptop_profile_takes_the_gpu_away_and_keeps_the_rest(
    service, category, laptop_packages, capsys, monkeypatch, tmp_path
):
    stand_in = shape_of(service).laptop_model
    not_made = dataclasses.replace(models.MODELS[stand_in], checkpoint=lambda: tmp_path)  # training it takes a minute
    monkeypatch.setitem(models.MODELS, stand_in, not_made)
    for config in category.MODELS.values():
        laptop = laptop_profile(config, stand_in)
        printed = capsys.readouterr().err
        assert f"Not covered by a run with it: {not_made.not_covered}." in printed
        bundles = laptop.get_engine_config().placement_bundles
        assert all((bundle["CPU"], bundle.get("GPU", 0)) == (1, 0) for bundle in bundles)
        assert laptop.model_id == config.model_id
        assert laptop.experimental_configs == config.experimental_configs
        for field in changed_fields(config, laptop):
            levels = field.split(".")
            paths = [".".join(levels[:count]) for count in range(1, len(levels) + 1)]
            assert any(f"  {path}: " in printed for path in paths), f"the profile changes {field} and does not say so"


def changed_fields(before: LLMConfig, after: LLMConfig) -> set[str]:
    old, new = flatten(before.model_dump()), flatten(after.model_dump())
    return {key for key in old.keys() | new.keys() if old.get(key) != new.get(key)}


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
            prompt = ImmutableSandboxedEnvironment().from_string(template).render(messages=conversation, bos_token="")
            assert prompt.index("1+1") < prompt.index("2+2")
            assert prompt.rstrip().endswith((":", "<｜Assistant｜>")), "it must end where the model's answer begins"
