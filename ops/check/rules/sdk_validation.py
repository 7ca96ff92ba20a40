"""Values that the Anyscale SDK or Ray refuses, each reported by the class that refuses it.

Unknown keys are reported separately, and the first would hide all else: they are corrected before a value is tried.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from types import SimpleNamespace
from typing import Any, NamedTuple

from pydantic import ValidationError

from ops.check import registry
from ops.check.finding import Finding, make_finding
from ops.check.rules import known_keys
from ops.project import serve_py
from ops.project.serve_py import Model
from ops.project.service_files import ServiceFiles
from ops.project.yaml_file import Keys as Way

IMPORT_PATH = {"import_path": "module:app"}
"""One that the SDK takes."""


class Fault(NamedTuple):
    way: Way
    message: str


def findings(files: ServiceFiles) -> Iterator[Finding]:
    in_models = list(model_findings(files))
    yield from in_models
    config, renamed = known_keys.corrected(
        files.yaml.data, list(known_keys.unknown(files.yaml.data, [known_keys.service()]))
    )
    sdk = [("The Anyscale SDK", fault) for fault in by_sdk(config)]
    serve = [("Ray Serve", fault) for fault in by_serve(config)]
    llm = [("Ray Serve LLM", fault) for fault in ([] if in_models else by_openai_app(files))]
    told: set[Way] = set()
    for who, fault in sdk + serve + llm:
        if fault.way not in told and not within(fault.way, renamed):
            told.add(fault.way)
            yield make_finding(
                files,
                registry.REFUSED_VALUE,
                files.yaml.place(*fault.way),
                what=f"{who} does not take {known_keys.dotted(fault.way) or 'service.yaml'}: {sentence(fault.message)}",
            )


def by_sdk(config: dict[str, Any]) -> Iterator[Fault]:
    """ServiceConfig looks at each of its fields by itself, so they are tried one by one, and every fault is found."""
    from anyscale.service.models import ServiceConfig

    for key, value in config.items():
        if key == "compute_config" and isinstance(value, dict):
            yield from by_compute_config(value, (key,))
        else:
            fields = {"applications": [IMPORT_PATH]} | {key: value}
            if key == "applications" and isinstance(value, list):  # service_yaml_import reports import paths
                fields = {key: [item | IMPORT_PATH if isinstance(item, dict) else item for item in value]}
            yield from raised(partial(ServiceConfig.from_dict, fields), (key,), value)


def by_compute_config(config: dict[str, Any], way: Way) -> Iterator[Fault]:
    """Its fields and node groups one by one; where they are right, the whole."""
    from anyscale.compute_config.models import HeadNodeConfig, WorkerNodeGroupConfig, compute_config_type_from_dict

    faults: list[Fault] = []
    for key, value in config.items():
        here, groups = (*way, key), list(enumerate(value)) if isinstance(value, list) else []
        if key == "head_node" and isinstance(value, dict):
            faults += raised(partial(HeadNodeConfig.from_dict, value), here, value)
        elif key == "worker_nodes" and groups:
            for index, group in groups:
                faults += raised(partial(WorkerNodeGroupConfig.from_dict, group), (*here, index), group)
        elif key == "configs" and groups:
            for index, each in groups:
                faults += by_compute_config(each, (*here, index)) if isinstance(each, dict) else []
        elif key != "auto_select_worker_config":  # goes by what the others are
            faults += raised(partial(compute_config_type_from_dict, {key: value}), here, value)
    yield from faults or raised(partial(compute_config_type_from_dict, config), way, config)


def by_serve(config: dict[str, Any]) -> Iterator[Fault]:
    """What the SDK makes of it for Serve, as Serve reads it."""
    from anyscale.service._private.service_sdk import PrivateServiceSDK
    from anyscale.service.models import ServiceConfig
    from ray.serve.schema import ServeDeploySchema

    fields = dict.fromkeys(ServiceConfig.__dataclass_fields__) | config
    sdk: Any = PrivateServiceSDK  # its method is called without an object, and with any that has these fields
    serve = sdk._build_ray_serve_config(None, SimpleNamespace(**fields))
    if isinstance(serve["applications"], list):
        serve["applications"] = [without_folders(application) for application in serve["applications"]]
    yield from raised(lambda: ServeDeploySchema(**serve), (), serve)


def without_folders(application: Any) -> Any:
    """Serve takes only URIs of folders; the SDK uploads those on this machine and puts their URIs there."""
    if not (isinstance(application, dict) and isinstance(application.get("runtime_env"), dict)):
        return application
    runtime_env = application["runtime_env"].items()
    kept = {key: value for key, value in runtime_env if key not in ("working_dir", "py_modules")}
    return application | {"runtime_env": kept}


def by_openai_app(files: ServiceFiles) -> Iterator[Fault]:
    """Ray's own builder, where service.yaml names that; model_findings reports what it says about each LLMConfig."""
    if files.application.get("import_path") == known_keys.OPENAI_APP:
        from ray.serve.llm import LLMServingArgs  # this imports vLLM

        unread = list(known_keys.unknown(files.arguments, [known_keys.openai_app()]))
        arguments, renamed = known_keys.corrected(files.arguments, unread)
        for fault in raised(partial(LLMServingArgs.model_validate, arguments), (), arguments):
            if not within(fault.way, renamed):
                yield fault._replace(way=("applications", 0, "args", *fault.way))


def model_findings(files: ServiceFiles) -> Iterator[Finding]:
    with serve_py.importing(files.root):  # a class may be named by its import path
        faults = [
            (model.place(*map(str, fault.way)), fault) for model in files.models.values() for fault in by_model(model)
        ]
    for place, fault in dict.fromkeys(faults):  # several models share a line
        yield make_finding(
            files,
            registry.REFUSED_BY_LLM_CONFIG,
            place,
            what=f"Ray does not take {known_keys.dotted(fault.way) or 'this LLMConfig'}: {sentence(fault.message)}",
        )


def by_model(model: Model) -> Iterator[Fault]:
    """LLMConfig, and the classes that read what it only hands on: placement group and options of the deployment."""
    from ray.llm._internal.common.placement import PlacementGroupConfig
    from ray.llm._internal.serve.core.configs.llm_config import LLMConfig  # ray.serve.llm would import vLLM too

    config, renamed = known_keys.corrected(model.config, list(known_keys.unknown(model.config, [known_keys.model()])))
    config = {key: value for key, value in without_classes(config).items() if not is_checked_by_engine(key, value)}
    faults = list(raised(partial(LLMConfig.model_validate, config), (), config))
    if isinstance(group := config.get("placement_group_config"), dict):
        faults += raised(partial(PlacementGroupConfig.model_validate, group), ("placement_group_config",), group)
    if not faults and (options := config.get("deployment_config")):
        faults += raised(partial(as_deployment, options), ("deployment_config",), options)
    by_way = {fault.way: fault for fault in faults}
    yield from (fault for way, fault in by_way.items() if not within(way, renamed))


def is_checked_by_engine(key: str, value: Any) -> bool:
    """What is in these is checked by engine.py, which knows more of it."""
    return key in ("engine_kwargs", "experimental_configs") and isinstance(value, dict)


def within(way: Way, others: Iterable[Way]) -> bool:
    return any(way[: len(other)] == other for other in others)


def as_deployment(options: dict[str, Any]) -> None:
    """Raises what Serve and Ray's LLMServer raise of these options of a deployment."""
    from ray import serve

    # As LLMServer.get_deployment_options, which cannot be asked: it starts Ray.
    for name in ("placement_group_bundles", "placement_group_strategy"):
        if name in options:
            raise ValueError(f"'{name}' must not be in deployment_config. Set placement_group_config of the LLMConfig.")
    serve.deployment(**options)(AnyDeployment)


class AnyDeployment:
    """Stands for the class of a deployment."""


def without_classes(value: Any) -> Any:
    """Without keys whose value serve.py imports as a class: from Ray it is a stand-in, which Ray would not know."""
    if not isinstance(value, dict):
        return value
    return {key: without_classes(item) for key, item in value.items() if not isinstance(item, type)}


def raised(load: Callable[[], Any], way: Way, value: Any) -> Iterator[Fault]:
    """The faults that loading `value`, which is at `way`, raises."""
    try:
        load()
    except ValidationError as error:
        for fault in faults_of(error):
            yield Fault((*way, *nearest_way(fault, value)), fault.message)
    except Exception as error:
        message = str(error).split("\n")[0]
        yield Fault((*way, *nearest_way(Fault((), message), value)), message)


def faults_of(error: ValidationError, way: Way = ()) -> Iterator[Fault]:
    """The faults of a pydantic error, and of an error that one of Ray's validators caught and raised again."""
    for fault in error.errors(include_url=False):
        here, own = (*way, *fault["loc"]), fault.get("ctx", {}).get("error")
        caught = getattr(own, "__cause__", None)
        if isinstance(caught, ValidationError):
            yield from faults_of(caught, here)
        elif own is not None:
            yield Fault(here, str(caught or own))
        elif fault["type"] == "missing":
            yield Fault(here, f"{here[-1]} is missing")
        else:
            given = repr(fault["input"])
            yield Fault(here, fault["msg"] + (f", not {given}" if len(given) < 50 else ""))


def sentence(message: str) -> str:
    return message.rstrip("!. ") + "."


def nearest_way(fault: Fault, value: Any) -> Way:
    """The way of a fault as far as there is something, and from there to the key or value that its message names."""
    way: Way = ()
    for key in fault.way:  # pydantic puts names of classes between the keys
        if (isinstance(value, dict) and key in value) or (isinstance(value, list) and key in range(len(value))):
            way, value = (*way, key), value[key]
    names = re.findall(r"""['"`](\w+)""", fault.message) + re.findall(r"\w+_\w+", fault.message)
    below = list(ways(value))
    for name in names:
        for found, item in below:
            if name in (found[-1], item):
                return (*way, *found)
    return way


def ways(value: Any, way: Way = ()) -> Iterator[tuple[Way, Any]]:
    """Every value below this one, and the way to it."""
    pairs: Iterable[tuple[Any, Any]] = ()
    if isinstance(value, dict):
        pairs = value.items()
    elif isinstance(value, list):
        pairs = enumerate(value)
    for key, item in pairs:
        yield (*way, key), item
        yield from ways(item, (*way, key))
