"""Qwen3, which thinks before it answers or answers at once as it is asked to, on 4 NVIDIA L40S (48 GB) of one node."""

from ray.serve import Application
from ray.serve.llm import LLMConfig

from serving.app import AppArgs, build
from serving.defaults import HEALTH_CHECKS, ON_ONE_NODE, STREAM_AT_ONCE

DEPLOYMENT = dict(
    autoscaling_config=dict(
        min_replicas=1,
        max_replicas=2,  # as many as service.yaml has nodes for
        target_ongoing_requests=16,  # without a target Ray 2.59 never scales up; guess: long answers fill the KV cache
    ),
    max_ongoing_requests=1024,  # vLLM's largest batch: vLLM queues. 64 cost a fifth of tokens/s, docs/performance.md
    graceful_shutdown_timeout_s=2400,  # guess: 32,768 tokens of thinking and answer at 15 tokens/s
    **HEALTH_CHECKS,
)
COMMON = dict(
    accelerator_type="L40S",
    placement_group_config=ON_ONE_NODE,
    deployment_config=DEPLOYMENT,
    experimental_configs=STREAM_AT_ONCE,
)
ENGINE = dict(
    tensor_parallel_size=4,  # 65 GB of weights, and room for the KV cache of long answers
    max_model_len=40960,  # what the model knows without stretching its positions
    reasoning_parser="qwen3",
    enable_auto_tool_choice=True,
    tool_call_parser="hermes",
)

MODELS = {
    "qwen3-32b": LLMConfig(
        model_loading_config=dict(model_id="qwen3-32b", model_source="Qwen/Qwen3-32B"),
        engine_kwargs=dict(**ENGINE, default_chat_template_kwargs=dict(enable_thinking=True)),
        **COMMON,
    ),
    "qwen3-32b-direct": LLMConfig(  # the same model, which thinks only where a request asks for it
        model_loading_config=dict(model_id="qwen3-32b-direct", model_source="Qwen/Qwen3-32B"),
        engine_kwargs=dict(**ENGINE, default_chat_template_kwargs=dict(enable_thinking=False)),
        **COMMON,
    ),
    "qwen3-30b-a3b": LLMConfig(  # 3 of its 30 billion parameters work on a token: faster, and a little less able
        model_loading_config=dict(model_id="qwen3-30b-a3b", model_source="Qwen/Qwen3-30B-A3B"),
        engine_kwargs=dict(**ENGINE, default_chat_template_kwargs=dict(enable_thinking=True)),
        **COMMON,
    ),
}
GATED: set[str] = set()


def app(args: AppArgs) -> Application:
    """Build the application; see `AppArgs` for what `args` can hold."""
    return build(MODELS, args, gated=GATED, laptop_model="qwen3-twin")
