from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from ops.project import model_facts
from ops.project.catalogue import services
from ops.sizing import hardware, memory
from ops.sizing.memory import Estimate, NotKnown, engine_settings
from ops.sizing.memory import kv_cache as memory_kv_cache
from ops.sizing.memory import weights as memory_weights
from ops.sizing.memory.engine_settings import GIB

FOLDER = Path(__file__).resolve().parents[1] / "fixtures" / "engine_memory"
RUNS = {file.stem: yaml.safe_load(file.read_text()) for file in sorted(FOLDER.glob("*.yaml"))}
FACTS = {source: facts for one in services() for source, facts in model_facts.read(one.folder).items()}
LLAMA, QWEN, R1 = "meta-llama/Llama-3.1-8B-Instruct", "Qwen/Qwen3-32B", "deepseek-ai/DeepSeek-R1"
OSS_20B, OSS_120B, VISION = "openai/gpt-oss-20b", "openai/gpt-oss-120b", "Qwen/Qwen2.5-VL-7B-Instruct"


def estimate(source: str, gpu: str, env: dict | None = None, **engine_kwargs) -> Estimate:
    memory_bytes = hardware.accelerator(gpu).memory_bytes
    return memory.estimate(FACTS[source], engine_kwargs, memory_bytes, gpu=gpu, env=env)


@dataclass
class Run:
    """What vLLM said of a real run, and the estimate for it."""

    measured: dict[str, float]
    log: str
    estimated: Estimate


def compare(recorded: dict[str, Any]) -> Run:
    facts = model_facts.from_config(recorded["config"]) if "config" in recorded else FACTS[recorded["model"]]
    estimated = memory.estimate(
        facts.model_copy(update=recorded.get("changes", {})),
        recorded["engine_kwargs"],
        int(recorded["cuda_memory_gib"] * GIB),
        gpu=recorded["gpu"],
        env=recorded["env"],
    )
    return Run(recorded["measured"], recorded["log"], estimated)


@pytest.fixture(params=RUNS)
def run(request) -> Run:
    return compare(RUNS[request.param])


@pytest.fixture(params=[name for name, recorded in RUNS.items() if "kv_tokens" in recorded["measured"]])
def whole_run(request) -> Run:
    """One that came to its KV cache; some came no further than their weights."""
    return compare(RUNS[request.param])


def test_weights_are_those_of_a_recorded_run(run):
    assert run.estimated.weights / GIB == pytest.approx(run.measured["weights_gib"], rel=0.01)


def test_available_kv_cache_memory_is_that_of_a_recorded_run(whole_run):
    assert whole_run.estimated.kv_cache / GIB == pytest.approx(whole_run.measured["kv_cache_gib"], rel=0.03)


def test_kv_cache_size_in_tokens_is_that_of_a_recorded_run(whole_run):
    assert whole_run.estimated.kv_tokens == pytest.approx(whole_run.measured["kv_tokens"], rel=0.03)


def test_the_peak_of_the_profile_run_is_that_of_a_recorded_run(whole_run):
    """What a small GPU's KV cache depends on most: 0.1 GiB is 2 % of what an 8B model leaves an L4."""
    peak = whole_run.measured["activations_gib"]
    assert whole_run.estimated.activations / GIB == pytest.approx(peak, abs=0.1)


def test_what_cuda_takes_is_that_of_a_recorded_run(whole_run):
    estimated, measured = whole_run.estimated, whole_run.measured
    assert estimated.other / GIB == pytest.approx(measured.get("non_torch_gib", 0.23), abs=0.11)
    if measured["graphs_gib"]:  # none are set aside by the V2 model runner
        assert estimated.graphs / GIB == pytest.approx(measured["graphs_gib"], abs=0.2)


def test_the_figures_of_a_recorded_run_are_in_its_log(run):
    assert f"{run.measured['weights_gib']} GiB" in run.log
    assert f"{run.measured.get('kv_tokens', 0):,} tokens" in run.log or "kv_tokens" not in run.measured


# What the installed vLLM has itself. Its classes for the KV cache and its defaults need no GPU.


@pytest.fixture(scope="module")
def kv_cache_utils():
    return pytest.importorskip("vllm.v1.core.kv_cache_utils")


def vllm_config(max_model_len: int, max_in_flight_tokens: int) -> SimpleNamespace:
    """As much of a VllmConfig as the planning of the KV cache reads; a real one wants a model and a GPU."""
    return SimpleNamespace(
        model_config=SimpleNamespace(max_model_len=max_model_len, original_max_model_len=max_model_len),
        parallel_config=SimpleNamespace(decode_context_parallel_size=1),
        scheduler_config=SimpleNamespace(disable_hybrid_kv_cache_manager=False),
        cache_config=SimpleNamespace(num_gpu_blocks_override=None),
        kv_transfer_config=None,
        max_in_flight_tokens=max_in_flight_tokens,
    )


def specs(facts: model_facts.ModelFacts, tensor_parallel: int, first: int, end: int) -> dict:
    """The cache of each layer of one stage, as the models of vLLM describe it: gpt-oss begins with a sliding window."""
    import torch
    from vllm.v1.kv_cache_interface import FullAttentionSpec, MLAAttentionSpec, SlidingWindowSpec

    heads = max(1, facts.kv_heads // tensor_parallel)
    shape = dict(block_size=16, num_kv_heads=heads, head_size=facts.head_dim, dtype=torch.bfloat16)
    if facts.mla:
        shape |= dict(num_kv_heads=1, head_size=facts.mla.cached_size)
    full = (MLAAttentionSpec if facts.mla else FullAttentionSpec)(**shape)
    window = facts.sliding_window and SlidingWindowSpec(**shape, sliding_window=facts.sliding_window.tokens)
    return {f"layers.{n}": window if window and n % 2 == 0 else full for n in range(first, end)}


@pytest.mark.parametrize(
    ("source", "gpu", "engine_kwargs"),
    [
        (LLAMA, "L4", {"max_model_len": 8192}),
        (QWEN, "L40S", {"tensor_parallel_size": 4}),
        (QWEN, "H100", {"tensor_parallel_size": 16}),  # more GPUs than KV heads
        (OSS_20B, "L4", {"max_model_len": 32768}),
        (OSS_120B, "H100", {"max_model_len": 65536}),
        (OSS_120B, "H100", {"max_model_len": 65536, "tensor_parallel_size": 2}),
        (OSS_120B, "L40S", {"pipeline_parallel_size": 2, "tensor_parallel_size": 2, "max_num_batched_tokens": 4096}),
        (R1, "H100", {"tensor_parallel_size": 8, "pipeline_parallel_size": 2, "max_model_len": 65536}),
    ],
)
def test_tokens_are_those_that_vllm_counts_for_the_same_memory(kv_cache_utils, source, gpu, engine_kwargs):
    facts, memory_bytes = FACTS[source], hardware.accelerator(gpu).memory_bytes
    engine = engine_settings.engine(facts, engine_kwargs, memory_bytes, gpu, {})
    stages = memory_weights.stages(facts.layers, engine.pipeline_parallel)
    available = [memory.estimate_stage(facts, engine, stage, memory_bytes).kv_cache for stage in stages]
    in_flight = memory_kv_cache.concurrent_batches(engine) * engine.max_num_batched_tokens
    config = vllm_config(engine.max_model_len, in_flight)
    of_stages = [specs(facts, engine.tensor_parallel, stage.first, stage.end) for stage in stages]
    [planned, *_] = kv_cache_utils.get_kv_cache_configs(config, of_stages, available)
    tokens, concurrency = kv_cache_utils.get_kv_cache_capacity(config, planned)
    ours = estimate(source, gpu, **engine_kwargs)
    assert (ours.kv_tokens, ours.max_concurrency) == (tokens, pytest.approx(concurrency))


@pytest.mark.parametrize(("layers", "size"), [(61, 2), (80, 4), (61, 4), (5, 3), (36, 1)])
def test_layers_are_shared_out_as_vllm_does(layers, size):
    utils = pytest.importorskip("vllm.distributed.utils")
    stages = memory_weights.stages(layers, size)
    assert [(one.first, one.end) for one in stages] == [utils.get_pp_indices(layers, n, size) for n in range(size)]


@pytest.mark.parametrize(
    ("gpu", "name"), [("H100", "NVIDIA H100 80GB HBM3"), ("L4", "NVIDIA L4"), ("A100-80G", "A100")]
)
def test_batches_are_of_vllms_default_size(monkeypatch, gpu, name):
    arg_utils = pytest.importorskip("vllm.engine.arg_utils")
    from vllm.usage.usage_lib import UsageContext

    memory_bytes = hardware.accelerator(gpu).memory_bytes
    platform = SimpleNamespace(
        get_device_total_memory=lambda: memory_bytes,
        get_device_name=lambda: name,
        is_tpu=lambda: False,
        is_cpu=lambda: False,
    )
    monkeypatch.setattr(arg_utils, "current_platform", platform)
    tokens, requests = arg_utils.EngineArgs.get_batch_defaults(1)
    ours = engine_settings.engine(FACTS[LLAMA], {}, memory_bytes, gpu, {})
    server = UsageContext.OPENAI_API_SERVER
    assert (ours.max_num_batched_tokens, ours.max_num_seqs) == (tokens[server], requests[server])


def test_the_share_of_a_gpu_is_vllms_default():
    cache = pytest.importorskip("vllm.config.cache")
    ours = engine_settings.engine(FACTS[LLAMA], {}, 80 * GIB, "H100", {})
    assert ours.gpu_memory_utilization == cache.CacheConfig.gpu_memory_utilization
    assert cache.CacheConfig.DEFAULT_BLOCK_SIZE == memory_kv_cache.BLOCK_TOKENS


@pytest.mark.parametrize(("gpu", "kernel"), [("H100", "TRITON"), ("L4", "MARLIN")])
def test_experts_in_mxfp4_are_padded_as_the_kernels_want(gpu, kernel):
    oracle = pytest.importorskip("vllm.model_executor.layers.fused_moe.oracle.mxfp4")
    backend = oracle.Mxfp4MoeBackend[kernel]
    hidden, inner = oracle.mxfp4_round_up_hidden_size_and_intermediate_size(backend, 2880, 2880)
    engine = engine_settings.engine(FACTS[OSS_20B], {}, 80 * GIB, gpu, {})
    layout = memory_weights.TRITON_LAYOUT if gpu == "H100" else 1
    size = memory_weights.mxfp4_expert_bytes(FACTS[OSS_20B].experts, FACTS[OSS_20B].hidden_size, engine)
    assert size == layout * 3 * hidden * inner * 4.25 / 8


# What follows from the arithmetic.


def test_a_context_that_an_l4_has_no_room_for_does_not_fit():
    short, long = (estimate(LLAMA, "L4", max_model_len=length) for length in (8192, 131072))
    assert short.fits
    assert not long.fits
    assert estimate(LLAMA, "L4", max_model_len=long.largest_context).fits
    assert not estimate(LLAMA, "L4", max_model_len=long.largest_context + 17).fits


def test_kv_heads_are_copied_where_there_are_more_gpus_than_heads():
    eight, sixteen = (estimate(QWEN, "H100", tensor_parallel_size=size) for size in (8, 16))
    assert eight.layout.page_bytes == sixteen.layout.page_bytes


def test_each_gpu_keeps_the_whole_of_a_latent_vector():
    four, eight = (estimate(R1, "H200", tensor_parallel_size=size) for size in (4, 8))
    assert four.layout.page_bytes == eight.layout.page_bytes == 16 * 576 * 2


def test_a_kv_cache_in_fp8_holds_twice_the_tokens():
    auto, fp8 = (estimate(LLAMA, "L4", kv_cache_dtype=dtype) for dtype in ("auto", "fp8"))
    assert fp8.kv_tokens == pytest.approx(2 * auto.kv_tokens, rel=0.001)


def test_vllm_quantises_all_weights_but_the_embeddings():
    embeddings = 2 * 2 * FACTS[LLAMA].embedding_parameters
    fp8, bf16 = (estimate(LLAMA, "L4", quantization=method).weights - embeddings for method in ("fp8", None))
    assert fp8 == pytest.approx(bf16 / 2, rel=0.01)


def test_a_sliding_window_holds_more_tokens_than_full_attention():
    full = FACTS[OSS_20B].model_copy(update={"sliding_window": None})
    of_full = memory.estimate(full, {}, hardware.accelerator("H100").memory_bytes, gpu="H100")
    assert estimate(OSS_20B, "H100").kv_tokens > 1.5 * of_full.kv_tokens


def test_cuda_graphs_are_set_aside_by_the_first_model_runner_only():
    first, second = (estimate(LLAMA, "L4", env={"VLLM_USE_V2_MODEL_RUNNER": value}) for value in ("0", "1"))
    taken = {one: one.weights + one.activations + one.other + one.kv_cache for one in (first, second)}
    assert taken[first] + first.graphs == taken[second]
    assert second.graphs > 0


def test_an_eager_engine_needs_no_cuda_graphs_and_leaves_more_for_the_kv_cache():
    eager = estimate(LLAMA, "L4", enforce_eager=True)
    assert eager.graphs == 0
    assert eager.kv_cache > estimate(LLAMA, "L4").kv_cache


def test_a_model_that_sees_needs_nothing_for_images_that_it_may_not_be_sent():
    blind = estimate(VISION, "L40S", limit_mm_per_prompt={"image": 0, "video": 0})
    seeing = estimate(VISION, "L40S", limit_mm_per_prompt={"image": 1, "video": 0})
    assert seeing.weights - blind.weights == pytest.approx(2 * FACTS[VISION].vision.parameters, rel=0.01)
    assert seeing.activations > blind.activations


def test_a_fixed_kv_cache_is_taken_as_it_is():
    assert estimate(LLAMA, "L4", kv_cache_memory_bytes=2 * GIB).kv_cache == 2 * GIB


def test_a_share_that_leaves_no_room_for_cuda_does_not_fit():
    assert not estimate(LLAMA, "L4", max_model_len=8192, gpu_memory_utilization=0.99).fits


def test_what_is_too_much_comes_with_what_would_fit():
    fitting = estimate(LLAMA, "L4", max_model_len=8192)
    assert memory.shortfall(fitting, 4) is None
    short = memory.shortfall(fitting, 16)
    assert (short.requests, short.tokens) == (16, 8192)
    assert short.concurrency == fitting.max_concurrency < 16
    assert memory.shortfall(fitting, 16, short.largest_context) is None
    assert memory.shortfall(fitting, 16, short.largest_context + 17) is not None
    assert short.missing_bytes == pytest.approx(16 * GIB - fitting.kv_cache)


def test_adapters_take_a_slot_each_of_the_highest_rank():
    plain = estimate(LLAMA, "L4", max_model_len=8192)
    four = estimate(LLAMA, "L4", max_model_len=8192, enable_lora=True, max_loras=4, max_lora_rank=32)
    eight = estimate(LLAMA, "L4", max_model_len=8192, enable_lora=True, max_loras=8, max_lora_rank=16)
    linear = 2 * (4096 + 4096) + 2 * (4096 + 1024) + 2 * (4096 + 14336) + (14336 + 4096)  # inputs and outputs, by layer
    slot = (32 * linear + 2 * (128256 + 4096)) * 16 * 2  # rank 16 in bfloat16, with embedding and logits
    assert eight.weights - plain.weights == pytest.approx(8 * slot, rel=0.01)
    assert four.weights == pytest.approx(eight.weights, rel=0.001)
    assert plain.kv_cache - eight.kv_cache >= 8 * slot
    assert eight.fits


@pytest.mark.parametrize(
    "engine_kwargs",
    [
        {"enable_lora": True, "lora_dtype": "float16"},
        {"speculative_config": {"method": "ngram"}},
        {"data_parallel_size": 2},
        {"quantization": "awq"},
        {"kv_cache_dtype": "nvfp4"},
        {"max_model_len": "32k"},
        {"max_model_len": -1},
        {"gpu_memory_utilization": 9},
        {"pipeline_parallel_size": 99},
    ],
    ids=str,
)
def test_what_is_not_known_is_not_guessed(engine_kwargs):
    with pytest.raises(NotKnown, match=r"\.$"):
        estimate(LLAMA, "L4", **engine_kwargs)


def test_ranks_keep_all_of_the_attention_and_share_out_the_experts():
    whole = estimate(R1, "H200", max_model_len=4096)
    ranks = estimate(R1, "H200", max_model_len=4096, data_parallel_size=8, enable_expert_parallel=True)
    experts = 58 * 256 * 3 * 7168 * 2048  # layers with experts, experts, matrices, their sizes, in fp8
    assert whole.weights - ranks.weights == pytest.approx(experts * 7 / 8, rel=0.01)


def test_each_rank_makes_room_for_the_batches_of_all():
    batches = dict(max_model_len=4096, max_num_batched_tokens=2048, enable_expert_parallel=True)
    two, eight = (estimate(R1, "H200", data_parallel_size=size, **batches) for size in (2, 8))
    a_token = 8 * 2 * 7168 * 2  # experts, inputs and outputs, hidden size, bfloat16
    assert eight.activations - two.activations == 6 * 2048 * a_token
