"""The memory of the weights, on each stage of a pipeline, per GPU of its tensor parallel group."""

from collections.abc import Iterator
from dataclasses import dataclass

from ops.project.model_facts import Experts, ModelFacts, attention_projections, layers_by_mlp
from ops.sizing.memory.engine_settings import MIB, EngineSettings

VOCABULARY_PADDING = 64  # vllm/model_executor/layers/vocab_parallel_embedding.py
FP8_BLOCK = 128 * 128  # weights that share a scale in DeepSeek's fp8, of 4 bytes each
MXFP4_BITS = 4.25  # 4 bits, and 8 of scale for each 32 weights (OCP Microscaling specification 1.0)
TRITON_LAYOUT = 1.01  # measured: what the order that Triton's mxfp4 kernels want adds; 1.009 to 1.013


@dataclass(frozen=True)
class PipelineStage:
    """The layers from `first` to before `end`, on the GPUs of one tensor parallel group."""

    first: int
    end: int
    is_first: bool
    is_last: bool

    @property
    def layers(self) -> int:
        return self.end - self.first


def stages(layers: int, pipeline_parallel: int) -> list[PipelineStage]:
    """The layers of each stage, as vLLM's get_pp_indices deals them: what is left over goes to the stages before the
    last, from behind."""
    sizes = [layers // pipeline_parallel] * pipeline_parallel
    for nth in range(layers % pipeline_parallel):
        sizes[-2 - nth] += 1
    ends = [sum(sizes[: nth + 1]) for nth in range(pipeline_parallel)]
    return [
        PipelineStage(end - size, end, nth == 0, nth == pipeline_parallel - 1)
        for nth, (size, end) in enumerate(zip(sizes, ends, strict=True))
    ]


def weights_bytes(facts: ModelFacts, engine: EngineSettings, stage: PipelineStage) -> int:
    """The weights of one stage, per GPU. Biases and norms are left out: less than 0.1 %."""
    return sum(count * allocated(size) for count, size in tensors(facts, engine, stage))


def allocated(size_bytes: float) -> int:
    """PyTorch's allocator gives a tensor of 10 MiB or more a segment of its own, in steps of 2 MiB (kMinLargeAlloc and
    kRoundLarge in c10/core/AllocatorConfig.h); smaller ones share segments."""
    return round(size_bytes) if size_bytes < 10 * MIB else padded(size_bytes, 2 * MIB)


def tensors(facts: ModelFacts, engine: EngineSettings, stage: PipelineStage) -> Iterator[tuple[int, float]]:
    """How many of one kind there are on one GPU, and the bytes of each."""
    tp, dtype, hidden = engine.tensor_parallel, engine.dtype_bytes, facts.hidden_size
    for count, parameters in matrices(facts, engine, stage):
        yield count, parameters * (1 if engine.quantisation == "fp8" else dtype)
        if engine.quantisation == "fp8":
            yield count, parameters / FP8_BLOCK * 4
    if facts.mla:  # the up-projection again, unpacked for decoding (MLAAttention.W_UK_T and W_UV)
        heads = facts.attention_heads // tp
        yield stage.layers, facts.mla.kv_lora_rank * heads * facts.mla.qk_nope_head_dim * dtype
        yield stage.layers, facts.mla.kv_lora_rank * heads * facts.mla.v_head_dim * dtype
    if facts.experts:
        _, layers = layers_by_mlp(facts, stage.first, stage.end)
        if engine.quantisation == "mxfp4":
            experts = facts.experts.count * mxfp4_expert_bytes(facts.experts, hidden, engine)
            yield from ((layers, experts * 2 / 3), (layers, experts / 3))
        yield layers, hidden * facts.experts.count * dtype  # the router
    own_output = stage.is_last and not (facts.tied_embeddings and stage.is_first)
    yield stage.is_first + own_output, padded(facts.vocabulary, VOCABULARY_PADDING) / tp * hidden * dtype
    if facts.vision and engine.image_tokens and stage.is_first:
        yield 1, facts.vision.parameters / tp * dtype
    # cosines and sines of every position, which all layers share (RotaryEmbedding and MRotaryEmbedding)
    rotated = facts.mla.qk_rope_head_dim if facts.mla else facts.head_dim
    yield 1, facts.context * (4 if facts.mrope else 1) * rotated * dtype


def matrices(facts: ModelFacts, engine: EngineSettings, stage: PipelineStage) -> Iterator[tuple[int, float]]:
    """How many matrices of attention and MLPs there are on one GPU, and the parameters of each. Gate and up are one."""
    tp, hidden = engine.tensor_parallel, facts.hidden_size
    dense, with_experts = layers_by_mlp(facts, stage.first, stage.end)
    for projection in attention_projections(facts, tp):
        yield stage.layers, projection
    of_mlp = hidden * (facts.intermediate_size or 0) / tp
    yield from ((dense, of_mlp * (2 if facts.gated_mlp else 1)), (dense, of_mlp))
    if facts.experts:
        of_expert = hidden * facts.experts.intermediate_size
        routed = 0 if engine.quantisation == "mxfp4" else facts.experts.count
        for experts in (facts.experts.shared / tp, routed / engine.expert_parallel):
            yield from ((with_experts, 2 * experts * of_expert), (with_experts, experts * of_expert))


def mxfp4_expert_bytes(experts: Experts, hidden: int, engine: EngineSettings) -> float:
    """The size of one expert of one layer on one GPU, with sizes padded to the tiles of the kernels.

    Triton's, which serve Hopper only, pad the intermediate size to 64; Marlin's, for the GPUs before it, and
    FlashInfer's for Blackwell pad both sizes, to 128 and 256 (mxfp4_round_up_hidden_size_and_intermediate_size).
    """
    intermediate = experts.intermediate_size / engine.expert_parallel
    if engine.hopper:
        return TRITON_LAYOUT * 3 * padded(intermediate, 64) * hidden * MXFP4_BITS / 8
    return 3 * padded(intermediate, 128) * padded(hidden, 256) * MXFP4_BITS / 8


def padded(size: float, multiple: int) -> int:
    return -int(-size // multiple) * multiple
