"""The layouts of large-size-llm, built by Ray's own builders without a cluster."""

import dataclasses
from types import ModuleType

import pytest
from ray.llm._internal.serve.serving_patterns.data_parallel import builder as data_parallel_builder
from ray.llm._internal.serve.serving_patterns.prefill_decode import builder as prefill_decode_builder
from ray.serve import Application
from ray.serve.config import GangSchedulingConfig
from ray.serve.llm import LLMConfig

from laptop import models
from ops.console.cli import CommandError
from ops.project.builder import import_application, served
from ops.project.catalogue import find
from serving import layouts
from serving.app import AppArgs

DEEPSEEK = "deepseek-r1-0528"
pytestmark = pytest.mark.usefixtures("no_cluster")


@pytest.fixture(scope="module")
def large() -> ModuleType:
    return import_application(find("large-size-llm"))[0]


@pytest.fixture(autouse=True)
def direct_streaming(monkeypatch):
    """As service.yaml sets it; Ray reads the variable when it is imported."""
    for module in (data_parallel_builder, prefill_decode_builder):
        monkeypatch.setattr(module, "RAY_SERVE_LLM_ENABLE_DIRECT_STREAMING", True)


def config_of(application: Application) -> LLMConfig:
    return application._bound_deployment.init_kwargs["llm_config"]


def gang_of(application: Application) -> GangSchedulingConfig:
    return application._bound_deployment._deployment_config.gang_scheduling_config


def test_data_parallel_ranks_start_together_on_a_gpu_each(large):
    application = large.app(large.Args(model=DEEPSEEK, layout="data-parallel"))
    assert application._bound_deployment._deployment_config.num_replicas == 8
    assert gang_of(application).gang_size == 8
    (bundle,) = config_of(application).get_engine_config().placement_bundles
    assert bundle["GPU"] == 1
    assert "accelerator_type:H200" in bundle


def test_prefill_and_decode_are_groups_of_their_own(large):
    decode = large.app(large.Args(model=DEEPSEEK, layout="prefill-decode"))
    prefill = decode._bound_deployment.init_kwargs["prefill_server"]
    roles = [config_of(side).engine_kwargs["kv_transfer_config"]["kv_role"] for side in (prefill, decode)]
    assert roles == ["kv_producer", "kv_consumer"]
    assert [gang_of(side).gang_size for side in (prefill, decode)] == [8, 8]
    assert decode._bound_deployment.name == "Decode:deepseek-r1-0528"


def test_prefill_and_decode_have_ports_of_their_own(large):
    decode = large.app(large.Args(model=DEEPSEEK, layout="prefill-decode"))
    prefill = decode._bound_deployment.init_kwargs["prefill_server"]
    bases = [config_of(side).experimental_configs.get("NIXL_SIDE_CHANNEL_PORT_BASE") for side in (prefill, decode)]
    assert bases == [None, 22000], "Ray's own base for prefill is 20000"
    assert "NIXL_SIDE_CHANNEL_PORT_BASE" not in large.MODELS[DEEPSEEK].experimental_configs


def test_layouts_keep_what_the_model_is_served_with(large):
    plain = large.MODELS[DEEPSEEK].engine_kwargs
    for layout in ("data-parallel", "prefill-decode"):
        engine = config_of(large.app(large.Args(model=DEEPSEEK, layout=layout))).engine_kwargs
        assert all(engine[name] == plain[name] for name in ("chat_template", "reasoning_parser", "max_model_len"))


def test_prefill_and_decode_build_for_a_laptop(large, laptop_packages, monkeypatch, tmp_path):
    stand_in = dataclasses.replace(models.MODELS["deepseek-twin-alone"], checkpoint=lambda: tmp_path)  # no training
    monkeypatch.setitem(models.MODELS, "deepseek-twin-alone", stand_in)
    decode = large.app(large.Args(model=DEEPSEEK, layout="prefill-decode", profile="laptop"))
    for side in (decode, decode._bound_deployment.init_kwargs["prefill_server"]):
        assert gang_of(side) is None
        assert config_of(side).get_engine_config().placement_bundles == [{"CPU": 1}]
        assert config_of(side).engine_kwargs["kv_transfer_config"]["kv_connector"] == "NixlConnector"


def test_data_parallel_ranks_need_gpus(large):
    with pytest.raises(ValueError, match="Data-parallel ranks need GPUs"):
        large.app(large.Args(model=DEEPSEEK, layout="data-parallel", profile="laptop"))


def test_options_that_a_layout_would_leave_out_are_refused(monkeypatch):
    class WithMore(AppArgs):
        traces: str | None = None

    monkeypatch.setattr(layouts, "AppArgs", WithMore)
    layouts.refuse_others(WithMore(model=DEEPSEEK))
    with pytest.raises(ValueError, match="traces cannot be combined with this layout"):
        layouts.refuse_others(WithMore(traces="http://collector:4317"))


def test_model_without_experts_keeps_its_layout(large, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "a token")
    with pytest.raises(ValueError, match="nemotron-ultra-253b has no experts"):
        large.app(large.Args(model="nemotron-ultra-253b", layout="data-parallel"))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"layout": "prefil-decode"}, "layout is 'prefil-decode'. Input should be .*'prefill-decode'"),
        ({"layouts": "pipeline"}, "There is no layouts among the args. There are: profile, .*model, layout"),
    ],
)
def test_args_that_are_refused_are_told_in_a_sentence(large, given, said):
    with pytest.raises(CommandError, match=said):
        served(find("large-size-llm"), given)
