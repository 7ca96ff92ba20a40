"""What is between a client and the engine: replicas of the ingress, batching of tokens, size of messages."""

import json
from collections.abc import Iterator
from typing import Any

from ops.check import registry
from ops.check.finding import Finding, make_finding
from ops.check.rules.scaling import most_replicas, whole
from ops.check.rules.timeouts import number
from ops.project.coercion import mapping
from ops.project.place import Place
from ops.project.serve_py import Model
from ops.project.service_files import ServiceFiles

GRPC_BYTES = 4 * 2**20  # default of RAY_SERVE_REPLICA_GRPC_MAX_MESSAGE_LENGTH
IMAGE_BYTES = 4_000_000  # guess: a photo of a telephone, in base64
AUTO_REPLICAS = 100  # the most of num_replicas: auto in Ray 2.59
DIRECT_STREAMING = 'set RAY_SERVE_ENABLE_HA_PROXY and RAY_SERVE_LLM_ENABLE_DIRECT_STREAMING to "1" in env_vars.'
INGRESS_BATCH_MS = 50  # default of stream_batching_interval_ms


def findings(files: ServiceFiles) -> Iterator[Finding]:
    if files.direct_streaming:
        return
    yield from one_replica(files)
    for model in files.models.values():
        yield from held_back(files, model)
        yield from too_large(files, model)


def builds(files: ServiceFiles) -> list[tuple[dict[str, Any], Place]]:
    """The arguments of each application that is built, and where serve.py has it built; those in service.yaml too."""
    from_python = [(build.arguments, build.caller) for build in [*files.serve.on_import, *files.serve.built]]
    declared = files.arguments if "llm_configs" in files.arguments else None
    return from_python or ([(declared, files.yaml.place("applications", 0, "args"))] if declared else [])


def one_replica(files: ServiceFiles) -> Iterator[Finding]:
    at_once = sum(most_replicas(model) for model in files.served)
    busiest = max(files.models.values(), key=most_replicas, default=None)
    for arguments, place in builds(files):
        options = mapping(arguments.get("ingress_deployment_config"))
        if busiest and max(at_once, most_replicas(busiest)) > 1 and ingress_replicas(options) == 1:
            several = len(files.served) > 1
            names = " and ".join(model.id for model in files.served) if several else busiest.id
            yield make_finding(
                files,
                registry.ONE_INGRESS_REPLICA,
                place,
                what=f"{names} {'get' if several else 'gets'} up to {max(at_once, most_replicas(busiest))} replicas, "
                "behind one replica of the ingress.",
                fix="Give ingress_deployment_config a num_replicas of two per replica"
                + ("." if several else f", or leave the ingress out: {DIRECT_STREAMING}"),
            )


def ingress_replicas(options: dict[str, Any]) -> int:
    """The most that there ever are with these options of its deployment. Without a target none is ever added."""
    if options.get("num_replicas") == "auto":
        return AUTO_REPLICAS
    scaling = mapping(options.get("autoscaling_config"))
    grows = {"target_ongoing_requests", "policy"} & scaling.keys()
    given = scaling.get("max_replicas" if grows else "min_replicas") if scaling else options.get("num_replicas")
    return whole(given, 1)


def held_back(files: ServiceFiles, model: Model) -> Iterator[Finding]:
    interval = number(model.get("experimental_configs", "stream_batching_interval_ms", default=INGRESS_BATCH_MS))
    if interval:
        yield make_finding(
            files,
            registry.TOKENS_HELD_BACK,
            model.place("experimental_configs", "stream_batching_interval_ms"),
            what=f"The streamed tokens of {model.id} are collected for {interval:g} ms before they are sent.",
        )


def too_large(files: ServiceFiles, model: Model) -> Iterator[Finding]:
    name = "RAY_SERVE_REPLICA_GRPC_MAX_MESSAGE_LENGTH"
    over_grpc = ("RAY_SERVE_USE_GRPC_BY_DEFAULT", "RAY_SERVE_THROUGHPUT_OPTIMIZED")
    images = model.get("engine_kwargs", "limit_mm_per_prompt", "image", default=0)
    if not images or not any(files.env_vars.get(switch) == "1" for switch in over_grpc):
        return
    checks = files.probe.get("checks", default=[])
    probed = max((len(json.dumps(check, default=str)) for check in checks), default=0)
    needed, given = max(probed, int(images) * IMAGE_BYTES), number(files.env_vars.get(name, GRPC_BYTES))
    if given is not None and given < needed:
        yield make_finding(
            files,
            registry.MESSAGES_TOO_LARGE,
            files.yaml.place("env_vars", name),
            what=f"Requests to {model.id} may hold {images} images, some {needed / 1e6:.0f} MB, and a message between "
            f"the ingress and a replica at most {given / 1e6:.1f} MB.",
            fix=f'Set {name}: "{needed}" in env_vars, or use direct streaming, which passes requests on by HTTP.',
        )
