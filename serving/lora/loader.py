"""Brings an adapter to a replica, when the first request for it comes."""

import asyncio
import logging
import os
import shutil
import tempfile
from pathlib import Path

from ray.llm._internal.serve.core.configs.llm_config import DiskMultiplexConfig  # what LLMServer takes of a loader
from ray.serve.llm import LLMConfig

from serving.llm_config import engine_of, lora_of
from serving.lora import adapter
from serving.lora.storage import AdapterStorage, adapter_of, missing

logger = logging.getLogger("ray.serve")

DEFAULT_RANK = 16  # max_lora_rank of vLLM 0.27
DOWNLOAD_TIMEOUT_S = 600  # where lora_config has none; guess


class AdapterLoader:
    """Stands in for Ray's LoraModelLoader, which answers 404 where the storage fails, tells nobody of a file that it
    could not download, and leaves it to the engine to find out what is wrong with an adapter.

    What was downloaded stays on the replica's disk until it ends: requests that the engine has accepted may read it
    again at any time. So an adapter that is loaded again after an eviction is not downloaded again, and a new version
    of it needs a new name.
    """

    def __init__(self, download_timeout_s: float | None = None, max_tries: int = 1) -> None:
        """`max_tries` is Ray's; the clouds' own clients try again by themselves."""
        self._timeout_s = download_timeout_s or DOWNLOAD_TIMEOUT_S
        self._disk = tempfile.TemporaryDirectory(prefix="adapters-", dir=os.environ.get("HF_HOME"))
        self._loaded: set[str] = set()

    async def load_model_from_config(self, lora_model_id: str, llm_config: LLMConfig) -> DiskMultiplexConfig:
        """The adapter on disk, in a folder of its own.

        Ray calls this for one adapter after the other, and when it has evicted one.

        Raises:
            AdapterError: it is not there, cannot be had, or cannot be served.
        """
        folder = Path(self._disk.name) / adapter_of(lora_model_id)
        if lora_model_id in self._loaded:
            logger.info("%s is loaded again: it had made room for another.", lora_model_id)
        else:
            await asyncio.to_thread(self._download, lora_model_id, llm_config, folder)
            self._loaded.add(lora_model_id)
            logger.info("%s was downloaded.", lora_model_id)
        return DiskMultiplexConfig(
            model_id=lora_model_id,
            local_path=str(folder),
            max_total_tokens=None,
            lora_assigned_int_id=len(self._loaded),  # which the engine does not read
        )

    def _download(self, model_id: str, llm_config: LLMConfig, folder: Path) -> None:
        uri = lora_of(llm_config).dynamic_lora_loading_path
        assert uri is not None, "serving.lora.app.build sets it"
        storage = AdapterStorage(uri)
        if not storage.holds(model_id):
            raise missing(model_id)
        shutil.rmtree(folder, ignore_errors=True)  # of an adapter that was refused, and may be another by now
        folder.mkdir()
        storage.download(model_id, folder, self._timeout_s)
        adapter.refuse_unfit(
            model_id,
            folder,
            max_rank=llm_config.engine_kwargs.get("max_lora_rank", DEFAULT_RANK),
            base=engine_of(llm_config).actual_hf_model_id,
        )
