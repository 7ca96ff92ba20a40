"""The roofline: by hand on a made-up model, and beside what was measured."""

import re
from datetime import date

import pytest

from ops.project.model_facts import Experts, ModelFacts, SlidingWindow
from ops.sizing import hardware, memory, throughput
from ops.sizing.hardware import Accelerator

MEASURED = [  # requests at a time, what, how much; on an H100, see the module
    (1, "ttft_s", 0.0249),
    (1, "ttft_s", 0.0285),
    (32, "output_tokens_per_s", 3101),
    (32, "output_tokens_per_s", 3052),
    (256, "output_tokens_per_s", 6168),
    (256, "output_tokens_per_s", 4841),
    (256, "tpot_s", 0.0273),
    (256, "tpot_s", 0.0387),
]
LLAMA = ModelFacts(
    origin="Llama 3.1 8B with a vocabulary of 49,152",
    parameters=7_380_000_000,
    layers=32,
    hidden_size=4096,
    attention_heads=32,
    kv_heads=8,
    head_dim=128,
    vocabulary=49152,
    intermediate_size=14336,
    context=131072,
)
SMALL = ModelFacts(
    origin="made up: 4 million parameters in 2 layers, 1 million in either embedding",
    parameters=6_000_000,
    layers=2,
    hidden_size=1000,
    attention_heads=10,
    kv_heads=5,
    head_dim=50,
    vocabulary=1000,
    intermediate_size=167,
    context=1000,
)
GPU = Accelerator(
    name="X",
    ray_name="X",
    memory_mib=24_000,
    cuda_memory_gib=23,
    bandwidth_gb_per_s=1,
    link_gb_per_s=1,
    bf16_tflops=0.1,
    source="made up",
    as_of=date(2026, 1, 1),
)


def engine(facts: ModelFacts, gpu: Accelerator = GPU, **engine_kwargs) -> throughput.Replica:
    engine_kwargs = {"max_model_len": 8192} | engine_kwargs
    estimate = memory.estimate(facts, engine_kwargs, gpu.memory_bytes, gpu=gpu.name)
    return throughput.engine(facts, engine_kwargs, gpu, estimate, max_ongoing_requests=256)


@pytest.mark.parametrize(("requests", "what", "measured"), MEASURED)
def test_within_a_factor_of_what_was_measured(requests, what, measured):
    speed = throughput.speed(engine(LLAMA, hardware.accelerator("H100")), requests, 512, 128)
    assert 1 / 1.5 < getattr(speed, what) / measured < 1.5


@pytest.mark.parametrize(
    ("gpu", "limit", "most", "setting"),
    [
        ("H100", 2000, 1024, "max_num_seqs"),
        ("L4", 1024, 256, "max_num_seqs"),
        ("L4", 64, 64, "max_ongoing_requests"),
    ],
)
def test_the_lower_of_the_limits_of_vllm_and_serve(gpu, limit, most, setting):
    chosen, engine_kwargs = hardware.accelerator(gpu), {"max_model_len": 8192}
    estimate = memory.estimate(LLAMA, engine_kwargs, chosen.memory_bytes, gpu=gpu)
    replica = throughput.engine(LLAMA, engine_kwargs, chosen, estimate, limit)
    assert (replica.most_requests, replica.limited_by) == (most, setting)


def test_figures_of_the_docstring_are_what_it_estimates():
    replica = engine(LLAMA, hardware.accelerator("H100"))
    alone, some, many = (throughput.speed(replica, requests, 512, 128) for requests in (1, 32, 256))
    told = [float(figure) for figure in re.findall(r"([\d.]+)[^|\d]*\|\n", throughput.__doc__)]
    estimated = [alone.ttft_s * 1000, some.output_tokens_per_s, many.output_tokens_per_s, many.tpot_s * 1000]
    assert told == pytest.approx(estimated, rel=0.01)


def test_step_of_decoding_by_hand():
    # Of each layer, 1000 x 50 x (2 x 10 + 2 x 5) for the attention and 3 x 1000 x 167 for the MLP. Of two embeddings of
    # 1000 x 1024, as vLLM pads the vocabulary to a multiple of 64, one is not read. And the KV cache of 100 tokens.
    # 2 % are left to the tables of positions and the like.
    weights = 2 * (2 * (1000 * 50 * 30 + 3 * 1000 * 167) + 2 * 1000 * 1024) - 2 * 1000 * 1000
    kv = 2 * 2 * 5 * 50 * 2 * 100
    assert throughput.decode_step_s(engine(SMALL), 1, 100) == pytest.approx((weights + kv) / (1e9 * 0.75), rel=0.02)


def test_many_requests_make_a_step_of_decoding_one_of_arithmetic():
    flops = 1000 * (2 * (2 * (1000 * 50 * 30 + 3 * 1000 * 167) + 1000 * 1000) + 2 * 4 * 10 * 50 * 10)
    assert throughput.decode_step_s(engine(SMALL), 1000, 10) == pytest.approx(flops / (1e11 * 0.55))


def test_prefill_by_hand():
    inner = 2 * 2 * (1000 * 50 * 30 + 3 * 1000 * 167) + 2 * 4 * 10 * 50 * 256
    flops = 512 * inner + 2 * 1000 * 1000
    assert throughput.prefill_s(engine(SMALL), 512) == pytest.approx(flops / (1e11 * 0.55))


def test_requests_share_the_steps_of_decoding_and_not_the_prefill():
    replica = engine(SMALL)
    speed = throughput.speed(replica, 8, 512, 128)
    round_s = 128 * throughput.decode_step_s(replica, 8, 512 + 64) + 8 * throughput.prefill_s(replica, 512)
    assert speed.requests_per_s == pytest.approx(8 / round_s)
    assert speed.output_tokens_per_s == pytest.approx(8 * 128 / round_s)
    assert speed.tpot_s == pytest.approx(round_s / 128)


def test_gpus_of_a_tensor_parallel_group_wait_for_each_other():
    alone, two = engine(SMALL), engine(SMALL, tensor_parallel_size=2)
    sent = 512 * 1000 * 2 * 2 * (1 / 2)  # a ring of two sends all of it once
    all_reduces = 2 * 2 * (20e-6 + sent / (1e9 * 0.6))
    assert throughput.all_reduce_s(alone, 512) == 0
    assert throughput.all_reduce_s(two, 512) == pytest.approx(all_reduces)
    assert throughput.prefill_s(two, 512) == pytest.approx(throughput.prefill_s(alone, 512) / 2 + all_reduces)


def test_pipeline_of_two_answers_twice_as_many_requests_as_fast():
    one, two = engine(LLAMA), engine(LLAMA, pipeline_parallel_size=2)
    single, pipeline = throughput.speed(one, 32, 512, 128), throughput.speed(two, 64, 512, 128)
    assert pipeline.output_tokens_per_s / single.output_tokens_per_s == pytest.approx(2, rel=0.05)
    assert pipeline.tpot_s / single.tpot_s == pytest.approx(1, rel=0.05)


def test_only_experts_that_a_token_goes_to_are_read():
    experts = Experts(count=8, per_token=2, intermediate_size=100)
    facts = SMALL.model_copy(update={"experts": experts, "intermediate_size": None})
    replica = engine(facts)
    all_experts = 2 * 8 * 3 * 1000 * 100 * 2
    embedding = 2 * 1000 * 1000
    assert throughput.bytes_read(replica, 1) == pytest.approx(replica.memory.weights - embedding - all_experts * 3 / 4)
    assert throughput.bytes_read(replica, 100) == pytest.approx(replica.memory.weights - embedding)


def test_layers_with_a_window_look_no_further_back():
    facts = SMALL.model_copy(update={"sliding_window": SlidingWindow(tokens=128, layers=1)})
    assert throughput.tokens_seen(facts, 100) == 200
    assert throughput.tokens_seen(facts, 1000) == 1128


def test_fp8_is_computed_with_where_the_gpu_has_it():
    with_fp8, without = hardware.accelerator("H100"), hardware.accelerator("A100-80G")
    assert engine(LLAMA, with_fp8, quantization="fp8").peak_flops == with_fp8.fp8_flops
    assert engine(LLAMA, with_fp8).peak_flops == with_fp8.bf16_flops
    assert engine(LLAMA, without, quantization="fp8").peak_flops == without.bf16_flops


def test_kv_cache_limits_how_many_requests_there_are_at_a_time():
    replica = engine(LLAMA, hardware.accelerator("L4"))
    tokens = replica.memory.kv_tokens
    assert throughput.most_at_a_time(replica, 4000, 96) == tokens // 4096
    assert throughput.most_at_a_time(replica, 100, 28) == 256
    assert throughput.most_at_a_time(replica, tokens, tokens) == 0
