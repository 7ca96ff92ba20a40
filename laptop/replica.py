"""What replicas of the laptop profile do otherwise."""

from ray.llm._internal.common.callbacks.base import CallbackBase  # where Ray's own guide on callbacks imports it from


class LaptopReplica(CallbackBase):
    """What Ray calls before it starts the engine: leaves out the task that downloads weights to each node.

    They are on this machine, and the task would import vLLM once more, 20 s on two cores.
    """

    async def on_before_node_init(self) -> None:
        self.ctx.run_init_node = False
