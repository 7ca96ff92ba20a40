"""How replicas of the laptop profile start: through Ray's own configuration of the engine."""

import asyncio

import pytest
from ray.llm._internal.serve.engines.vllm import vllm_models
from ray.serve.llm import LLMConfig

from laptop.replica import LaptopReplica


@pytest.mark.parametrize(
    ("engine_kwargs", "executor"),
    [
        ({}, "uni"),
        ({"tensor_parallel_size": 2}, "mp"),
        ({"pipeline_parallel_size": 2}, "mp"),
    ],
)
def test_engine_of_one_worker_computes_in_its_own_process(monkeypatch, engine_kwargs, executor):
    monkeypatch.setattr(vllm_models, "EXECUTOR_BACKEND_MP", vllm_models.EXECUTOR_BACKEND_MP)  # put back at the end
    config = LLMConfig(
        model_loading_config=dict(model_id="tiny", model_source="tiny"),
        accelerator_config={"kind": "cpu"},
        engine_kwargs=engine_kwargs,
    )
    asyncio.run(LaptopReplica(config).on_before_node_init())
    assert config.get_engine_config().get_initialization_kwargs()["distributed_executor_backend"] == executor


def test_nothing_is_downloaded():
    replica = LaptopReplica(
        LLMConfig(model_loading_config=dict(model_id="tiny"), engine_kwargs=dict(tensor_parallel_size=2))
    )
    asyncio.run(replica.on_before_node_init())
    assert not replica.ctx.run_init_node
