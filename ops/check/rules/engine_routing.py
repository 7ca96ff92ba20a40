"""The way of a request to a replica: direct streaming, and the routers that choose a replica."""

from collections.abc import Iterator
from typing import Any

from ops.check import registry
from ops.check.finding import Finding, make_finding
from ops.project import serve_py
from ops.project.coercion import mapping, number, sequence
from ops.project.place import Place
from ops.project.serve_py import Build, Model, SourceFile
from ops.project.service_files import ServiceFiles

DIRECT_STREAMING = "RAY_SERVE_LLM_ENABLE_DIRECT_STREAMING"
HAPROXY = "RAY_SERVE_ENABLE_HA_PROXY"
FORWARD_BODY = "RAY_SERVE_INGRESS_REQUEST_ROUTER_FORWARD_BODY"
RAYS_PREFIX_ROUTER = "PrefixCacheAffinityRouter"
PREFIX_ROUTERS = (RAYS_PREFIX_ROUTER, "PrefixRouter")
READ_THE_PROMPT = (*PREFIX_ROUTERS, "KVAwareRouter")


def findings(files: ServiceFiles) -> Iterator[Finding]:
    yield from without_haproxy(files)
    for arguments, place_of in builds(files):
        yield from ingress_settings(files, arguments, place_of)
    yield from routing_argument(files)
    for model in files.models.values():
        yield from adapters(files, model)
        yield from prompt_routers(files, model)
        yield from prefix_router(files, model)


def builds(files: ServiceFiles) -> Iterator[tuple[dict[str, Any], Any]]:
    """The arguments of each call that builds the application, and a function from an argument to its place."""
    for build in files.serve.built:
        if build.function.endswith("openai_app"):
            yield build.arguments, lambda name, build=build: place_of_argument(build, name)
    if str(files.application.get("import_path")).startswith("ray."):
        yield files.arguments, lambda name: files.yaml.place("applications", 0, "args", name)


def place_of_argument(build: Build, name: str) -> Place:
    """The place of a keyword of the call, or of a key in the dict that it gets."""
    file = SourceFile.of(build.place.file)
    call = file.call_at(build.place.line)
    for node in [call, *getattr(call, "args", [])]:
        if node is not None and (found := serve_py.search(file, node, name)):
            return Place(found[0].path, found[2])
    return build.place


def without_haproxy(files: ServiceFiles) -> Iterator[Finding]:
    if files.env_vars.get(DIRECT_STREAMING) == "1" and files.env_vars.get(HAPROXY) != "1":
        yield make_finding(
            files,
            registry.DIRECT_STREAMING_REFUSED,
            files.yaml.place("env_vars", DIRECT_STREAMING),
            what=f"{DIRECT_STREAMING} is set without {HAPROXY}.",
            why="Direct streaming needs HAProxy: Serve refuses the application.",
            fix=f'Set {HAPROXY}: "1" too.',
        )


def ingress_settings(files: ServiceFiles, arguments: dict[str, Any], place_of: Any) -> Iterator[Finding]:
    """What build_openai_app of Ray 2.59 refuses with direct streaming, and Serve with HAProxy."""
    refused = "Ray refuses the application."
    if files.env_vars.get(DIRECT_STREAMING) == "1":
        several = len(sequence(arguments.get("llm_configs"))) > 1
        for name in ("ingress_cls_config", "ingress_deployment_config"):
            if arguments.get(name) and not several:
                yield make_finding(
                    files,
                    registry.DIRECT_STREAMING_REFUSED,
                    place_of(name),
                    what=f"`{name}` is set with direct streaming, which has no ingress deployment.",
                    why=refused,
                    fix="Remove it: `deployment_config` of the model is for its replicas. Or turn direct streaming "
                    f"off: take {DIRECT_STREAMING} out of `env_vars`.",
                )
        if several:
            yield make_finding(
                files,
                registry.DIRECT_STREAMING_REFUSED,
                files.yaml.place("env_vars", DIRECT_STREAMING),
                what=f"{len(arguments['llm_configs'])} models are served with direct streaming, which takes one.",
                why=refused,
                fix="Deploy a service for each model, or turn direct streaming off: take "
                f"{DIRECT_STREAMING} out of `env_vars`.",
            )
    elif files.env_vars.get(HAPROXY) == "1":
        config = mapping(arguments.get("ingress_deployment_config")).get("request_router_config")
        if router_class(config):
            yield make_finding(
                files,
                registry.ROUTER_REFUSED,
                place_of("ingress_deployment_config"),
                what=f"The ingress has a request router, {router_class(config)}, and HAProxy is on.",
                why="HAProxy chooses the ingress replica itself: Serve refuses the application.",
                fix="Move `request_router_config` to the model's `deployment_config`.",
            )


def adapters(files: ServiceFiles, model: Model) -> Iterator[Finding]:
    """Source: Replica._raise_if_multiplexing_with_direct_ingress of Ray 2.59."""
    if files.direct_streaming and model.get("lora_config"):
        yield make_finding(
            files,
            registry.DIRECT_STREAMING_REFUSED,
            model.place("lora_config"),
            what="`lora_config` is set with direct streaming.",
            why="Adapters are loaded by Serve's model multiplexing, which Serve refuses in a replica that requests "
            "reach directly: no replica starts.",
            fix=f"Take {DIRECT_STREAMING} out of `env_vars`, or give the adapters as `lora_modules` in "
            "`engine_kwargs`.",
        )


def router_config(model: Model) -> dict[str, Any]:
    return mapping(model.get("deployment_config", "request_router_config"))


def router_class(config: Any) -> str:
    """The name of a router's class without its module; empty where none is given."""
    given = mapping(config).get("request_router_class") or ""
    return given.__name__ if isinstance(given, type) else str(given).replace(":", ".").rpartition(".")[2]


def place_of_router(model: Model) -> Place:
    return model.place("deployment_config", "request_router_config", "request_router_class")


def sees_no_prompt(files: ServiceFiles) -> bool:
    return files.direct_streaming and files.env_vars.get(FORWARD_BODY) != "1"


def routing_argument(files: ServiceFiles) -> Iterator[Finding]:
    if files.arguments.get("routing") == "prefix" and sees_no_prompt(files):
        yield make_finding(
            files,
            registry.ROUTER_REFUSED,
            files.yaml.place("applications", 0, "args", "routing"),
            what=f"`routing` is prefix, and {FORWARD_BODY} is not set.",
            why="HAProxy then does not send the prompt to the router: serving/routing/choice.py refuses to build the "
            "application.",
            fix=f'Set {FORWARD_BODY}: "1" in `env_vars`, or take `routing: session`, which needs a header only.',
        )


def prompt_routers(files: ServiceFiles, model: Model) -> Iterator[Finding]:
    """Routers that read the prompt, where they do not get it."""
    name = router_class(router_config(model))
    if name == "KVAwareRouter" and not files.direct_streaming:
        yield make_finding(
            files,
            registry.ROUTER_WITHOUT_PROMPTS,
            place_of_router(model),
            what="KVAwareRouter is set without direct streaming.",
            why="What it chooses by is only built in the router of direct streaming; elsewhere any replica is taken.",
            fix=f'Set {HAPROXY}, {DIRECT_STREAMING} and {FORWARD_BODY} to "1", or take another router.',
        )
    elif name == RAYS_PREFIX_ROUTER and files.direct_streaming:
        yield make_finding(
            files,
            registry.PREFIX_ROUTER_REMEMBERS_NOTHING,
            place_of_router(model),
            what=f"{name} is set with direct streaming.",
        )
    elif name in READ_THE_PROMPT and sees_no_prompt(files):
        yield make_finding(
            files,
            registry.ROUTER_WITHOUT_PROMPTS,
            place_of_router(model),
            what=f"{name} is set with direct streaming, and {FORWARD_BODY} is not.",
            why="HAProxy then does not send the body of a request to the router, which never sees a prompt.",
            fix=f'Set {FORWARD_BODY}: "1" in `env_vars` of service.yaml, or take ConsistentHashRouter, which needs a '
            "header only.",
        )


def prefix_router(files: ServiceFiles, model: Model) -> Iterator[Finding]:
    """Defaults of PrefixCacheAffinityRouter.initialize_state in Ray 2.59 that do harm in production."""
    config = router_config(model)
    name = router_class(config)
    if name not in PREFIX_ROUTERS:
        return
    arguments = mapping(config.get("request_router_kwargs"))
    way = ("deployment_config", "request_router_config", "request_router_kwargs")
    threshold = arguments.get("imbalanced_threshold")
    if (number(threshold) or float("inf")) == float("inf") and threshold != 0:
        yield make_finding(
            files,
            registry.PREFIX_ROUTER_IGNORES_LOAD,
            model.place(*way, "imbalanced_threshold"),
            what=f"{name} has no `imbalanced_threshold`.",
        )
    if arguments.get("do_eviction") is not True:
        yield make_finding(
            files,
            registry.PREFIX_ROUTER_NEVER_FORGETS,
            model.place(*way, "do_eviction"),
            what=f"{name} does not have `do_eviction=True`.",
        )
