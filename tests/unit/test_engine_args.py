"""vLLM takes the engine arguments of every model for its real shape: parallelism, lengths and parsers fit it."""

import dataclasses
import json
import shutil
from pathlib import Path

import pytest
from tokenizers import AddedToken, Tokenizer, models
from transformers import PreTrainedTokenizerFast
from vllm.engine.arg_utils import AsyncEngineArgs
from vllm.model_executor.models import registry
from vllm.reasoning import ReasoningParserManager
from vllm.tool_parsers import ToolParserManager

from ops.project.builder import import_application
from ops.project.catalogue import services

SHAPES = Path(__file__).parents[1] / "fixtures" / "model_configs"
ENGINE_FIELDS = {field.name for field in dataclasses.fields(AsyncEngineArgs)}
MARKS = ["<think>", "</think>", "<seed:think>", "</seed:think>", "<tool_call>", "</tool_call>"]  # parsers ask for them
NOT_HERE = {
    "nemotron-ultra-253b": "its configuration is Python in its repository on Hugging Face",
    "pixtral-12b": "vLLM 0.27 does not import Pixtral beside transformers 5.23",
    "mistral-small-3.2-24b": "vLLM 0.27 does not import Pixtral, which it is made of, beside transformers 5.23",
    "qwen3.6-27b": "its config.json was not found offline",
}
MODELS = {name: config for service in services() for name, config in import_application(service)[0].MODELS.items()}


@pytest.fixture(autouse=True)
def no_process_for_each_architecture(monkeypatch):
    """vLLM looks at each model's class in a new process, to keep CUDA out of its own: 15 s each on two cores."""
    monkeypatch.setattr(registry, "_run_in_subprocess", lambda look: look())


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory) -> Path:
    """A tokenizer that knows the marks which parsers look for, and no words: none is needed here."""
    folder = tmp_path_factory.mktemp("tokenizer")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.add_tokens([AddedToken(mark, normalized=False) for mark in MARKS])
    PreTrainedTokenizerFast(tokenizer_object=tokenizer).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("name", MODELS)
def test_engine_arguments_fit_the_shape(name, tokenizer, tmp_path, laptop_packages):
    if name in NOT_HERE:
        pytest.skip(NOT_HERE[name])
    config = MODELS[name]
    source = config.model_loading_config.model_source
    folder = shutil.copytree(tokenizer, tmp_path / "model")
    shutil.copy(SHAPES / f"{source.replace('/', '__')}.json", folder / "config.json")
    arguments = {key: value for key, value in config.engine_kwargs.items() if key in ENGINE_FIELDS}
    # Those that are about files which are not here.
    arguments |= {"model": str(folder), "load_format": "auto", "tokenizer_mode": "auto"}
    engine = AsyncEngineArgs(**arguments, distributed_executor_backend="mp").create_engine_config()
    (architecture,) = json.loads((folder / "config.json").read_text())["architectures"]
    assert engine.model_config.architecture == architecture
    assert engine.parallel_config.world_size == len(config.get_engine_config().placement_bundles)


@pytest.mark.parametrize("name", MODELS)
def test_parsers_exist(name):
    arguments = MODELS[name].engine_kwargs
    if parser := arguments.get("reasoning_parser"):
        assert ReasoningParserManager.get_reasoning_parser(parser)
    if parser := arguments.get("tool_call_parser"):
        assert ToolParserManager.get_tool_parser(parser)
    assert ("tool_call_parser" in arguments) == arguments.get("enable_auto_tool_choice", False)
