"""The laptop profile: what changes in a service's LLMConfig so that it runs on a CPU. The rest is as in production."""

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
    "callback_config.callback_class": "laptop.local_weights:LocalWeights",  # nothing to download
    "runtime_env.env_vars.HF_HUB_OFFLINE": "1",  # nothing is fetched from a hub
}


def laptop_profile(config: LLMConfig, laptop_model: str) -> LLMConfig:
    """A copy of `config` for a machine without a GPU, serving `laptop_model` under the same model id.

    Prints each field that it changes. Makes the stand-in's checkpoint when it is not cached.
    """
    fields = config.model_dump(exclude_unset=True)
    stand_in = MODELS[laptop_model]
    folder = str(stand_in.checkpoint())
    changes = {path: folder if value == CHECKPOINT else value for path, value in (CHANGES | stand_in.changes).items()}
    lines = [line for path, value in changes.items() if (line := change(fields, path, value))]
    print("The laptop profile changes, all else is as in production:", *lines, sep="\n  ", file=sys.stderr)
    print(f"Not covered by a run with it: {stand_in.not_covered}.", file=sys.stderr, flush=True)
    return LLMConfig(**fields)


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
