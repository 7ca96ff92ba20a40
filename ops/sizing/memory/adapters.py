"""What vLLM 0.27 sets aside on a GPU for LoRA adapters: max_loras slots, each with room for max_lora_rank.

The shapes are those of create_lora_weights in vllm/lora/layers/ and of LoRAModelManager._create_lora_modules, which
wraps every linear layer, the input embedding and the logits. Computed; not measured on a GPU.
"""

from collections.abc import Iterator

from ops.project.model_facts import ModelFacts, kv_heads_on_gpu
from ops.sizing.memory.engine_settings import EngineSettings
from ops.sizing.memory.weights import PipelineStage, allocated


def slots_bytes(facts: ModelFacts, engine: EngineSettings, stage: PipelineStage) -> int:
    """The memory of one stage's adapter slots, per GPU. vLLM counts it as part of the weights."""
    of_rank_one = engine.adapter_slots * engine.adapter_rank * engine.dtype_bytes
    return sum(count * allocated(size * of_rank_one) for count, size in tensors(facts, engine, stage))


def tensors(facts: ModelFacts, engine: EngineSettings, stage: PipelineStage) -> Iterator[tuple[int, int]]:
    """How many of one kind there are on one GPU, and the inputs or outputs of each: what it has elements for each rank.

    The first of the two matrices of an adapter is whole on every GPU of a column-parallel layer, the second of a
    row-parallel one.
    """
    tp, hidden, vocabulary = engine.tensor_parallel, facts.hidden_size, facts.vocabulary
    query = facts.attention_heads // tp * facts.head_dim
    key = kv_heads_on_gpu(facts, tp) * facts.head_dim
    inner = (facts.intermediate_size or 0) // tp
    wide = 2 if facts.gated_mlp else 1
    yield from ((3 * stage.layers, hidden), (stage.layers, query), (2 * stage.layers, key))  # query, key and value
    yield from ((stage.layers, query), (stage.layers, hidden))  # the output of attention
    yield from ((wide * stage.layers, hidden), (wide * stage.layers, inner))  # gate and up
    yield from ((stage.layers, inner), (stage.layers, hidden))  # down
    if stage.is_first or stage.is_last:
        both = stage.is_first + stage.is_last  # the embedding, and the logits
        yield from ((both, vocabulary), (both, hidden))
