"""The cloud storage that a service's LoRA adapters are in, and the errors that clients get where one cannot be
loaded."""

import logging
import re
import threading
from collections.abc import Callable
from concurrent.futures import Future
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from pyarrow import fs

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
"""The two files of an adapter that are read, as `peft` saves them; a training run may leave others beside them."""

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
"""What an adapter may be called: one folder, with nothing in it that leads to another."""

ANSWER_TIMEOUT_S = 10  # guess: for a list or one small file; S3 takes a tenth of a second

logger = logging.getLogger("ray.serve")
T = TypeVar("T")


class AdapterError(Exception):
    """Why a request for an adapter cannot be answered: a status of HTTP, and a sentence for the client."""

    def __init__(self, status_code: int, message: str) -> None:
        super().__init__(status_code, message)  # so that it can be pickled, on its way to the ingress
        self.status_code, self.message = status_code, message

    def __str__(self) -> str:
        return self.message


def adapter_of(model_id: str) -> str:
    """The name of the adapter in `base:adapter`; empty for a base model."""
    return model_id.partition(":")[2]


def missing(model_id: str) -> AdapterError:
    return AdapterError(404, f"There is no model {model_id}: its base model has no adapter {adapter_of(model_id)!r}.")


class AdapterStorage:
    """A folder of S3 or Google Cloud Storage that has a folder for each adapter."""

    def __init__(self, uri: str) -> None:
        self.uri = uri.rstrip("/")

    def names(self) -> list[str]:
        """The adapters that there are; none where the folder is not there, which to S3 is the same as an empty one.

        Raises:
            OSError: the bucket is not there, does not answer, or may not be read.
        """
        try:
            found = within(ANSWER_TIMEOUT_S, lambda: self._files.get_file_info(fs.FileSelector(self._path)))
        except FileNotFoundError:
            return []
        names = [item.base_name for item in found if item.type == fs.FileType.Directory]
        return sorted(name for name in names if NAME.fullmatch(name))

    def holds(self, model_id: str) -> bool:
        """Whether there is the adapter that `model_id` names.

        Raises:
            AdapterError: the storage does not answer, or may not be read.
        """
        name = adapter_of(model_id)
        if not NAME.fullmatch(name):
            return False
        found = self._for_client(model_id, ANSWER_TIMEOUT_S, lambda: self._info(f"{name}/{CONFIG}"))
        return found.type == fs.FileType.File

    def download(self, model_id: str, folder: Path, timeout_s: float) -> None:
        """Copy the two files of an adapter that is there into `folder`.

        Raises:
            AdapterError: it has no weights, or they cannot be had in time.
        """

        def copy() -> None:
            for file in (CONFIG, WEIGHTS):
                source = f"{self._path}/{adapter_of(model_id)}/{file}"
                fs.copy_files(source, str(folder / file), self._files, fs.LocalFileSystem())

        try:
            self._for_client(model_id, timeout_s, copy)
        except FileNotFoundError:
            raise AdapterError(400, f"{model_id} cannot be served: its folder has no {WEIGHTS}.") from None

    @cached_property
    def _place(self) -> tuple[fs.FileSystem, str]:
        return fs.FileSystem.from_uri(self.uri)

    @property
    def _files(self) -> fs.FileSystem:
        return self._place[0]

    @property
    def _path(self) -> str:
        return self._place[1]

    def _info(self, file: str) -> fs.FileInfo:
        return self._files.get_file_info(f"{self._path}/{file}")

    def _for_client(self, model_id: str, timeout_s: float, call: Callable[[], T]) -> T:
        """What `call` returns; where the storage fails, the client gets an error, and the log has the reason."""
        try:
            return within(timeout_s, call)
        except FileNotFoundError:
            raise
        except OSError as error:
            logger.error("%s cannot be read from %s: %s", model_id, self.uri, error)
            denied = "ACCESS_DENIED" in str(error) or "PERMISSION_DENIED" in str(error)
            what = "may not be read by this service" if denied else "does not answer"
            raise AdapterError(503, f"{model_id} cannot be loaded now: the storage of its adapter {what}.") from None


def within(seconds: float, call: Callable[[], T]) -> T:
    """What `call` returns or raises.

    A cloud's client may try for minutes before it gives up, and then its thread is left to itself.

    Raises:
        TimeoutError: it takes longer, which is an OSError.
    """
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(call())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    try:
        return future.result(seconds)
    except TimeoutError:
        raise TimeoutError(f"no answer within {seconds:g} s") from None
