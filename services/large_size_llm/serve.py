"""Models larger than one node: DeepSeek-R1 and Nemotron Ultra 253B on two nodes of 8 NVIDIA H100 (80 GB).

Tensor parallel over the 8 GPUs of a node, pipeline parallel over the two nodes. Ray packs a replica's 16 workers, one
a GPU, onto two nodes because a node has 8 GPUs and nothing but whole replicas runs on this cluster's GPUs.
The other layouts are for nodes of 8 H200 (141 GB), each of which holds all of DeepSeek-R1: each GPU has all of the
attention, for requests of its own, and an eighth of the experts.
"""

from typing import Literal

from ray.serve import Application
from ray.serve.llm import LLMConfig

from serving.app import AppArgs, build
from serving.defaults import HEALTH_CHECKS, STREAM_AT_ONCE, chat_template
from serving.layouts import FETCHES_KV_CACHE, SENDS_KV_CACHE, build_data_parallel, build_prefill_decode

LIMITS = dict(
    max_ongoing_requests=1024,  # vLLM's largest batch: vLLM queues. 64 cost a fifth of tokens/s, docs/performance.md
    graceful_shutdown_timeout_s=3600,  # guess: 32,000 tokens of thinking at 10 tokens/s
    **HEALTH_CHECKS,
)
DEPLOYMENT = dict(
    autoscaling_config=dict(
        min_replicas=1,
        max_replicas=2,  # two nodes each: four in service.yaml
        target_ongoing_requests=32,  # without a target Ray 2.59 never scales up; guess
        downscale_delay_s=1800,  # guess: a replica takes most of an hour to come back
    ),
    **LIMITS,
)
COMMON = dict(accelerator_type="H100", deployment_config=DEPLOYMENT, experimental_configs=STREAM_AT_ONCE)
ENGINE = dict(
    tensor_parallel_size=8,
    pipeline_parallel_size=2,
    max_model_len=65536,  # guess: a prompt, and the 32,000 tokens that R1 is evaluated with
    load_format="runai_streamer",  # many reads at once, from disk, s3:// or gs://; see Containerfile
)
THINKING = dict(reasoning_parser="deepseek_r1")
TOOLS = dict(enable_auto_tool_choice=True, tool_call_parser="deepseek_v3")

MODELS = {
    "deepseek-r1-0528": LLMConfig(
        model_loading_config=dict(model_id="deepseek-r1-0528", model_source="deepseek-ai/DeepSeek-R1-0528"),
        # its own template does not tell the model which tools there are
        engine_kwargs=dict(**ENGINE, **THINKING, **TOOLS, chat_template=chat_template("deepseek_r1_tools")),
        **COMMON,
    ),
    "deepseek-r1": LLMConfig(  # superseded by deepseek-r1-0528; not trained to call tools
        model_loading_config=dict(model_id="deepseek-r1", model_source="deepseek-ai/DeepSeek-R1"),
        engine_kwargs=dict(**ENGINE, **THINKING),
        **COMMON,
    ),
    "nemotron-ultra-253b": LLMConfig(
        model_loading_config=dict(
            model_id="nemotron-ultra-253b", model_source="nvidia/Llama-3_1-Nemotron-Ultra-253B-v1"
        ),
        engine_kwargs=dict(
            **ENGINE,
            trust_remote_code=True,  # its configuration is Python in its repository
            reasoning_parser="olmo3",  # reads <think> as text; deepseek_r1 needs it to be one token, here it is several
        ),
        **COMMON,
    ),
}
GATED = {"nemotron-ultra-253b"}

RANKS = dict(tensor_parallel_size=1, pipeline_parallel_size=1, data_parallel_size=8, enable_expert_parallel=True)
ON_H200 = dict(accelerator_type="H200", deployment_config=dict(num_replicas=1, **LIMITS))  # one group of 8 ranks
# Guesses: a rank makes room for a batch of all ranks, so batches below vLLM's 8192 tokens leave more for the KV cache.
DATA_PARALLEL = dict(**ON_H200, engine_kwargs=dict(**RANKS, max_num_batched_tokens=2048))
PREFILL = dict(**ON_H200, engine_kwargs=dict(**RANKS, **SENDS_KV_CACHE, max_num_batched_tokens=4096))
DECODE = dict(**ON_H200, engine_kwargs=dict(**RANKS, **FETCHES_KV_CACHE, max_num_batched_tokens=1024))


class Args(AppArgs):
    layout: Literal["pipeline", "data-parallel", "prefill-decode"] = "pipeline"
    """How GPUs share the work; README.md says when which."""


def app(args: Args) -> Application:
    """Build the application; see `Args` and `AppArgs` for what `args` can hold."""
    if args.layout == "pipeline":
        return build(MODELS, args, gated=GATED, laptop_model="deepseek-twin")
    if args.model == "nemotron-ultra-253b":
        raise ValueError(f"{args.model} has no experts to share out. Its only layout is pipeline, not {args.layout}.")
    if args.layout == "data-parallel":
        return build_data_parallel(MODELS, args, DATA_PARALLEL, gated=GATED)
    return build_prefill_decode(MODELS, args, PREFILL, DECODE, gated=GATED, laptop_model="deepseek-twin-alone")
