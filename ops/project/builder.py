"""The Python side of a service: its serve.py, imported."""

import importlib
import inspect
import logging
import os
import traceback
from collections.abc import Callable
from types import ModuleType
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from ops.console.cli import CommandError
from ops.project.catalogue import Service

if TYPE_CHECKING:  # slow to import
    from ray.serve.llm import LLMConfig

    from serving.app import ServiceArgs


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
    for library in ("ray.serve", "httpx", "httpx2"):  # the last one is in OpenAI's SDK
        logging.getLogger(library).setLevel(logging.WARNING)
    return module, builder


def served(service: Service, options: dict[str, Any]) -> tuple["ServiceArgs", list["LLMConfig"]]:
    """The arguments as the service's builder takes them, and the models that it serves with them.

    Args:
        options: such as the `args` of its service.yaml.

    Raises:
        CommandError: the builder does not take them.
    """
    return resolved(service.name, *import_application(service), options)


def resolved(
    name: str, category: ModuleType, builder: Callable, options: dict[str, Any]
) -> tuple["ServiceArgs", list["LLMConfig"]]:
    """The same as `served`, for the service of that name whose module and builder are imported already."""
    from serving.app import served

    (kind,) = [parameter.annotation for parameter in inspect.signature(builder).parameters.values()]
    if "model" in options and "model" not in kind.model_fields:
        raise CommandError(
            f"{name} serves all of its models at once, so none can be chosen: {', '.join(category.MODELS)}. "
            "Leave the model out; requests name it."
        )
    try:
        args = kind(**options)
        return args, list(served(category.MODELS, args, category.GATED).values())
    except ValidationError as error:
        raise CommandError(fault_of(error, list(kind.model_fields))) from None
    except ValueError as error:
        raise CommandError(str(error)) from None


def fault_of(error: ValidationError, known: list[str]) -> str:
    """The first fault of some arguments, in a sentence."""
    fault = error.errors()[0]
    name = ".".join(map(str, fault["loc"]))
    if fault["type"] == "extra_forbidden":
        return f"There is no {name} among the args. There are: {', '.join(known)}."
    return f"{name} is {fault['input']!r}. {fault['msg']}."
