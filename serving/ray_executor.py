"""vLLM's executor over several nodes, with an engine that ends when one of its workers does."""

import os

from vllm.v1.executor.abstract import FailureCallback
from vllm.v1.executor.ray_executor_v2 import RayExecutorV2


class RayExecutor(RayExecutorV2):
    """Runs in EngineCore.

    vLLM 0.27 sees within 5 s that a worker is dead and tells its own loop, which does not hear it: it waits for the
    answer of that worker, and requests with it, until VLLM_EXECUTE_MODEL_TIMEOUT_SECONDS have passed, 300 by default.
    """

    def register_failure_callback(self, callback: FailureCallback) -> None:
        super().register_failure_callback(lambda: os._exit(1))  # the replica sees that, and ends too
