import json
from pathlib import Path

import pytest

from ops.console.cli import CommandError
from ops.project import model_facts
from ops.project.catalogue import services
from ops.project.model_facts import ModelFacts
from ops.project.service_files import ServiceFiles

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = ROOT / "tests" / "fixtures" / "model_configs"
FACTS = {source: facts for one in services() for source, facts in model_facts.read(one.folder).items()}


def config_of(source: str) -> Path:
    return CONFIGS / f"{source.replace('/', '__')}.json"


def test_facts_are_of_models_that_the_service_offers(service, project):
    offered = {model.source for model in ServiceFiles(project, service.folder).models.values()}
    assert set(model_facts.read(service.folder)) <= offered


@pytest.mark.parametrize("source", [source for source in FACTS if config_of(source).is_file()])
def test_facts_agree_with_config_json(source):
    assert model_facts.differences(FACTS[source], json.loads(config_of(source).read_text())) == []


@pytest.mark.parametrize("source", FACTS)
def test_the_shape_has_as_many_parameters_as_were_published(source):
    assert model_facts.count_parameters(FACTS[source]) == pytest.approx(FACTS[source].parameters, rel=0.01)


@pytest.mark.parametrize("file", sorted(CONFIGS.glob("*.json")), ids=lambda file: file.stem)
def test_a_config_json_alone_gives_the_parameters(file):
    facts = model_facts.from_config(json.loads(file.read_text()))
    assert facts.parameters == pytest.approx(FACTS[file.stem.replace("__", "/")].parameters, rel=0.01)


@pytest.mark.parametrize(
    ("source", "change", "sentence"),
    [
        ("Qwen/Qwen3-32B", {"num_hidden_layers": 63}, "layers is 64 here and 63 in config.json"),
        ("openai/gpt-oss-20b", {"sliding_window": None}, "sliding_window.tokens is 128 here and None in config.json"),
        ("deepseek-ai/DeepSeek-R1", {"kv_lora_rank": 256}, "mla.kv_lora_rank is 512 here and 256 in config.json"),
    ],
)
def test_a_difference_from_config_json_is_named(source, change, sentence):
    config = json.loads(config_of(source).read_text()) | change
    assert sentence in model_facts.differences(FACTS[source], config)


@pytest.mark.parametrize(
    "change",
    [{"block_configs": [{}]}, {"quantization_config": {"quant_method": "awq"}}],
    ids=["layers", "quantisation"],
)
def test_a_config_json_of_an_unknown_kind_is_refused(change):
    config = json.loads(config_of("Qwen/Qwen3-32B").read_text()) | change
    with pytest.raises(ValueError, match="not known here"):
        model_facts.from_config(config)


def test_config_json_is_found_in_the_cache(tmp_path, monkeypatch):
    snapshot = tmp_path / "hub" / "models--Qwen--Qwen3-32B" / "snapshots" / "0123abc"
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_bytes(config_of("Qwen/Qwen3-32B").read_bytes())
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    assert model_facts.config_at_hand("Qwen/Qwen3-32B")["num_hidden_layers"] == 64
    assert model_facts.config_at_hand("Qwen/QwQ-32B") is None


def test_config_json_is_found_in_a_folder(tmp_path):
    (tmp_path / "config.json").write_text('{"num_hidden_layers": 2}')
    assert model_facts.config_at_hand(str(tmp_path)) == {"num_hidden_layers": 2}


def test_an_unknown_fact_is_refused(tmp_path):
    facts: ModelFacts = next(iter(FACTS.values()))
    (tmp_path / "models.yaml").write_text(json.dumps({"a/model": facts.model_dump() | {"colour": "red"}}))
    with pytest.raises(CommandError, match="colour"):
        model_facts.read(tmp_path)


def test_mxfp4_without_experts_is_refused(tmp_path):
    facts = FACTS["Qwen/Qwen3-32B"].model_dump(mode="json") | {"quantisation": "mxfp4"}
    (tmp_path / "models.yaml").write_text(json.dumps({"a/model": facts}))
    with pytest.raises(CommandError, match="mxfp4, which is for experts only"):
        model_facts.read(tmp_path)
