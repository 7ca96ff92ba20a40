"""Ray's LLMServer, which ends with its engine, has numbers to scale by, and asks for API keys where wanted."""

import logging
import math
import os
from collections import Counter
from typing import Any

from ray._common.usage.usage_lib import usage_stats_enabled
from ray.serve.llm.deployment import LLMServer as RayLLMServer

from serving import engine_port
from serving.auth.application import AsksForKeys
from serving.llm_config import BaseLLMConfig, engine_of

AT_ONCE = "VLLM_V1_OUTPUT_PROC_CHUNK_SIZE"
"""The number of requests of which vLLM takes the new tokens before it sends any."""
ALL_OF_A_BATCH = 4096  # more than any max_num_seqs; by default 128, and then vLLM sends each token on its own


class LLMServer(AsksForKeys, RayLLMServer):
    """What each replica runs. Named as Ray's own, so that deployments, logs and metrics keep their names."""

    engine: Any  # one of serving.engine; Ray annotates what all kinds of engines share, and None before `start`
    _stats = None

    @classmethod
    def get_deployment_options(cls, llm_config: BaseLLMConfig) -> dict[str, Any]:
        """Ray's, except that a replica on one node has its GPUs itself. Ray keeps them for actors beside it."""
        options = super().get_deployment_options(llm_config)
        if is_on_one_node(llm_config):
            all_of_it = sum(map(Counter, options["placement_group_bundles"]), Counter())
            options["placement_group_bundles"] = [dict(all_of_it)]
            options["ray_actor_options"]["num_gpus"] = all_of_it["GPU"]
        return options

    def _get_default_engine_class(self) -> type[Any]:
        from serving.engine import OneNodeEngine, SeveralNodesEngine  # imports vLLM

        return OneNodeEngine if is_on_one_node(self._llm_config) else SeveralNodesEngine

    async def start(self) -> None:
        os.environ.setdefault(AT_ONCE, str(ALL_OF_A_BATCH))
        if not is_on_one_node(self._llm_config):
            engine_port.choose(self._llm_config)
        await super().start()
        from serving.engine_stats import follow  # imports vLLM, which the replica has done by now

        limit = self._llm_config.deployment_config.get("max_ongoing_requests", math.inf)
        self._stats = follow(self.engine._engine_client, limit)

    async def _start_engine(self) -> None:
        """Leaves Ray's telemetry out where RAY_USAGE_STATS_ENABLED=0 switches it off.

        Ray 2.59 sends it then too, from an actor that imports vLLM first, and the start of the replica waits for it:
        24 s on two cores.
        """
        if usage_stats_enabled():
            await super()._start_engine()
        else:
            await self.engine.start()

    async def record_autoscaling_stats(self) -> dict[str, float]:
        """What Serve asks for and hands to `serving.autoscaling.EnginePolicy`; empty where the engine tells nothing."""
        return self._stats.numbers() if self._stats else {}

    async def check_health(self) -> None:
        """Ends the process where the engine is dead, as `vllm serve` ends. Serve starts another replica at once.

        Where a check only fails, as Ray's does, the replica stays in rotation and answers 500 until three have failed,
        and then keeps its GPUs for 30 s more, in which load balancers could forget it.
        """
        try:
            await super().check_health()
        except Exception:  # the engine is dead, and Ray has logged why
            logging.shutdown()  # Serve's logs may be buffered
            os._exit(1)


def is_on_one_node(config: BaseLLMConfig) -> bool:
    """Whether all devices of a replica are of one node: there is one, or Ray may place them in no other way."""
    engine = engine_of(config)
    return engine.num_devices == 1 or engine.placement_strategy == "STRICT_PACK"
