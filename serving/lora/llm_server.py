"""The replica of a base model with adapters."""

import asyncio
from collections import defaultdict

from ray import serve
from ray.serve.llm import LLMConfig

from serving import llm_server
from serving.lora.loader import AdapterLoader
from serving.lora.storage import AdapterError


class LLMServer(llm_server.LLMServer):
    """Loads adapters with our loader. Named as Ray's own, so that deployments, logs and metrics keep their names."""

    async def __init__(self, llm_config: LLMConfig) -> None:
        self._loading: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        loader = AdapterLoader  # has the one method of Ray's LoraModelLoader that LLMServer calls
        await super().__init__(llm_config, model_downloader=loader)  # ty: ignore[invalid-argument-type]

    async def _maybe_resolve_lora_from_multiplex(self) -> None:
        """Make sure that the engine has the adapter of this request.

        One request after the other for the same adapter: of several first ones, Ray 2.59 hands all to the engine, which
        takes one and refuses the others, because the adapter is there already.

        Raises:
            AdapterError: it cannot be served.
        """
        model_id = serve.get_multiplexed_model_id()
        if not model_id:
            return
        async with self._loading[model_id]:
            try:
                await super()._maybe_resolve_lora_from_multiplex()
            except ValueError as error:  # with vLLM's reason
                raise AdapterError(400, f"{model_id} cannot be served: {error}") from None
