"""How replicas of the laptop profile start."""

import asyncio

from ray.serve.llm import LLMConfig

from laptop.replica import LaptopReplica


def test_nothing_is_downloaded():
    replica = LaptopReplica(
        LLMConfig(model_loading_config=dict(model_id="tiny"), engine_kwargs=dict(tensor_parallel_size=2))
    )
    asyncio.run(replica.on_before_node_init())
    assert not replica.ctx.run_init_node
