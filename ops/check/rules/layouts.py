"""Prefill and decode on replicas of their own, and data-parallel ranks: what both sides and all ranks must agree on.

Sources: build_pd_openai_app, build_dp_openai_app and their servers in Ray 2.59 (serving_patterns and
engines/vllm/kv_transfer in ray/llm/_internal/serve), and the NIXL connector of vLLM 0.27.
"""

import re
from collections.abc import Iterator

from ops.check import registry
from ops.check.finding import Finding, make_finding
from ops.check.rules import service_yaml_image
from ops.check.rules.environment_variables import variables
from ops.check.rules.placement import data_parallel, matching, parallel
from ops.check.rules.scaling import most_replicas
from ops.project.coercion import mapping, number
from ops.project.serve_py import Model
from ops.project.service_files import ServiceFiles

ROLES = {"prefill": ("kv_producer", "kv_both"), "decode": ("kv_consumer", "kv_both")}
PORT_BASES = {"prefill": 20000, "decode": 22000}
"""Default of NIXL_SIDE_CHANNEL_PORT_BASE for each side. Source: NixlConnectorBackend and PDServingArgs."""
CONNECTORS = ("NixlConnector", "LMCacheConnectorV1", "MultiConnector", "MoRIIOConnector")
"""The connectors that Ray gives ports and names to: BUILTIN_BACKENDS of kv_transfer/factory.py."""
SIDE_CHANNEL = ("VLLM_NIXL_SIDE_CHANNEL_PORT", "VLLM_NIXL_SIDE_CHANNEL_HOST")
ALIKE = (
    "dtype",
    "kv_cache_dtype",
    "block_size",
    "quantization",
    "hf_overrides",
    "revision",
    "max_model_len",
    "attention_backend",
    "disable_hybrid_kv_cache_manager",
    "tokenizer",
    "tokenizer_mode",
    "chat_template",
    "default_chat_template_kwargs",
)
"""Engine arguments that decide what is in a KV cache, how it lies in memory, or which tokens a prompt becomes."""


def findings(files: ServiceFiles) -> Iterator[Finding]:
    for build in files.serve.built:
        prefill, decode = build.models.get("prefill_config"), build.models.get("decode_config")
        if prefill and decode:
            yield from transfer(files, prefill, decode)
            yield from differences(files, prefill, decode)
            yield from port_bases(files, prefill, decode)
            yield from without_nixl(files, prefill)
        if build.function == "build_dp_openai_app" and "llm_config" in build.models:
            yield from one_rank(files, build.models["llm_config"])
        for model in build.models.values():
            yield from pipeline(files, model)
            yield from side_channel(files, model)
            yield from shared_ports(files, model)
            yield from experts(files, model)
            yield from ignored_strategy(files, model)


def connector(model: Model) -> str | None:
    return mapping(mapping(model.engine).get("kv_transfer_config")).get("kv_connector")


def transfer(files: ServiceFiles, prefill: Model, decode: Model) -> Iterator[Finding]:
    """What each side says about the transfer of KV caches."""
    for side, model in (("prefill", prefill), ("decode", decode)):
        config, name = mapping(mapping(model.engine).get("kv_transfer_config")), connector(model)
        if not config:
            yield make_finding(
                files,
                registry.NO_KV_TRANSFER,
                model.place("engine_kwargs", "kv_transfer_config"),
                what=f"The {side} replicas of {model.id} have no kv_transfer_config.",
                fix='Set kv_transfer_config=dict(kv_connector="NixlConnector", '
                f'kv_role="{ROLES[side][0]}") in their engine_kwargs.',
            )
            continue
        if config.get("kv_role") not in ROLES[side]:
            yield make_finding(
                files,
                registry.WRONG_KV_ROLE,
                model.place("engine_kwargs", "kv_transfer_config", "kv_role"),
                what=f"The {side} replicas of {model.id} have kv_role {config.get('kv_role')}.",
                why="They then do not hand KV caches over, and every prompt is computed by both sides."
                if config.get("kv_role")
                else "vLLM refuses a connector without a role, and no replica starts.",
                fix=f'Set kv_role="{ROLES[side][0]}".',
            )
        if name not in CONNECTORS:
            yield make_finding(
                files,
                registry.UNSUPPORTED_KV_CONNECTOR,
                model.place("engine_kwargs", "kv_transfer_config", "kv_connector"),
                what=f"The kv_connector of the {side} replicas is {name}.",
            )


def differences(files: ServiceFiles, prefill: Model, decode: Model) -> Iterator[Finding]:
    """What must be the same on both sides, and differs."""
    if prefill.id != decode.id or prefill.source != decode.source:
        key = "model_id" if prefill.id != decode.id else "model_source"
        yield make_finding(
            files,
            registry.PREFILL_DECODE_DIFFER,
            prefill.place("model_loading_config", key),
            what=f"Prefill serves {prefill.id} ({prefill.source}), and decode {decode.id} ({decode.source}).",
            why="Ray refuses two model ids. The KV cache of one model means nothing to another.",
            fix=f"Give both the same {key}.",
        )
    for name in ALIKE:
        values = [mapping(model.engine).get(name) for model in (prefill, decode)]
        if values[0] != values[1]:
            yield make_finding(
                files,
                registry.PREFILL_DECODE_DIFFER,
                prefill.place("engine_kwargs", name),
                what=f"`{name}` is {shortened(values[0])} for prefill, and {shortened(values[1])} for decode.",
                why="Prompts become other tokens, or KV caches have another shape or length: NIXL refuses them, or "
                "answers are wrong.",
                fix=f"Give both the same `{name}`.",
            )
    if connector(prefill) and connector(decode) and connector(prefill) != connector(decode):
        yield make_finding(
            files,
            registry.PREFILL_DECODE_DIFFER,
            prefill.place("engine_kwargs", "kv_transfer_config", "kv_connector"),
            what=f"Prefill sends KV caches by {connector(prefill)}, and decode fetches them by {connector(decode)}.",
            why="The two do not understand each other: every prompt is computed twice, or requests fail.",
            fix="Give both the same kv_connector.",
        )


def shortened(value: object) -> str:
    text = "not set" if value is None else repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


def port_base(model: Model, side: str) -> float | None:
    return number(model.get("experimental_configs", "NIXL_SIDE_CHANNEL_PORT_BASE", default=PORT_BASES[side]))


def ports(model: Model) -> int:
    """The ports from the base that a model uses: one for each worker, every second one for data-parallel ranks."""
    tensor, pipeline_parallel = parallel(model)
    ranks = data_parallel(model)
    return 2 * ranks * tensor if ranks > 1 else most_replicas(model) * tensor * pipeline_parallel


def port_bases(files: ServiceFiles, prefill: Model, decode: Model) -> Iterator[Finding]:
    """Ranges of ports that overlap; Ray counts up from a base with each replica."""
    if "NixlConnector" not in (connector(prefill), connector(decode)):
        return
    first, second = port_base(prefill, "prefill"), port_base(decode, "decode")
    if first is None or second is None:
        return
    if first < second + ports(decode) and second < first + ports(prefill):
        owner = decode if "NIXL_SIDE_CHANNEL_PORT_BASE" in mapping(decode.get("experimental_configs")) else prefill
        yield make_finding(
            files,
            registry.NIXL_ADDRESSES_COLLIDE,
            owner.place("experimental_configs", "NIXL_SIDE_CHANNEL_PORT_BASE"),
            what=f"NIXL's ports of prefill replicas begin at {first}, and those of decode replicas at {second}; they "
            f"take {ports(prefill)} and {ports(decode)}.",
            why="On a node with both, the second to start finds its port taken, and does not start.",
            fix="Keep them further apart, such as Ray's own 20000 and 22000.",
        )


def side_channel(files: ServiceFiles, model: Model) -> Iterator[Finding]:
    """Variables that Ray sets for each replica, unless they are set."""
    if connector(model) != "NixlConnector":
        return
    for variable in variables(files):
        if variable.name in SIDE_CHANNEL:
            yield make_finding(
                files,
                registry.NIXL_ADDRESSES_COLLIDE,
                variable.place,
                what=f"{variable.name} is set for all replicas alike.",
                why="Two on one node take the same port, and the second does not start."
                if variable.name.endswith("PORT")
                else "All replicas tell the others the same address, and KV caches are asked for at the wrong node.",
                fix="Remove it: Ray gives each replica its own.",
            )


def shared_ports(files: ServiceFiles, model: Model) -> Iterator[Finding]:
    """Two groups of ranks count their ports from the same base: those on one node collide."""
    ranks = data_parallel(model)
    if connector(model) != "NixlConnector" or ranks == 1 or most_replicas(model) == 1:
        return
    tensor, pipeline_parallel = parallel(model)
    of_node = max((gpus for _, _, gpus in matching(files, model) or []), default=0)
    if ranks * tensor * pipeline_parallel < of_node:
        yield make_finding(
            files,
            registry.NIXL_ADDRESSES_COLLIDE,
            model.place("engine_kwargs", "data_parallel_size"),
            what=f"{model.id} has {most_replicas(model)} groups of {ranks} ranks, and a node holds more than one.",
            why="Ray gives the first rank of each group the same NIXL port: on one node the second does not start.",
            fix="Let a group fill a node: more ranks, or smaller nodes.",
        )


def pipeline(files: ServiceFiles, model: Model) -> Iterator[Finding]:
    _, stages = parallel(model)
    if connector(model) == "NixlConnector" and stages > 1:
        yield make_finding(
            files,
            registry.NIXL_WITH_PIPELINE_STAGES,
            model.place("engine_kwargs", "pipeline_parallel_size"),
            what=f"{model.id} has {stages} pipeline stages and sends or fetches KV caches by NIXL.",
        )


def without_nixl(files: ServiceFiles, model: Model) -> Iterator[Finding]:
    """ray[llm] 2.59 brings nixl, and so do the ray-llm images; other images need it."""
    bases, containerfile = list(service_yaml_image.images(files)), files.yaml.get("containerfile")
    if connector(model) != "NixlConnector" or any("ray-llm" in image for _, image in bases):
        return
    lines = files.lines(files.root / containerfile) if isinstance(containerfile, str) else []
    if not any(re.search(r"\bnixl\b", line.partition("#")[0]) for line in lines):
        yield make_finding(
            files,
            registry.NIXL_NOT_IN_IMAGE,
            bases[0][0] if bases else files.yaml.place("image_uri"),
            what=f"KV caches go by NIXL, and the image does not have it: {bases[0][1] if bases else 'it names none'}.",
        )


def one_rank(files: ServiceFiles, model: Model) -> Iterator[Finding]:
    if data_parallel(model) == 1:
        yield make_finding(
            files,
            registry.DATA_PARALLEL_OF_ONE_RANK,
            model.place("engine_kwargs", "data_parallel_size"),
            what=f"{model.id} is built by build_dp_openai_app, and its data_parallel_size is 1.",
        )


def experts(files: ServiceFiles, model: Model) -> Iterator[Finding]:
    """What data-parallel ranks share out among themselves."""
    ranks, facts = data_parallel(model), files.facts.get(model.source)
    if ranks == 1 or facts is None:
        return
    gpus = ranks * parallel(model)[0]
    place = model.place("engine_kwargs", "data_parallel_size")
    if facts.experts is None:
        yield make_finding(
            files,
            registry.DATA_PARALLEL_WITHOUT_EXPERTS,
            place,
            what=f"{model.id} has no experts, and data_parallel_size is {ranks}.",
        )
    elif not mapping(model.engine).get("enable_expert_parallel"):
        yield make_finding(
            files,
            registry.DATA_PARALLEL_SLICES_EXPERTS,
            place,
            what=f"{model.id} has data_parallel_size {ranks} and no enable_expert_parallel.",
            why=f"Every expert is then cut into {gpus} slices, too small to keep a GPU busy.",
        )
    elif facts.experts.count % gpus:
        yield make_finding(
            files,
            registry.EXPERTS_NOT_SHARED_EVENLY,
            place,
            what=f"{facts.experts.count} experts are shared out among {gpus} GPUs (data_parallel_size x "
            "tensor_parallel_size).",
            fix=f"Take a number of GPUs that divides {facts.experts.count}.",
        )


def ignored_strategy(files: ServiceFiles, model: Model) -> Iterator[Finding]:
    strategy = model.get("placement_group_config", "strategy")
    if strategy not in (None, "PACK") and data_parallel(model) > 1:
        yield make_finding(
            files,
            registry.SETTING_WITHOUT_EFFECT,
            model.place("placement_group_config", "strategy"),
            what=f"The strategy {strategy} is set for ranks that are data parallel.",
            why="Ray places a group of ranks as a whole, by PACK, and ignores it.",
        )
