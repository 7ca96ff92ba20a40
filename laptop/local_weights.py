"""For replicas of the laptop profile: their weights are on this machine."""

from ray.llm._internal.common.callbacks.base import CallbackBase  # where Ray's own guide on callbacks imports it from


class LocalWeights(CallbackBase):
    """Leaves out the task that downloads weights to each node: it would import vLLM once more, 20 s on two cores."""

    async def on_before_node_init(self) -> None:
        self.ctx.run_init_node = False
