"""What vLLM 0.27 sets aside beside weights and KV cache: the peak of its profile run, CUDA graphs, and CUDA's own.

The profile run computes one batch of max_num_batched_tokens tokens without a KV cache, and samples max_num_seqs of them
(GPUModelRunner.profile_run). The sizes of its tensors are read from vLLM's source; what the source does not tell was
measured, on the runs in tests/fixtures/engine_memory.
"""

from ops.project.model_facts import ModelFacts
from ops.sizing.memory.engine_settings import GIB, MIB, EngineSettings
from ops.sizing.memory.weights import PipelineStage

TORCH = int(0.05 * GIB)  # measured: cuBLAS's workspace and small tensors; 0.02 to 0.08 GiB
NON_TORCH = int(0.23 * GIB)  # measured: kernels that CUDA loads; 0.22 to 0.24 GiB on one GPU
NON_TORCH_WITH_NCCL = int(0.1 * GIB)  # measured: 0.13 on each of two GPUs, 0.06 on each of four
GRAPHS_V1, GRAPHS_V1_OF_LAYER = int(0.40 * GIB), int(0.0075 * GIB)  # measured: what it estimates; 0.16 GiB off at most
GRAPHS_V2, GRAPHS_V2_OF_REQUEST = int(0.45 * GIB), int(0.5 * MIB)  # measured: 0.5 to 0.6 with 256 requests, 1 with 1024
CONTEXT = int(0.51 * GIB)  # measured: of CUDA, before vLLM counts; in the part of the GPU that it leaves alone
CONTEXT_WITH_NCCL = int(1.5 * GIB)  # measured: with two GPUs; 1.46 and 1.53
TOP_K_ROWS = 132  # of the vocabulary, in float32, kept by the kernel for top-k and top-p: the processors of an H100
MLA_PREFILL_TOKENS = 64 * 1024  # MLACommonMetadataBuilder.determine_chunked_prefill_workspace_size


def activations(facts: ModelFacts, engine: EngineSettings, stage: PipelineStage) -> int:
    """The peak of the profile run beyond the weights, in bytes per GPU: its largest step, and what stays of others."""
    kept = TORCH + experts_workspace(facts, engine)
    steps = [layer(facts, engine)]
    if stage.is_first:
        steps.append(vision(facts, engine))
    if stage.is_last:
        steps.append(sampler(facts, engine))
        kept += 0 if engine.model_runner_v2 else TOP_K_ROWS * facts.vocabulary * 4
    return max(kept + max(steps), compilation(facts, engine) if stage.is_first else 0)


def compilation(facts: ModelFacts, engine: EngineSettings) -> int:
    """A second input embedding, and its input and output: torch.compile tries its kernels on tensors of its own.

    Measured, with torch 2.11. Of a model that sees, the embedding is not compiled.
    """
    if not engine.compiled or engine.image_tokens:
        return 0
    hidden = engine.max_num_batched_tokens * facts.hidden_size
    return (facts.embedding_parameters // engine.tensor_parallel + 2 * hidden) * engine.dtype_bytes


def layer(facts: ModelFacts, engine: EngineSettings) -> int:
    """The MLP or the attention of one layer, and three hidden states: its residual before and after, and its input."""
    tp, tokens = engine.tensor_parallel, engine.max_num_batched_tokens
    mlp = (3 if facts.gated_mlp else 2) * (facts.intermediate_size or 0) // tp
    if facts.experts:
        mlp = max(mlp, 3 * facts.experts.shared * facts.experts.intermediate_size // tp)
    attention = 0
    if facts.mla:
        query = facts.attention_heads // tp * (facts.mla.qk_nope_head_dim + facts.mla.qk_rope_head_dim)
        attention = tokens * query + earlier_tokens(facts, engine)
    return (max(tokens * mlp, attention) + 3 * tokens * facts.hidden_size) * engine.dtype_bytes


def earlier_tokens(facts: ModelFacts, engine: EngineSettings) -> int:
    """Elements that stand in for the unpacked keys and values of earlier tokens, of MLA (MLAAttention.forward_impl)."""
    if not facts.mla:
        return 0
    heads = facts.attention_heads // engine.tensor_parallel
    tokens = min(MLA_PREFILL_TOKENS, 8 * engine.max_model_len)
    return tokens * heads * (facts.mla.qk_nope_head_dim + facts.mla.v_head_dim)


def sampler(facts: ModelFacts, engine: EngineSettings) -> int:
    """The logits of a full batch, and the hidden states they are of. The V1 model runner samples from them as well: a
    copy in float32, probabilities and noise (Sampler.forward, TopKTopPSampler.forward_native)."""
    logit = engine.dtype_bytes + (0 if engine.model_runner_v2 else 3 * 4)
    hidden = engine.max_num_batched_tokens * facts.hidden_size * engine.dtype_bytes
    return engine.max_num_seqs * facts.vocabulary * logit + hidden


def vision(facts: ModelFacts, engine: EngineSettings) -> int:
    """The MLP of one layer of the encoder, three hidden states, and the tokens that come out."""
    if not facts.vision or not engine.image_tokens:
        return 0
    patch = (3 if facts.vision.gated_mlp else 2) * facts.vision.intermediate_size + 3 * facts.vision.hidden_size
    elements = facts.vision.patches_per_token * patch + facts.hidden_size
    return engine.image_tokens * elements * engine.dtype_bytes


def experts_workspace(facts: ModelFacts, engine: EngineSettings) -> int:
    """What the kernels of the experts keep for the inputs and outputs of their two products (TritonExperts and
    MarlinExperts.workspace_shapes). The Triton kernels for mxfp4 keep nothing."""
    if not facts.experts or (engine.quantisation == "mxfp4" and engine.hopper):
        return 0
    inner, outer = facts.experts.intermediate_size // engine.tensor_parallel, facts.hidden_size
    # With data parallelism each rank has the tokens of all ranks at hand, and the batches of all can be full at a time
    # (CpuCommunicator and CudaCommunicator.dispatch with allgather_reducescatter, vLLM's default).
    rows = engine.data_parallel * engine.max_num_batched_tokens * facts.experts.per_token
    return rows * (max(inner, outer) + max(2 * inner, outer)) * engine.dtype_bytes


def graphs(facts: ModelFacts, engine: EngineSettings, stage: PipelineStage) -> int:
    """The memory of CUDA graphs. The V1 model runner sets this aside within gpu_memory_utilization; V2 takes it
    outside."""
    if not engine.compiled:
        return 0
    attention = earlier_tokens(facts, engine) * engine.dtype_bytes
    # Captured with adapters and without, see cudagraph_specialize_lora. That it takes twice as much is a guess.
    captures = 2 if engine.adapter_slots else 1
    if engine.model_runner_v2:
        return captures * (GRAPHS_V2 + GRAPHS_V2_OF_REQUEST * engine.max_num_seqs) + attention
    return captures * (GRAPHS_V1 + GRAPHS_V1_OF_LAYER * stage.layers) + attention


def non_torch(engine: EngineSettings) -> int:
    """What CUDA takes beside torch while vLLM counts."""
    return NON_TORCH if is_alone(engine) else NON_TORCH_WITH_NCCL


def context(engine: EngineSettings) -> int:
    """What CUDA, and NCCL with several GPUs, hold when vLLM starts to count."""
    return CONTEXT if is_alone(engine) else CONTEXT_WITH_NCCL


def is_alone(engine: EngineSettings) -> bool:
    """Whether the engine has one GPU."""
    return engine.expert_parallel * engine.pipeline_parallel == 1
