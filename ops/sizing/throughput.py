"""How many tokens a replica answers with, and how fast: an estimate from a roofline, for the time before a benchmark.

A step of decoding reads the weights and the KV cache once, or is busy with arithmetic for longer; the prefill of a
prompt is arithmetic. A request keeps its replica busy for its own prefill, and shares the steps of decoding with all
that are answered at the same time. What a step cannot be faster than follows from data sheets
(ops/sizing/hardware.yaml) and the model's shape; how near an engine comes to that does not, and is the factors below.

Beside what was measured: the shape of Llama 3.1 8B with a vocabulary of 49,152, random bf16 weights, one H100 80GB, 512
tokens in and 128 out, prefix caching off, 2026-11-22. "Ray" is Ray 2.58.1 with HAProxy and direct streaming.

|                              | vLLM 0.26.0 | Ray     | estimate |
|------------------------------|-------------|---------|----------|
| 1 at a time, TTFT p50        | 24.9 ms     | 28.5 ms | 24.3 ms  |
| 32 at a time, output tokens  | 3101/s      | 3052/s  | 3198/s   |
| 256 at a time, output tokens | 6168/s      | 4841/s  | 6407/s   |
| 256 at a time, TPOT p50      | 27.3 ms     | 38.7 ms | 40.0 ms  |

So it is within a factor of 1.5 there. (The benchmark's requests arrive together: they wait for their first token, and
the tokens after it come the faster.) But the efficiencies and the overhead were chosen there. On other GPUs, on
several, with experts or quantised weights nothing has been compared yet. Images, prefix caching, speculative decoding,
requests of unequal length and the time that requests queue are left out.
"""

from dataclasses import dataclass
from typing import Any

from ops.project.model_facts import ModelFacts, attention_parameters, layers_by_mlp
from ops.sizing.hardware import Accelerator
from ops.sizing.memory import Estimate, engine_settings
from ops.sizing.memory.engine_settings import DTYPE_BYTES
from ops.sizing.memory.kv_cache import BLOCK_TOKENS

COMPUTE_EFFICIENCY = 0.55  # of the peak that prefill reaches: chosen so that the figures above come out
BANDWIDTH_EFFICIENCY = 0.75  # of the memory bandwidth that decoding reaches: likewise
OVERHEAD_S = 0.011  # of a first token, for HTTP, chat template, tokenizer and scheduling: likewise
LINK_EFFICIENCY = 0.6  # guess: of the link between GPUs that an all-reduce reaches
LINK_LATENCY_S = 20e-6  # guess: of an all-reduce, however small
EXPERT_BYTES = {"none": 2, "fp8": 1, "mxfp4": 4.25 / 8}  # of a weight; mxfp4 has a scale of 8 bits for 32 weights


@dataclass(frozen=True)
class Replica:
    """One replica."""

    facts: ModelFacts
    gpu: Accelerator
    memory: Estimate
    tensor_parallel: int
    pipeline_parallel: int
    quantisation: str
    """The format of the weights in memory."""
    peak_flops: float
    """The peak of one GPU, with numbers of the width that this engine multiplies."""
    most_requests: int
    """The most requests that it works on at a time, the KV cache left aside."""
    limited_by: str
    """The setting that says so."""


@dataclass(frozen=True)
class Speed:
    """How a replica works on so many requests at a time, without end."""

    requests: int
    requests_per_s: float
    output_tokens_per_s: float
    ttft_s: float
    tpot_s: float
    """The time from one token of an answer to the next."""


def engine(
    facts: ModelFacts, engine_kwargs: dict[str, Any], gpu: Accelerator, memory: Estimate, max_ongoing_requests: float
) -> Replica | None:
    """The replica of these settings; None where its GPU has no bf16, in which the weights are."""
    quantisation = engine_settings.quantisation(facts, engine_kwargs)
    peak_flops = (gpu.fp8_flops if quantisation == "fp8" else None) or gpu.bf16_flops
    if peak_flops is None:
        return None
    seats = engine_settings.most_requests(engine_kwargs, gpu.memory_bytes, gpu.name)
    return Replica(
        facts=facts,
        gpu=gpu,
        memory=memory,
        tensor_parallel=engine_kwargs.get("tensor_parallel_size") or 1,
        pipeline_parallel=engine_kwargs.get("pipeline_parallel_size") or 1,
        quantisation=quantisation,
        peak_flops=peak_flops,
        most_requests=int(min(max_ongoing_requests, seats)),
        limited_by="max_num_seqs" if seats <= max_ongoing_requests else "max_ongoing_requests",
    )


def speed(engine: Replica, requests: int, input_tokens: int, output_tokens: int) -> Speed:
    """The speed with `requests` at a time. Each is prefilled once, and decoded in as many steps as it has output
    tokens.

    A pipeline works on as many batches at a time as it has stages, and a token takes a step of each stage.
    """
    stages = engine.pipeline_parallel
    step_s = stages * decode_step_s(engine, max(1, requests / stages), input_tokens + output_tokens / 2)
    prefill = prefill_s(engine, input_tokens)
    round_s = output_tokens * step_s + requests * prefill / stages
    return Speed(
        requests=requests,
        requests_per_s=requests / round_s,
        output_tokens_per_s=requests * output_tokens / round_s,
        ttft_s=OVERHEAD_S + prefill + (step_s if requests > 1 else 0),  # a step for others is under way
        tpot_s=round_s / output_tokens,
    )


def most_at_a_time(engine: Replica, input_tokens: int, output_tokens: int) -> int:
    """The most requests that the KV cache has room for and the replica accepts; 0 where not one fits."""
    return min(engine.most_requests, int(engine.memory.concurrency_at(input_tokens + output_tokens)))


def decode_step_s(engine: Replica, requests: float, context: float) -> float:
    """One step of one stage: its part of the next token of each of its requests."""
    stages = engine.pipeline_parallel
    read = bytes_read(engine, requests) + requests * kv_bytes(engine, context)
    flops = requests * (2 * matrix_parameters(engine.facts) + attention_flops(engine.facts, context))
    return max(memory_s(engine, read), compute_s(engine, flops / stages)) + all_reduce_s(engine, requests) / stages


def prefill_s(engine: Replica, tokens: int) -> float:
    """The time of one prompt through all stages. Of its tokens, only the last goes through the output layer."""
    facts, stages = engine.facts, engine.pipeline_parallel
    inner = 2 * (matrix_parameters(facts) - facts.embedding_parameters) + attention_flops(facts, tokens / 2)
    flops = tokens * inner + 2 * facts.embedding_parameters
    stage_s = max(memory_s(engine, bytes_read(engine, tokens)), compute_s(engine, flops / stages))
    return stages * stage_s + all_reduce_s(engine, tokens)


def memory_s(engine: Replica, size_bytes: float) -> float:
    """The time to read so many bytes of the memory of one GPU."""
    return size_bytes / (engine.gpu.bandwidth_bytes_per_s * BANDWIDTH_EFFICIENCY)


def compute_s(engine: Replica, flops: float) -> float:
    """The time for so many operations on the GPUs of one stage."""
    return flops / (engine.peak_flops * engine.tensor_parallel * COMPUTE_EFFICIENCY)


def all_reduce_s(engine: Replica, tokens: float) -> float:
    """Each layer adds up twice what its GPUs have of every token (Megatron-LM, arXiv:1909.08053), here in a ring."""
    gpus, activation_bytes = engine.tensor_parallel, 2
    if gpus == 1:
        return 0.0
    sent = tokens * engine.facts.hidden_size * activation_bytes * 2 * (gpus - 1) / gpus
    return 2 * engine.facts.layers * (LINK_LATENCY_S + sent / (engine.gpu.link_gb_per_s * 1e9 * LINK_EFFICIENCY))


def bytes_read(engine: Replica, tokens: float) -> float:
    """The weights that one GPU reads in a step with so many tokens: without the experts that none of them goes to.

    Each token goes to `per_token` of the experts as if by chance. Text reads next to nothing of the input embedding and
    nothing of the vision encoder.
    """
    facts, gpus = engine.facts, engine.tensor_parallel * engine.pipeline_parallel
    unread = 0.0
    if facts.experts:
        _, layers = layers_by_mlp(facts, 0, facts.layers)
        untouched = (1 - facts.experts.per_token / facts.experts.count) ** tokens
        experts = layers * facts.experts.count * facts.expert_parameters * EXPERT_BYTES[engine.quantisation]
        unread += experts * untouched / gpus
    if not facts.tied_embeddings:
        unread += facts.embedding_parameters * DTYPE_BYTES[facts.dtype] / gpus
    if facts.vision:
        unread += facts.vision.parameters * DTYPE_BYTES[facts.dtype] / gpus
    return engine.memory.weights - unread


def kv_bytes(engine: Replica, context: float) -> float:
    """The KV cache that one token reads on one GPU."""
    of_token_in_layer = engine.memory.layout.page_bytes / BLOCK_TOKENS
    return of_token_in_layer * tokens_seen(engine.facts, context) / engine.pipeline_parallel


def matrix_parameters(facts: ModelFacts) -> int:
    """The parameters that one token is multiplied with, the output layer's included."""
    dense_layers, expert_layers = layers_by_mlp(facts, 0, facts.layers)
    total = facts.layers * attention_parameters(facts) + dense_layers * facts.dense_mlp_parameters
    if facts.experts:
        router = facts.hidden_size * facts.experts.count
        total += expert_layers * ((facts.experts.per_token + facts.experts.shared) * facts.expert_parameters + router)
    return total + facts.embedding_parameters


def attention_flops(facts: ModelFacts, context: float) -> float:
    """The operations of one token that attends to `context` others, in all layers: a product with each key and each
    value."""
    size = 2 * facts.head_dim
    if facts.mla:
        size = facts.mla.qk_nope_head_dim + facts.mla.qk_rope_head_dim + facts.mla.v_head_dim
    return 2 * facts.attention_heads * size * tokens_seen(facts, context)


def tokens_seen(facts: ModelFacts, context: float) -> float:
    """The tokens that one token attends to in all layers together: `context` in each, the window in those with a
    sliding window."""
    window = facts.sliding_window
    beyond = window.layers * max(0.0, context - window.tokens) if window else 0
    return facts.layers * context - beyond
