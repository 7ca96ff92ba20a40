"""Ray's LLMServer, with a health check that Serve can read at once, numbers to scale by, and API keys where wanted."""

import math

from ray._common.usage.usage_lib import usage_stats_enabled
from ray.serve.llm.deployment import LLMServer as RayLLMServer

from serving import engine_port
from serving.auth.application import AsksForKeys


class LLMServer(AsksForKeys, RayLLMServer):
    """What each replica runs. Named as Ray's own, so that deployments, logs and metrics keep their names."""

    _stats = None

    async def start(self) -> None:
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
        """Raises RuntimeError where the engine is dead.

        Not vLLM's own exception: to read that, Serve's controller imports vLLM, and does nothing else for as long. On
        two cores that took 12 s (Ray 2.59.0), in which the replica stayed in rotation and answered 500.
        """
        try:
            await super().check_health()
        except Exception as error:
            raise RuntimeError(f"{type(error).__name__}: {error}") from None
