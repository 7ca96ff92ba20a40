"""Ray's LLMServer, with a health check whose failure Serve can read at once."""

from ray.serve.llm.deployment import LLMServer as RayLLMServer


class LLMServer(RayLLMServer):
    """What each replica runs. Named as Ray's own, so that deployments, logs and metrics keep their names."""

    async def check_health(self) -> None:
        """Raises RuntimeError where the engine is dead.

        Not vLLM's own exception: to read that, Serve's controller imports vLLM, and does nothing else for as long. On
        two cores that took 12 s (Ray 2.59.0), in which the replica stayed in rotation and answered 500.
        """
        try:
            await super().check_health()
        except Exception as error:
            raise RuntimeError(f"{type(error).__name__}: {error}") from None
