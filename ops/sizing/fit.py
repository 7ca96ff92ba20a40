"""What each model of a service takes of its GPUs: its shape, the GPU and vLLM's settings put together."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ops.project.coercion import mapping
from ops.project.model_facts import ModelFacts
from ops.project.serve_py import Model
from ops.project.service_files import ServiceFiles
from ops.sizing import hardware, memory
from ops.sizing.hardware import Accelerator
from ops.sizing.memory import Estimate, NotKnown


@dataclass(frozen=True)
class Fit:
    model: Model
    facts: ModelFacts
    accelerator: Accelerator
    estimate: Estimate

    @property
    def gpu(self) -> str:
        return self.accelerator.name


def fits(files: ServiceFiles) -> Iterator[Fit]:
    """Every model whose shape and GPU are known."""
    for model in files.models.values():
        looked = look(files, model)
        if isinstance(looked, Fit):
            yield looked


def look(files: ServiceFiles, model: Model) -> Fit | str:
    """What a model takes of its GPUs, or in a sentence why that is not known."""
    if files.facts_fault:
        return "models.yaml cannot be read."
    facts = files.facts.get(model.source)
    if facts is None:
        return f"{model.source} is not in models.yaml."
    name = model.get("accelerator_type")
    accelerator = hardware.accelerator(name) if isinstance(name, str) else None
    if accelerator is None:
        return f"{name} is not in ops/sizing/hardware.yaml." if name else "it names no accelerator_type."
    if heads_fault(facts, mapping(model.engine).get("tensor_parallel_size")):
        return "its attention heads cannot be shared out among its GPUs."
    try:
        return Fit(model, facts, accelerator, estimate_of(files, model, facts, accelerator))
    except NotKnown as unknown:
        return str(unknown)


def estimate_of(files: ServiceFiles, model: Model, facts: ModelFacts, accelerator: Accelerator) -> Estimate:
    """What a model takes of such a GPU, with all that the service sets for it. Raises NotKnown."""
    env_vars = files.env_vars | mapping(model.get("runtime_env", "env_vars"))
    return memory.estimate(facts, mapping(model.engine), accelerator.memory_bytes, gpu=accelerator.name, env=env_vars)


def heads_fault(facts: ModelFacts, tensor_parallel: Any) -> str:
    """Why the attention heads cannot be shared out among so many GPUs; empty where they can."""
    if not isinstance(tensor_parallel, int) or tensor_parallel < 1:
        return ""
    if facts.attention_heads % tensor_parallel:
        return f"{facts.attention_heads} attention heads"
    fewer, more = sorted((facts.kv_heads, tensor_parallel))
    return f"{facts.kv_heads} KV heads" if more % fewer and not facts.mla else ""
