"""What a model takes of a GPU's memory, and how many tokens of KV cache are left: the arithmetic of vLLM 0.27.

Of the share of a GPU that gpu_memory_utilization names, vLLM takes the weights, the peak of a profile run, and, with
the V1 model runner, CUDA graphs; what is left holds the KV cache (Worker.determine_available_memory).
"""

from dataclasses import dataclass
from typing import Any

from ops.project.model_facts import ModelFacts
from ops.sizing.memory import adapters as memory_adapters
from ops.sizing.memory import engine_settings
from ops.sizing.memory import kv_cache as memory_kv_cache
from ops.sizing.memory import reserve as memory_reserve
from ops.sizing.memory import weights as memory_weights
from ops.sizing.memory.engine_settings import EngineSettings, NotKnown
from ops.sizing.memory.kv_cache import BLOCK_TOKENS, KvLayout

__all__ = ["Estimate", "NotKnown", "Shortfall", "estimate", "shortfall"]


@dataclass(frozen=True)
class Estimate:
    """Bytes per GPU, of the stage of the pipeline that holds the fewest tokens."""

    gpu_memory: int
    weights: int
    """The weights with the slots of LoRA adapters, as in vLLM's log line "Model loading took"."""
    activations: int
    graphs: int
    other: int
    """CUDA's own, within the share of the GPU that vLLM takes."""
    kv_cache: int
    """What is left for the KV cache; below 0 where the rest does not fit already."""
    room: int
    """What is left when vLLM has taken its share and captured its graphs; below 0, it runs out of memory."""
    blocks: int
    layout: KvLayout
    max_model_len: int
    context: int
    """The most tokens that the model was made for."""

    @property
    def fits(self) -> bool:
        """Whether a replica starts: vLLM demands a KV cache for one request of max_model_len tokens."""
        return self.room >= 0 and self.max_concurrency >= 1

    @property
    def kv_tokens(self) -> int:
        """The tokens that fit, as in vLLM's log line "GPU KV cache size"."""
        return int(self.max_concurrency * self.max_model_len)

    @property
    def max_concurrency(self) -> float:
        """Requests of max_model_len tokens at once, as in vLLM's log line "Maximum concurrency"."""
        return self.concurrency_at(self.max_model_len)

    def concurrency_at(self, tokens: int) -> float:
        """Requests of so many tokens each that the KV cache holds at once."""
        return self.blocks / self.layout.blocks_of_request(tokens)

    def kv_bytes_of_request(self, tokens: int) -> int:
        return self.layout.blocks_of_request(tokens) * self.layout.block_bytes

    @property
    def reserve(self) -> int:
        """What is taken beside weights and KV cache."""
        return self.activations + self.graphs + self.other

    @property
    def largest_context(self) -> int:
        """The most tokens of one request that the KV cache holds, up to what the model was made for; 0 for none."""
        return self.largest_context_of(1)

    def largest_context_of(self, requests: int) -> int:
        """Likewise of each of so many requests at once."""
        low, high = 0, self.context // BLOCK_TOKENS
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if self.concurrency_at(middle * BLOCK_TOKENS) >= requests else (low, middle - 1)
        return low * BLOCK_TOKENS


@dataclass(frozen=True)
class Shortfall:
    """Requests that the KV cache does not hold, and what it would hold."""

    requests: int
    tokens: int
    """The tokens of each request."""
    missing_bytes: int
    """The KV cache that is missing on each GPU."""
    concurrency: float
    """How many of those requests fit."""
    largest_context: int
    """How many tokens each may have, for all of them to fit."""


def estimate(
    facts: ModelFacts,
    engine_kwargs: dict[str, Any],
    gpu_memory_bytes: int,
    *,
    gpu: str = "",
    env: dict[str, Any] | None = None,
) -> Estimate:
    """What one replica of a model takes of each of its GPUs.

    Args:
        gpu_memory_bytes: what CUDA reports of one GPU.
        gpu: its name for Ray, such as H100; without a name, one that is not of the Hopper kind.
        env: environment variables of the replica, of which VLLM_USE_V2_MODEL_RUNNER matters.

    Raises:
        NotKnown: a setting changes the memory in a way that is not known here.
    """
    engine = engine_settings.engine(facts, engine_kwargs, gpu_memory_bytes, gpu, env or {})
    stages = memory_weights.stages(facts.layers, engine.pipeline_parallel)
    each = [estimate_stage(facts, engine, stage, gpu_memory_bytes) for stage in stages]
    return min(each, key=lambda one: (one.blocks, one.kv_cache))


def estimate_stage(
    facts: ModelFacts, engine: EngineSettings, stage: memory_weights.PipelineStage, gpu_memory_bytes: int
) -> Estimate:
    weights = memory_weights.weights_bytes(facts, engine, stage) + memory_adapters.slots_bytes(facts, engine, stage)
    activations = memory_reserve.activations(facts, engine, stage)
    graphs, other = memory_reserve.graphs(facts, engine, stage), memory_reserve.non_torch(engine)
    share = int(gpu_memory_bytes * engine.gpu_memory_utilization)
    reserved = weights + activations + other + (0 if engine.model_runner_v2 else graphs)
    kv_cache = engine.kv_cache_bytes or share - reserved
    taken = reserved + kv_cache + (graphs - activations if engine.model_runner_v2 else 0)
    layout = memory_kv_cache.layout(facts, engine, stage)
    return Estimate(
        gpu_memory=gpu_memory_bytes,
        weights=weights,
        activations=activations,
        graphs=graphs,
        other=other,
        kv_cache=kv_cache,
        room=gpu_memory_bytes - memory_reserve.context(engine) - max(taken, reserved + kv_cache),
        blocks=layout.blocks(kv_cache),
        layout=layout,
        max_model_len=engine.max_model_len,
        context=facts.context,
    )


def shortfall(estimate: Estimate, requests: int, tokens: int | None = None) -> Shortfall | None:
    """What the KV cache lacks for so many requests of so many tokens each; None where they fit.

    Args:
        tokens: max_model_len by default.
    """
    tokens = tokens or estimate.max_model_len
    needed = requests * estimate.layout.blocks_of_request(tokens)
    if needed <= estimate.blocks:
        return None
    return Shortfall(
        requests=requests,
        tokens=tokens,
        missing_bytes=needed * estimate.layout.block_bytes - estimate.kv_cache,
        concurrency=estimate.concurrency_at(tokens),
        largest_context=estimate.largest_context_of(requests),
    )
