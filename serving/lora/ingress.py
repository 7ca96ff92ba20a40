"""What a client of a base model with adapters talks to: an ingress that asks the storage first."""

import asyncio
import logging
from typing import Any

from ray.exceptions import RayTaskError

# What OpenAiIngress takes and raises; only some of it has a public name.
from ray.llm._internal.serve.core.configs.openai_api_models import ModelCard, ModelList
from starlette.responses import Response

from serving.ingress import OpenAiIngress, error_response
from serving.lora.storage import AdapterError, AdapterStorage, adapter_of, missing

logger = logging.getLogger("ray.serve")

TYPES = {400: "BadRequestError", 404: "NotFoundError", 408: "RequestTimeoutError", 503: "ServiceUnavailableError"}
"""What vLLM's own server calls these errors."""


class AdapterIngress(OpenAiIngress):
    """Lists the adapters with the models, and refuses those that are not there.

    Ray's own sends a request for any name on: the replica then drops an adapter to make room for one that does not
    exist, and each name ever asked for leaves a handle behind.
    """

    def __init__(self, *args: Any, lora_paths: dict[str, str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._storages = {model_id: AdapterStorage(uri) for model_id, uri in lora_paths.items()}
        self._known: set[str] = set()
        """Adapters that were there once: while replicas have them, the storage need not answer."""

    async def _get_model_id(self, model: str | None) -> str:
        """Called for every request. Raises AdapterError or HTTPException: there is no such model."""
        model_id = await super()._get_model_id(model)
        if ":" in model_id and not await self._is_there(model_id):
            raise missing(model_id)
        return model_id

    async def _is_there(self, model_id: str) -> bool:
        storage = self._storages.get(model_id.partition(":")[0])
        if storage and model_id not in self._known and await asyncio.to_thread(storage.holds, model_id):
            self._known.add(model_id)
        return model_id in self._known

    async def model(self, model_id: str) -> ModelCard | None:
        """The entry of one model; None where it is not there."""
        if model_id in self._model_cards:
            return self._model_cards[model_id]
        return self._card(model_id) if await self._is_there(model_id) else None

    async def model_data(self, model: str) -> ModelCard | Response:  # ty: ignore[incompatible-method-override]
        """The entry of one model, or 404."""
        try:
            return await super().model_data(model)
        except Exception as error:
            return self._told(error)

    async def models(self) -> ModelList:
        """The base models, and the adapters in their storage."""
        cards = list(self._model_cards.values())
        for base, storage in self._storages.items():
            try:
                names = [f"{base}:{name}" for name in await asyncio.to_thread(storage.names)]
            except OSError as error:
                logger.error("The adapters in %s cannot be listed: %s", storage.uri, error)
                names = sorted(name for name in self._known if name.startswith(f"{base}:"))
            cards += [self._card(name) for name in names]
        return ModelList(data=cards)

    def _card(self, model_id: str) -> ModelCard:
        card = self._model_cards[model_id.partition(":")[0]]
        return card.model_copy(update={"id": model_id, "metadata": card.metadata | {"adapter": adapter_of(model_id)}})

    def _told(self, error: Exception) -> Response:
        cause = error.cause if isinstance(error, RayTaskError) else error  # of the replica, or of this process
        if isinstance(cause, AdapterError):
            return error_response(cause.status_code, cause.message, TYPES.get(cause.status_code, "InternalServerError"))
        return super()._told(error)
