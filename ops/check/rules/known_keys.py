"""The keys that each mapping of a service may have, and those that it has besides.

They are taken from the classes of the installed Anyscale SDK and Ray that read the mapping, so they are those of the
versions that are pinned. This imports them, which takes seconds.
"""

import copy
import dataclasses
import difflib
import functools
import inspect
import typing
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from ops.project.yaml_file import Keys as Way


@dataclass(frozen=True)
class KnownKeys:
    """The keys that a mapping may have."""

    below: dict[str, list["KnownKeys"]]
    """Each key, and the keys of a mapping there: none where any are allowed, several where it is of several kinds."""
    refused: bool
    """Whether an unknown key is refused. Else it is ignored without a word."""


class Unknown(NamedTuple):
    """A key that nothing reads."""

    way: Way
    known: KnownKeys


OPENAI_APP = "ray.serve.llm:build_openai_app"
"""The import path of Ray's own builder, whose args hold LLMConfigs."""

# What Ray 2.59.0 reads of experimental_configs, a plain dict. In ray/llm/_internal/serve: core/server/llm_server.py,
# serving_patterns/prefill_decode/pd_server.py, engines/vllm/kv_transfer/{nixl,moriio}.py and
# routing_policies/kv_aware/constants.py. A test looks for others in the installed source.
EXPERIMENTAL = (
    "stream_batching_interval_ms",
    "pd_tokenize_once",
    "_prewarm_prefill_decode",
    "NIXL_SIDE_CHANNEL_PORT_BASE",
    "MORI_HANDSHAKE_PORT_BASE",
    "MORI_NOTIFY_PORT_BASE",
    "KV_EVENTS_PORT_BASE",
    "KV_TOKEN_PORT_BASE",
    "KV_INDEXER_THREADS",
)
# Told otherwise: the first is documented and has no effect, the second is refused with the name that replaced it.
EXPERIMENTAL_GONE = ("num_ingress_replicas", "num_router_replicas")

BESIDES = {
    # Renamed to required_resources; the SDK refuses it and says so.
    "HeadNodeConfig": ("physical_resources",),
    "WorkerNodeGroupConfig": ("physical_resources",),
    # Other spellings that PhysicalResources.from_dict takes.
    "PhysicalResources": ("cpu", "gpu", "tpu", "Memory", "anyscale_tpu_hosts"),
    # Turns gRPC on: PrivateServiceSDK._build_grpc_protocol_config.
    "gRPCOptionsSchema": ("service_names",),
}
"""Keys that are read without being fields of the class."""


def of(kind: Any) -> KnownKeys:
    """The keys of a dataclass or pydantic model, and of those that its fields hold."""
    if dataclasses.is_dataclass(kind):
        annotations, refused = typing.get_type_hints(kind), True
        names = [field.name for field in dataclasses.fields(kind)]
    else:
        annotations = {name: field.annotation for name, field in kind.model_fields.items()}
        names, refused = list(annotations), kind.model_config.get("extra") == "forbid"
    below = {name: [PLAIN_DICTS[name]()] if name in PLAIN_DICTS else kinds(annotations[name]) for name in names}
    return KnownKeys(below | {name: [] for name in BESIDES.get(kind.__name__, ())}, refused)


def kinds(annotation: Any) -> list[KnownKeys]:
    """The keys of each class in an annotation that has a fixed set of keys."""
    if arguments := typing.get_args(annotation):
        return [known for argument in arguments for known in kinds(argument)]
    if not isinstance(annotation, type):
        return []
    fixed = getattr(annotation, "model_config", {}).get("extra") != "allow"
    has_fields = dataclasses.is_dataclass(annotation) or hasattr(annotation, "model_fields")
    return [of(annotation)] if fixed and has_fields else []


def deployment() -> KnownKeys:
    """The options of a Serve deployment."""
    from ray import serve
    from ray.serve.schema import DeploymentSchema

    options = set(inspect.signature(serve.deployment).parameters) - {"_func_or_class", "version"}
    typed = of(DeploymentSchema).below
    (actor,) = typed["ray_actor_options"]
    typed["ray_actor_options"] = [dataclasses.replace(actor, refused=True)]  # by ReplicaConfig, not by the schema
    return KnownKeys({name: typed.get(name, []) for name in sorted(options)}, refused=True)


def runtime_env() -> KnownKeys:
    from ray.runtime_env import RuntimeEnv

    named = {name for name in inspect.signature(RuntimeEnv).parameters if not name.startswith("_")} - {"kwargs"}
    return KnownKeys({name: [] for name in sorted(named | RuntimeEnv.known_fields)}, refused=False)


def placement_group() -> KnownKeys:
    from ray.llm._internal.common.placement import PlacementGroupConfig

    return of(PlacementGroupConfig)


def autoscaling_policy() -> KnownKeys:
    from ray.serve.config import AutoscalingPolicy

    return of(AutoscalingPolicy)


def experimental() -> KnownKeys:
    return KnownKeys({name: [] for name in EXPERIMENTAL + EXPERIMENTAL_GONE}, refused=False)


PLAIN_DICTS: dict[str, Callable[[], KnownKeys]] = {
    "runtime_env": runtime_env,
    "deployment_config": deployment,
    "ingress_deployment_config": deployment,
    "placement_group_config": placement_group,
    "autoscaling_policy": autoscaling_policy,
    "experimental_configs": experimental,
}
"""Fields that are annotated as plain dicts, and what reads them."""


@functools.cache
def service() -> KnownKeys:
    """The keys of a service.yaml; what the SDK hands on unchanged has the keys that Serve reads."""
    from anyscale.service.models import ServiceConfig
    from ray.serve.schema import ServeDeploySchema

    sdk, serve = of(ServiceConfig), of(ServeDeploySchema).below
    return KnownKeys({name: below or serve.get(name, []) for name, below in sdk.below.items()}, sdk.refused)


@functools.cache
def model() -> KnownKeys:
    """The keys of an LLMConfig; engine_kwargs may have any, because they are vLLM's."""
    from ray.llm._internal.serve.core.configs.llm_config import LLMConfig  # ray.serve.llm would import vLLM too

    return of(LLMConfig)


@functools.cache
def openai_app() -> KnownKeys:
    """The keys of the args of `ray.serve.llm:build_openai_app`."""
    from ray.serve.llm import LLMServingArgs

    return of(LLMServingArgs)


def unknown(value: Any, known: list[KnownKeys], way: Way = ()) -> Iterator[Unknown]:
    """Every key of a mapping, and of what is below it, that nothing reads."""
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from unknown(item, known, (*way, index))
    elif isinstance(value, dict) and known:
        likely = max(known, key=lambda kind: len(kind.below.keys() & value.keys()))
        for key, item in value.items():
            if key in likely.below:
                yield from unknown(item, likely.below[key], (*way, key))
            else:
                yield Unknown((*way, key), likely)


def corrected(value: Any, unread: list[Unknown]) -> tuple[Any, list[Way]]:
    """A copy in which unknown keys have the nearest known name, or are left out; and the ways that only it has."""
    copied, renamed = copy.deepcopy(value), []
    for way, known in unread:
        holder = value_at(copied, way[:-1])
        item = holder.pop(way[-1])
        name = nearest(way[-1], known.below)
        if name and name not in holder:
            holder[name] = item
            renamed.append((*way[:-1], name))
    return copied, renamed


def value_at(data: Any, way: Way) -> Any:
    return functools.reduce(lambda holder, key: holder[key], way, data)


def nearest(key: Any, options: Iterable[str]) -> str | None:
    """The option that is spelled most like it, else the only one that contains it, as min_replicas contains min."""
    alike = difflib.get_close_matches(str(key), list(options), n=1)
    longer = [option for option in options if str(key) in option]
    return alike[0] if alike else longer[0] if len(longer) == 1 else None


def instead(key: Any, options: Iterable[str], given: Iterable[Any] = ()) -> str:
    """What to write for a key or value that is unknown, in a sentence.

    Args:
        given: keys that stand beside it already.
    """
    close, free = nearest(key, options), sorted(set(options) - set(given))
    return f"Write {close}." if close in free else f"Remove it, or write one of: {', '.join(free)}."


def where_it_belongs(key: Any, root: KnownKeys, data: Any) -> str:
    """What to do with a key that other mappings of `data` may have, in a sentence; empty where none may have it.

    Args:
        root: the keys that `data` may have.
    """
    holders = sorted(holders_of(key, root), key=len)
    names = [dotted(holder) or "the top level" for holder in holders]
    for holder, name in zip(holders, names, strict=True):
        if is_given(key, data, holder):
            return f"Remove it: it belongs in {name}, which has it."
    return f"It belongs in {' or '.join(names[:2])}: move it there." if names else ""


def is_given(key: Any, data: Any, holder: Way) -> bool:
    """Whether a mapping of `data` has a key; every item of a list on the way is looked at."""
    if isinstance(data, list):
        return any(is_given(key, item, holder) for item in data)
    if not isinstance(data, dict):
        return False
    return is_given(key, data.get(holder[0]), holder[1:]) if holder else key in data


def holders_of(key: Any, known: KnownKeys, way: Way = ()) -> Iterator[Way]:
    """The ways to the mappings that may have a key."""
    if key in known.below:
        yield way
    for name, kinds_below in known.below.items():
        for below in kinds_below:
            yield from holders_of(key, below, (*way, name))


def dotted(way: Way) -> str:
    """The way as text, such as `compute_config.worker_nodes[0]`."""
    text = ""
    for key in way:
        text += f"[{key}]" if isinstance(key, int) else f".{key}"
    return text.lstrip(".")
