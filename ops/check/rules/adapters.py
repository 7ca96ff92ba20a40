"""LoRA adapters: how many Ray counts as loaded, how many vLLM keeps in memory, and how many compute at once."""

from collections.abc import Iterator

from ops.check import registry
from ops.check.finding import Finding, make_finding
from ops.project.coercion import mapping, number
from ops.project.serve_py import Model
from ops.project.service_files import ServiceFiles

ADAPTERS_PER_REPLICA = 16  # default of max_num_adapters_per_replica in Ray 2.59
AT_ONCE = 1  # default of max_loras in vLLM 0.27; that of max_cpu_loras is max_loras


def findings(files: ServiceFiles) -> Iterator[Finding]:
    for model in files.models.values():
        if model.get("lora_config") and mapping(model.engine).get("enable_lora"):
            yield from one_at_a_time(files, model)
            yield from read_again(files, model)
            yield from never_used(files, model)


def counts(model: Model) -> tuple[float, float, float]:
    """How many adapters Ray counts as loaded, vLLM keeps in memory, and compute at once."""
    engine = mapping(model.engine)
    at_once = number(engine.get("max_loras")) or AT_ONCE
    loaded = number(model.get("lora_config", "max_num_adapters_per_replica")) or ADAPTERS_PER_REPLICA
    return loaded, number(engine.get("max_cpu_loras")) or at_once, at_once


def one_at_a_time(files: ServiceFiles, model: Model) -> Iterator[Finding]:
    """Source: Scheduler.schedule of vLLM 0.27, which leaves a request waiting while max_loras others are running."""
    loaded, _, at_once = counts(model)
    if at_once == 1 and loaded > 1:
        yield make_finding(
            files,
            registry.ADAPTERS_ONE_AT_A_TIME,
            model.place("engine_kwargs", "max_loras"),
            what=f"A replica of {model.id} computes with one adapter at a time: `max_loras` is 1"
            f"{'.' if mapping(model.engine).get('max_loras') else ', the default.'}",
        )


def read_again(files: ServiceFiles, model: Model) -> Iterator[Finding]:
    """Source: LRUCacheWorkerLoRAManager.add_adapter of vLLM 0.27, which the worker calls between two steps."""
    loaded, kept, _ = counts(model)
    if kept < loaded:
        yield make_finding(
            files,
            registry.ADAPTERS_READ_AGAIN,
            model.place("engine_kwargs", "max_cpu_loras"),
            what=f"Ray counts up to {loaded:g} adapters of {model.id} as loaded, and vLLM keeps {kept:g} in memory.",
            fix=f"Set `max_cpu_loras={loaded:g}` in `engine_kwargs`, or lower `max_num_adapters_per_replica`.",
        )


def never_used(files: ServiceFiles, model: Model) -> Iterator[Finding]:
    loaded, _, at_once = counts(model)
    if at_once > loaded:
        yield make_finding(
            files,
            registry.ADAPTER_SLOTS_NEVER_USED,
            model.place("engine_kwargs", "max_loras"),
            what=f"`max_loras` is {at_once:g}, and a replica of {model.id} has {loaded:g} adapters at most.",
        )
