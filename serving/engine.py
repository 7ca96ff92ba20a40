"""The engine of a replica: on one node it computes in processes of its own, over several in Ray's workers."""

import asyncio
from typing import Any

from ray.llm._internal.serve.engines.vllm import vllm_engine, vllm_models
from ray.llm._internal.serve.utils.node_initialization_utils import initialize_remote_node
from vllm.v1.executor.abstract import Executor

from serving.llm_config import BaseLLMConfig, engine_of
from serving.ray_executor import RayExecutor


class OneNodeEngine(vllm_engine.VLLMEngine):
    """Ray's engine, with nothing of it in processes of Ray's.

    Ray 2.59 downloads weights in one process, makes vLLM's configuration in another and computes in others, one for
    each device, also where all that is on one node; each imports vLLM first, one after the other. And where there is
    one device, EngineCore and the process that computes wait for each other in loops, so that each takes a core while
    requests run. docs/performance.md has the figures.
    """

    async def start(self) -> None:
        one_device = engine_of(self.llm_config).num_devices == 1
        executor = "uni" if one_device else "mp"  # vLLM's own choices: in EngineCore, and in a process each
        vllm_models.EXECUTOR_BACKEND_RAY = vllm_models.EXECUTOR_BACKEND_MP = executor  # Ray overwrites engine_kwargs
        vllm_engine.initialize_node = download  # Ray calls it, unless a callback of the configuration leaves it out
        await super().start()

    def _prepare_engine_config(self, callback_ctx: Any) -> tuple[Any, Any, Any]:
        """Ray's asks for it from a process that has the GPU; here that is this one."""
        arguments, config = vllm_engine._get_vllm_engine_config(self.llm_config)
        frontend = vllm_engine.FrontendArgs(**engine_of(self.llm_config).frontend_kwargs)
        return arguments, frontend, config


class SeveralNodesEngine(vllm_engine.VLLMEngine):
    """Ray's engine, which ends when one of its workers does."""

    def _start_async_llm_engine(self, vllm_engine_args: Any, vllm_engine_config: Any, placement_group: Any) -> Any:
        if vllm_engine_config.parallel_config.use_ray:  # not on CPUs, where Ray takes vLLM's own processes
            # Not by the configuration, where it could be named: that goes to the workers, who would import it.
            Executor.get_class = staticmethod(lambda _: RayExecutor)
        return super()._start_async_llm_engine(vllm_engine_args, vllm_engine_config, placement_group)


async def download(config: BaseLLMConfig) -> None:
    """Fetch the weights of a mirror, as Ray's own does in a process on each node of the replica."""
    engine_of(config).hf_model_id = await asyncio.to_thread(initialize_remote_node, config)
