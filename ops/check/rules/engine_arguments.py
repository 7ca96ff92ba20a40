"""`engine_kwargs`: names and values that the installed vLLM takes."""

import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import Annotated, Any, get_args

from pydantic import PydanticSchemaGenerationError, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from ops.check import registry
from ops.check.finding import Finding, make_finding
from ops.console.suggestions import instead, nearest
from ops.project.coercion import mapping
from ops.project.place import Place
from ops.project.service_files import ServiceFiles

Fields = dict[str, dataclasses.Field]
LONG = 20
"""A message lists no more choices than this; beyond that it names the nearest."""


def findings(files: ServiceFiles) -> Iterator[Finding]:
    """Needs vLLM."""
    for model in files.models.values():
        place_of = functools.partial(model.place, "engine_kwargs")
        yield from of_fields(files, mapping(model.engine), engine_fields(), place_of, "engine_kwargs")
        yield from parsers(files, mapping(model.engine), place_of)


def engine_fields() -> Fields:
    """What Ray routes to vLLM's engine and to its server. Source: VLLMEngineConfig.from_llm_config of Ray 2.59."""
    from vllm.engine.arg_utils import AsyncEngineArgs
    from vllm.entrypoints.openai.cli_args import FrontendArgs

    return fields_of(AsyncEngineArgs, FrontendArgs)


@functools.cache
def fields_of(*classes: Any) -> Fields:
    return {field.name: field for cls in classes for field in dataclasses.fields(cls)}


def of_fields(
    files: ServiceFiles, given: dict[str, Any], known: Fields, place_of: Callable[..., Place], holder: str
) -> Iterator[Finding]:
    """Names that are not known, and values that are wrong, in `engine_kwargs` or a dict in it."""
    for name, value in given.items():
        if name not in known:
            yield unknown(files, str(name), known, given, place_of, holder)
        elif value != known[name].default:
            yield from wrong_value(files, known[name], value, place_of, holder)


def unknown(
    files: ServiceFiles, name: str, known: Fields, given: dict[str, Any], place_of: Callable[..., Place], holder: str
) -> Finding:
    return make_finding(
        files,
        registry.UNKNOWN_ENGINE_ARGUMENT,
        place_of(name),
        what=f"`{holder}` has `{name}`, which the installed vLLM does not know.",
        fix=instead(name, known, "Remove it, or see what replaced it in vLLM's release notes.", given=given),
    )


def wrong_value(
    files: ServiceFiles, field: dataclasses.Field, value: Any, place_of: Callable[..., Place], holder: str
) -> Iterator[Finding]:
    name, here = field.name, functools.partial(place_of, field.name)
    shown = name if holder == "engine_kwargs" else f"{holder}.{name}"
    structure = structure_of(field)
    if structure and isinstance(value, dict):
        known = fields_of(structure)
        if name == "speculative_config":  # which vLLM makes with what it adds to it, so each field is looked at here
            written = {str(key).replace("-", "_"): item for key, item in value.items()}  # as vLLM takes it
            yield from of_fields(files, written, known, here, name)
            return
        strange = [key for key in value if key not in known]
        yield from (unknown(files, str(key), known, value, here, name) for key in strange)
        value = {key: item for key, item in value.items() if key in known}
    if choices := open_choices().get(name):
        if isinstance(value, str) and value.lower() not in [choice.lower() for choice in choices]:
            yield bad_value(files, here(), shown, value, choice_sentence(value, choices))
    elif adapter := adapter_of(field):
        for way, wrong, reason in faults(adapter, value):
            yield bad_value(files, here(*way), ".".join([shown, *map(str, way)]), wrong, reason)


def faults(adapter: TypeAdapter, value: Any) -> Iterator[tuple[tuple[Any, ...], Any, str]]:
    """The way into the value, what is there, and what is wrong with it; one for each way."""
    try:
        taken = adapter.validate_python(value)
    except ValidationError as error:
        found = {way_into(value, fault["loc"]): fault for fault in reversed(error.errors())}
        for way, fault in found.items():
            wrong = functools.reduce(lambda holder, step: holder[step], way, value)
            yield way, wrong, sentence(fault, wrong)
    except Exception as error:  # a structured configuration refuses its fields in its own ways
        yield (), value, f"Write what vLLM takes; of this it says {type(error).__name__}: {error}"
    else:
        if not same(value, taken):
            yield (), value, f"Write {taken!r}, {kind(taken)}"


def way_into(value: Any, location: tuple[Any, ...]) -> tuple[Any, ...]:
    """The steps of an error's location that lead into the value; the others name the type that was tried."""
    way: list[Any] = []
    for step in location:
        try:
            value = value[step]
        except (KeyError, IndexError, TypeError):
            break
        way.append(step)
    return tuple(way)


def bad_value(files: ServiceFiles, place: Place, name: str, value: Any, reason: str) -> Finding:
    shown = repr(value) if len(repr(value)) <= 80 else f"{repr(value)[:80]}..."
    return make_finding(
        files,
        registry.INVALID_ENGINE_ARGUMENT,
        place,
        what=f"`{name}` is {shown}, {kind(value)}.",
        fix=f"{reason}.",
    )


def kind(value: Any) -> str:
    names = {bool: "true or false", int: "a whole number", float: "a number", str: "a text", list: "a list"}
    return names.get(type(value), f"a {type(value).__name__}")


def sentence(fault: Any, value: Any) -> str:
    """What pydantic says about a value, with the nearest of its choices."""
    if fault["type"] == "literal_error" and isinstance(value, str):
        choices = fault["ctx"]["expected"].replace("'", "").replace(" or ", ", ").split(", ")
        return choice_sentence(value, choices)
    asked = fault["msg"].removeprefix("Value error, ").rstrip(".")
    return f"Write what vLLM asks for: {asked[0].lower()}{asked[1:]}"


def choice_sentence(value: str, choices: list[str]) -> str:
    if close := nearest(value, choices):
        return f"Write {close} instead, if that is meant"
    return f"Write one of {', '.join(choices)}" if len(choices) <= LONG else "vLLM's documentation lists the choices"


def same(given: Any, taken: Any) -> bool:
    """Whether pydantic took a value as it was given; a text that it read as a number, or as true, is not."""
    if isinstance(given, dict) and isinstance(taken, dict):
        return all(same(value, taken.get(key)) for key, value in given.items())
    if isinstance(given, list) and isinstance(taken, list):
        return all(map(same, given, taken))
    simple = (bool, int, float, str)
    if type(given) not in simple or type(taken) not in simple:
        return True
    return type(given) is type(taken) or (type(given) is int and type(taken) is float)


def adapter_of(field: dataclasses.Field) -> TypeAdapter | None:
    """What a value must be: the type of the field, within the bounds of the configuration that it ends up in."""
    if isinstance(field.type, str):  # a name that vLLM imports for type checkers only
        return None
    own = field.default.metadata if isinstance(field.default, FieldInfo) else bounds().get(field.name, [])
    try:
        return TypeAdapter(Annotated[(field.type, *own)] if own else field.type)  # ty: ignore[invalid-type-form]
    except PydanticSchemaGenerationError:  # a type of torch
        return None


@functools.cache
def bounds() -> dict[str, list[Any]]:
    """Bounds such as `gt=0`, by name: EngineArgs itself has none, the configurations that it is split into have."""
    from vllm import config

    parts = (
        *(config.ModelConfig, config.CacheConfig, config.ParallelConfig, config.SchedulerConfig, config.LoRAConfig),
        *(config.LoadConfig, config.MultiModalConfig, config.ObservabilityConfig, config.UVAOffloadConfig),
    )
    return {
        field.name: field.default.metadata
        for part in parts
        for field in dataclasses.fields(part)
        if isinstance(field.default, FieldInfo) and field.default.metadata
    }


def structure_of(field: dataclasses.Field) -> type | None:
    """The dataclass that vLLM makes of a dict in this field, if it does."""
    from vllm.config import SpeculativeConfig

    if field.name == "speculative_config":
        return SpeculativeConfig
    types = (field.type, *get_args(field.type))
    return next((part for part in types if isinstance(part, type) and dataclasses.is_dataclass(part)), None)


@functools.cache
def open_choices() -> dict[str, list[str]]:
    """The choices of fields whose type allows any text, and of fields that vLLM reads as names of an enumeration."""
    from vllm.config.mamba import MambaBackendEnum
    from vllm.config.model import ModelImpl, TokenizerMode
    from vllm.model_executor.layers.quantization import QUANTIZATION_METHODS
    from vllm.model_executor.model_loader import LoadFormats
    from vllm.transformers_utils.config import ConfigFormat
    from vllm.v1.attention.backends.registry import AttentionBackendEnum

    return {
        "attention_backend": [*AttentionBackendEnum.__members__, "auto"],
        "mamba_backend": list(MambaBackendEnum.__members__),
        "tokenizer_mode": list(get_args(TokenizerMode)),
        "load_format": list(get_args(LoadFormats)),
        "config_format": list(get_args(ConfigFormat)),
        "model_impl": list(get_args(ModelImpl)),
        "quantization": list(QUANTIZATION_METHODS),
    }


def parsers(files: ServiceFiles, engine: dict[str, Any], place_of: Callable[..., Place]) -> Iterator[Finding]:
    from vllm.reasoning import ReasoningParserManager
    from vllm.tool_parsers import ToolParserManager

    registers = {"reasoning_parser": ReasoningParserManager, "tool_call_parser": ToolParserManager}
    for name, register in registers.items():
        given, known = engine.get(name), register.list_registered()
        if isinstance(given, str) and given and given not in known:
            yield make_finding(
                files,
                registry.UNKNOWN_PARSER,
                place_of(name),
                what=f"The {name.replace('_', ' ')} {given} is none that the installed vLLM has.",
                fix=instead(given, known, f"Write one of {', '.join(known)}."),
            )
