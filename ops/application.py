"""The Python side of a service: its serve.py, imported."""

import importlib
import logging
import os
import traceback
from collections.abc import Callable
from types import ModuleType

from ops.catalogue import Service
from ops.cli import CommandError


def import_application(service: Service) -> tuple[ModuleType, Callable]:
    """The service's module and its builder function, imported without vLLM's remarks on this machine."""
    module_name, _, builder_name = service.application["import_path"].partition(":")
    level = os.environ.get("VLLM_LOGGING_LEVEL", "INFO")
    os.environ["VLLM_LOGGING_LEVEL"] = "ERROR"
    try:
        module = importlib.import_module(module_name)
        builder = getattr(module, builder_name)
    except Exception as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        raise CommandError(
            f"{service.application['import_path']} cannot be imported. "
            f"{type(error).__name__}: {error} ({place.filename}, line {place.lineno})"
        ) from None
    os.environ["VLLM_LOGGING_LEVEL"] = level  # for the replicas: their logs tell how far a start is
    for library in ("ray.serve", "httpx"):
        logging.getLogger(library).setLevel(logging.WARNING)
    return module, builder
