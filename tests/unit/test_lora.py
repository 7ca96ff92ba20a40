"""Adapters on their way from an S3, which really runs, to a replica: what is brought, and what is refused and how."""

import asyncio
import json
from pathlib import Path

import numpy as np
import pytest
from ray.serve.llm import LLMConfig
from safetensors.numpy import save_file
from transformers import LlamaConfig

from serving.lora import app
from serving.lora.ingress import AdapterIngress
from serving.lora.loader import AdapterLoader
from serving.lora.storage import CONFIG, WEIGHTS, AdapterError, AdapterStorage

LAYER = "base_model.model.model.layers.{}.self_attn.q_proj.lora_{}.weight"
WIDTH, MAX_RANK = 64, 16


def adapter(folder: Path, rank: int = 8, width: int = WIDTH, layer: int = 0, **config: object) -> Path:
    """The files of an adapter as `peft` saves one, and one more, as training leaves behind."""
    folder.mkdir()
    (folder / CONFIG).write_text(json.dumps({"r": rank, "lora_alpha": 16, "target_modules": ["q_proj"]} | config))
    shapes = {LAYER.format(layer, "A"): (rank, width), LAYER.format(layer, "B"): (width, rank)}
    save_file({name: np.zeros(shape, np.float32) for name, shape in shapes.items()}, folder / WEIGHTS)
    (folder / "optimizer.pt").write_text("large")
    return folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, Path]:
    made = tmp_path_factory.mktemp("adapters")
    folders = {
        "good": adapter(made / "good"),
        "high-rank": adapter(made / "high-rank", rank=32),
        "high-rank-in-one-layer": adapter(made / "high-rank-in-one-layer", rank=32, r=8),
        "narrow": adapter(made / "narrow", width=32, base_model_name_or_path="other/model"),
        "deep": adapter(made / "deep", layer=7),
        "of-another-kind": adapter(made / "of-another-kind", use_dora=True),
        "no-weights": adapter(made / "no-weights"),
        "no-config": adapter(made / "no-config"),
        "damaged": adapter(made / "damaged"),
    }
    (folders["no-weights"] / WEIGHTS).unlink()
    (folders["no-config"] / CONFIG).write_text("[]")
    (folders["damaged"] / WEIGHTS).write_text("no tensors")
    return folders


@pytest.fixture(scope="module")
def s3(folders, laptop_packages) -> tuple[str, dict[str, str]]:
    from laptop.s3 import serve_folders

    # moto has one S3 for the whole process, and tests that build multi-lora put its adapters into "adapters".
    return serve_folders(folders, "of-these-tests")


@pytest.fixture
def uri(s3, monkeypatch) -> str:
    for name, value in s3[1].items():
        monkeypatch.setenv(name, value)
    return s3[0]


@pytest.fixture
def config(uri, tmp_path) -> LLMConfig:
    shape = dict(hidden_size=WIDTH, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=2, vocab_size=100)
    LlamaConfig(**shape, intermediate_size=64).save_pretrained(tmp_path / "base")
    return LLMConfig(
        model_loading_config=dict(model_id="base", model_source=str(tmp_path / "base")),
        accelerator_config={"kind": "cpu"},
        lora_config=dict(dynamic_lora_loading_path=uri),
        engine_kwargs=dict(enable_lora=True, max_lora_rank=MAX_RANK),
    )


@pytest.fixture
def loader() -> AdapterLoader:
    return AdapterLoader(download_timeout_s=30, max_tries=3)


def load(loader: AdapterLoader, name: str, config: LLMConfig) -> Path:
    return Path(asyncio.run(loader.load_model_from_config(lora_model_id=f"base:{name}", llm_config=config)).local_path)


def test_brings_the_two_files_of_an_adapter_and_no_others(loader, config):
    assert {file.name for file in load(loader, "good", config).iterdir()} == {CONFIG, WEIGHTS}


def test_loads_an_adapter_again_without_its_storage(loader, config, monkeypatch):
    first = load(loader, "good", config)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    assert load(loader, "good", config) == first


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("high-rank", "its rank is 32, and this service takes up to 16"),
        ("high-rank-in-one-layer", "its rank is 32"),
        ("narrow", "has 32 inputs, and that of the model here 64. It was trained on other/model"),
        ("deep", "weights for model.layers.7.self_attn.q_proj, which the model here does not have"),
        ("no-weights", f"has no {WEIGHTS}"),
        ("no-config", f"{CONFIG} is not that of a LoRA adapter"),
        ("damaged", f"{WEIGHTS} is damaged"),
        ("of-another-kind", "vLLM does not yet support DoRA"),
    ],
)
def test_refuses_what_cannot_be_served(loader, config, name, said):
    with pytest.raises(AdapterError, match=f"base:{name} cannot be served") as refused:
        load(loader, name, config)
    assert said in refused.value.message
    assert refused.value.status_code == 400


def test_takes_a_refused_adapter_when_it_is_repaired(loader, config, folders, s3, monkeypatch):
    with pytest.raises(AdapterError):
        load(loader, "damaged", config)
    monkeypatch.setitem(config.lora_config.__dict__, "dynamic_lora_loading_path", "s3://laptop/repaired")
    import boto3

    for file in (CONFIG, WEIGHTS):
        boto3.client("s3").upload_file(str(folders["good"] / file), "laptop", f"repaired/damaged/{file}")
    assert load(loader, "damaged", config)


@pytest.mark.parametrize(
    "name", ["nobody", "../of-these-tests/good", "..", ".", "", "good/", "good/../good", "a b", "a:b"]
)
def test_name_of_no_adapter_is_a_404_that_names_it(loader, config, name):
    with pytest.raises(AdapterError) as refused:
        load(loader, name, config)
    assert refused.value.status_code == 404
    assert f"base:{name}" in refused.value.message


def test_storage_that_does_not_answer_is_a_503(loader, config, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(AdapterError, match="base:good cannot be loaded now: the storage of its adapter") as refused:
        load(loader, "good", config)
    assert refused.value.status_code == 503


def test_lists_the_adapters(uri, folders):
    assert AdapterStorage(uri).names() == sorted(folders)
    assert AdapterStorage(f"{uri}/nothing-here").names() == []


@pytest.fixture
def ingress(uri) -> AdapterIngress:
    from ray.llm._internal.serve.core.configs.openai_api_models import ModelCard

    card = ModelCard(id="base", object="model", owned_by="us", permission=[], metadata={})
    return AdapterIngress({"base": None}, {"base": card}, lora_paths={"base": uri})


def test_models_of_the_ingress_are_the_base_model_and_the_adapters(ingress, folders):
    listed = asyncio.run(ingress.models())
    assert [card.id for card in listed.data] == ["base", *(f"base:{name}" for name in sorted(folders))]


def test_one_model_of_the_ingress(ingress):
    assert asyncio.run(ingress.model("base:good")).id == "base:good"
    assert asyncio.run(ingress.model("base:nobody")) is None


def test_ingress_lists_the_base_model_where_the_storage_does_not_answer(ingress, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    assert [card.id for card in asyncio.run(ingress.models()).data] == ["base"]


@pytest.mark.parametrize("folder", ["/mnt/adapters", "adapters", "file:///adapters", "https://bucket/adapters"])
def test_adapters_that_are_not_in_a_cloud(folder):
    with pytest.raises(ValueError, match="write a URI such as s3://bucket/adapters"):
        app.LoraArgs(adapters=folder)


def test_adapters_are_in_the_storage_of_the_cloud_unless_said_otherwise(monkeypatch):
    monkeypatch.setenv(app.OF_THE_CLOUD, "s3://of-the-cloud/org/")
    assert app.of_the_cloud("base") == "s3://of-the-cloud/org/adapters/base"
    monkeypatch.delenv(app.OF_THE_CLOUD)
    with pytest.raises(ValueError, match="adapters=s3://bucket/folder"):
        app.of_the_cloud("base")


def test_bucket_that_is_not_there_is_told_at_start(uri):
    with pytest.raises(ValueError, match="adapters cannot be read from s3://nobodys-bucket/adapters"):
        app.refuse_unreadable("s3://nobodys-bucket/adapters")


def test_empty_folder_is_legal(uri, capsys):
    app.refuse_unreadable(f"{uri}/to-come")
    assert f"{uri}/to-come holds 0 adapters." in capsys.readouterr().out
