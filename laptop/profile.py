"""The laptop profile: what changes in a service's LLMConfig so that it runs on a CPU. The rest is as in production."""

import os
import sys
from typing import Any

from ray.serve.llm import LLMConfig

from laptop.models import CHECKPOINT, MODELS

# Fields of the LLMConfig, dots between the levels. None takes a field away.
CHANGES: dict[str, Any] = {
    "model_loading_config.model_source": CHECKPOINT,
    "accelerator_type": None,
    "accelerator_config": {"kind": "cpu"},
    "engine_kwargs.enforce_eager": True,  # compiling takes longer than it saves on a model this small
    "engine_kwargs.max_model_len": 2048,  # 2000 tokens of prompt take 3-5 s on two cores
    "engine_kwargs.max_num_seqs": 8,
    "engine_kwargs.kv_cache_memory_bytes": 512 * 2**20,  # else vLLM takes 92% of the machine's memory
    "deployment_config.ray_actor_options": {"num_cpus": 0},  # the engine reserves a CPU, its actor needs none beside it
    "callback_config.callback_class": "laptop.replica:LaptopReplica",  # nothing to download
    "runtime_env.env_vars.HF_HUB_OFFLINE": "1",  # nothing is fetched from a hub
    # vLLM compiles a kernel with g++ at the first request with a temperature, eager or not: seconds, and on a machine
    # so busy that PyTorch's test of the processor takes 60 s, C++ that does not compile, which ends the engine.
    "runtime_env.env_vars.TORCHDYNAMO_DISABLE": "1",
    "runtime_env.env_vars.VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # else vLLM wants that process on CPUs, as Ray does
    # vLLM binds the threads of each engine to all processors but one, from the same end: on two cores all engines of
    # the machine share one, and with it the seconds that each needs to start.
    "runtime_env.env_vars.VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "runtime_env.env_vars.OMP_NUM_THREADS": str(max(1, len(os.sched_getaffinity(0)) - 1)),  # as many as it would take
}

INGRESS_CHANGES: dict[str, Any] = {
    "autoscaling_config": None,
    "num_replicas": 1,  # each is a process that imports Ray and vLLM, at the same time as the engines
    "max_replicas_per_node": None,
    "ray_actor_options": {"num_cpus": 0},  # the engines reserve the CPUs
}
"""Options of the ingress's deployment, as in CHANGES."""


def laptop_profile(config: LLMConfig, laptop_model: str, more: dict[str, Any] | None = None) -> LLMConfig:
    """A copy of `config` for a machine without a GPU, serving `laptop_model` under the same model id.

    Prints each field that it changes. Makes the stand-in's checkpoint when it is not cached.

    Args:
        more: further fields, of this run only, such as the address of a server that was started for it.
    """
    fields = config.model_dump(exclude_unset=True)
    stand_in = MODELS[laptop_model]
    folder = str(stand_in.checkpoint())
    changes = CHANGES | stand_in.changes | (more or {})
    changes = {path: folder if value == CHECKPOINT else value for path, value in changes.items()}
    lines = [line for path, value in changes.items() if (line := change(fields, path, value))]
    print_changes(config.model_id, lines)
    print(f"Not covered by a run with it: {stand_in.not_covered}.", file=sys.stderr, flush=True)
    return LLMConfig(**fields)


def laptop_ingress(options: dict[str, Any], environment: dict[str, str] | None = None) -> dict[str, Any]:
    """A copy of the deployment options of an ingress, for a machine without a GPU. Prints each that it changes.

    Args:
        environment: variables of its processes, of this run only.
    """
    changed, changes = dict(options), dict(INGRESS_CHANGES)
    if environment:
        changes["ray_actor_options"] = changes["ray_actor_options"] | {"runtime_env": {"env_vars": environment}}
    print_changes("the ingress", [line for path, value in changes.items() if (line := change(changed, path, value))])
    return changed


def print_changes(whose: str, lines: list[str]) -> None:
    print(f"The laptop profile changes of {whose}, all else is as in production:", *lines, sep="\n  ", file=sys.stderr)


def change(fields: dict[str, Any], path: str, value: Any) -> str | None:
    """Set or take away one field in place; returns what changed as a line of text, None where nothing did."""
    *parents, name = path.split(".")
    for parent in parents:
        fields = fields.setdefault(parent, {})
    before = fields.get(name)
    if value is None:
        fields.pop(name, None)
    else:
        fields[name] = value
    return None if before == value else f"{path}: {before!r} -> {value!r}"
