"""Whether each model of a service fits its GPUs, by the arithmetic of ops/sizing/memory."""

from collections.abc import Iterator

from ops.check import registry
from ops.check.finding import Finding, make_finding
from ops.project import model_facts, yaml_file
from ops.project.coercion import mapping, number
from ops.project.model_facts import ModelFacts
from ops.project.place import Place
from ops.project.serve_py import Model
from ops.project.service_files import ServiceFiles
from ops.sizing import memory
from ops.sizing.fit import Fit, fits, heads_fault, look
from ops.sizing.memory.engine_settings import GIB

TYPICAL_TOKENS = 1500
"""Tokens of a request with its answer; guess: a conversation of 1,000 tokens and an answer of 500. A service
that cannot hold as many of these as its autoscaling aims at would preempt all day. Few services could hold as many of
max_model_len."""


def quick_findings(files: ServiceFiles) -> Iterator[Finding]:
    if files.facts_fault:
        yield facts_that_cannot_be_read(files)
    for model in files.models.values():
        if facts := files.facts.get(model.source):
            yield from differing_facts(files, model, facts)
            yield from undivided_heads(files, model, facts)
            yield from context_beyond_the_model(files, model, facts)
    for fit in fits(files):
        yield from model_that_does_not_fit(files, fit)
        yield from too_small_kv_cache(files, fit)


def not_checked(files: ServiceFiles) -> Iterator[str]:
    for model in files.models.values():
        looked = look(files, model)
        if isinstance(looked, str):
            yield f"Whether {model.id} fits its GPUs: {looked}"


def facts_that_cannot_be_read(files: ServiceFiles) -> Finding:
    return make_finding(
        files,
        registry.UNREADABLE_MODEL_FACTS,
        Place(files.folder / "models.yaml", 1),
        what=files.facts_fault,
    )


def differing_facts(files: ServiceFiles, model: Model, facts: ModelFacts) -> Iterator[Finding]:
    """Compared with the model's own config.json, where it lies on this machine."""
    try:
        config = model_facts.config_at_hand(model.source)
        differences = model_facts.differences(facts, config) if config else []
    except (KeyError, TypeError, ValueError):  # a config.json that cannot be read, or of a shape that is not known
        return
    if differences:
        yield make_finding(
            files,
            registry.MODEL_FACTS_DIFFER,
            yaml_file.read(files.folder / "models.yaml").place(model.source),
            what=f"Of {model.source}, {'; '.join(differences)}.",
        )


def undivided_heads(files: ServiceFiles, model: Model, facts: ModelFacts) -> Iterator[Finding]:
    tensor_parallel = mapping(model.engine).get("tensor_parallel_size")
    if heads := heads_fault(facts, tensor_parallel):
        possible = [size for size in (1, 2, 4, 8, 16) if not heads_fault(facts, size)]
        yield make_finding(
            files,
            registry.TENSOR_PARALLEL_DOES_NOT_DIVIDE_HEADS,
            model.place("engine_kwargs", "tensor_parallel_size"),
            what=f"{model.id} has {heads}, and tensor_parallel_size is {tensor_parallel}.",
            fix=f"Use {or_list(possible)}.",
        )


def context_beyond_the_model(files: ServiceFiles, model: Model, facts: ModelFacts) -> Iterator[Finding]:
    engine = mapping(model.engine)
    length = number(engine.get("max_model_len"))
    if length and length > facts.context and not engine.get("hf_overrides"):
        yield make_finding(
            files,
            registry.CONTEXT_LONGER_THAN_MODEL,
            model.place("engine_kwargs", "max_model_len"),
            what=f"{model.id} was made for {facts.context} tokens, and max_model_len is {length}.",
            fix=f"Use at most {facts.context}, or stretch its positions with hf_overrides as its model card says.",
        )


def model_that_does_not_fit(files: ServiceFiles, fit: Fit) -> Iterator[Finding]:
    estimate, model = fit.estimate, fit.model
    if estimate.fits:
        return
    taken = f"{gib(estimate.weights)} of weights and {gib(estimate.reserve)} for the largest batch and for CUDA"
    gpu = f"{fit.gpu} of {gib(estimate.gpu_memory)}"
    if estimate.room < 0:
        fixed = "kv_cache_memory_bytes" in mapping(model.engine)
        setting = "kv_cache_memory_bytes" if fixed else "gpu_memory_utilization"
        yield make_finding(
            files,
            registry.DOES_NOT_FIT,
            model.place("engine_kwargs", setting),
            what=f"With this {setting}, {model.id} and CUDA need {gib(-estimate.room)} more than each {gpu} has.",
            why="vLLM runs out of memory as it starts, or while it captures CUDA graphs.",
            fix="Leave it out, and vLLM takes what is left." if fixed else "Lower it; vLLM's default is 0.92.",
        )
    elif estimate.largest_context == 0:
        yield make_finding(
            files,
            registry.DOES_NOT_FIT,
            place_of_size(model),
            what=f"{model.id} takes {taken} on each {gpu}, which leaves no room for a KV cache.",
            why="No request can be held: vLLM loads the weights for minutes, and then refuses to start.",
        )
    else:
        yield make_finding(
            files,
            registry.DOES_NOT_FIT,
            model.place("engine_kwargs", "max_model_len"),
            what=f"{model.id} takes {taken} on each {gpu}; that leaves {gib(estimate.kv_cache)} for the KV cache, and "
            f"one request of {estimate.max_model_len} tokens needs "
            f"{gib(estimate.kv_bytes_of_request(estimate.max_model_len))}.",
            fix=f"Set max_model_len to {estimate.largest_context} at most, or share the model among more GPUs.",
        )


def place_of_size(model: Model) -> Place:
    """The place that says how many GPUs, or else which, a replica has."""
    for key in ("pipeline_parallel_size", "tensor_parallel_size"):
        if key in mapping(model.engine):
            return model.place("engine_kwargs", key)
    return model.place("accelerator_type")


def too_small_kv_cache(files: ServiceFiles, fit: Fit) -> Iterator[Finding]:
    model, estimate = fit.model, fit.estimate
    target = number(model.get("deployment_config", "autoscaling_config", "target_ongoing_requests"))
    if not estimate.fits or not target or target < 1:
        return
    tokens = min(TYPICAL_TOKENS, estimate.max_model_len)
    short = memory.shortfall(estimate, round(target), tokens)
    if short:
        yield make_finding(
            files,
            registry.KV_CACHE_TOO_SMALL,
            model.place("deployment_config", "autoscaling_config", "target_ongoing_requests"),
            what=f"The KV cache of {model.id} holds {short.concurrency:.1f} requests of {tokens} tokens, and "
            f"target_ongoing_requests is {target}.",
            fix=f"Set target_ongoing_requests to {int(short.concurrency)} at most, or find {gib(short.missing_bytes)} "
            f"more on each GPU. {round(target)} requests fit with {short.largest_context} tokens each.",
        )


def gib(size_bytes: float) -> str:
    return f"{size_bytes / GIB:.1f} GiB"


def or_list(values: list[int]) -> str:
    *first, last = map(str, values)
    return f"{', '.join(first)} or {last}" if first else last
