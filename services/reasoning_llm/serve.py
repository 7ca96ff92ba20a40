"""Models that think before they answer, tensor parallel on 4 NVIDIA L40S (48 GB) of one node: QwQ-32B and others."""

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
    graceful_shutdown_timeout_s=2400,  # guess: 32,768 tokens, which QwQ may think and answer for, at 15 tokens/s
    **HEALTH_CHECKS,
)
COMMON = dict(
    accelerator_type="L40S",
    placement_group_config=ON_ONE_NODE,
    deployment_config=DEPLOYMENT,
    experimental_configs=STREAM_AT_ONCE,
)
TOOLS = dict(enable_auto_tool_choice=True)
TP4 = dict(tensor_parallel_size=4)  # 65 GB of weights, and room for the KV cache of long answers

MODELS = {
    "qwq-32b": LLMConfig(
        model_loading_config=dict(model_id="qwq-32b", model_source="Qwen/QwQ-32B"),
        engine_kwargs=dict(
            **TP4,
            **TOOLS,
            tool_call_parser="hermes",
            reasoning_parser="deepseek_r1",
            max_model_len=40960,  # what the model knows without stretching its positions
        ),
        **COMMON,
    ),
    "qwen3-30b-a3b-thinking": LLMConfig(  # long context and tool use; 3 of its 30 billion parameters work on a token
        model_loading_config=dict(model_id="qwen3-30b-a3b-thinking", model_source="Qwen/Qwen3-30B-A3B-Thinking-2507"),
        engine_kwargs=dict(**TP4, **TOOLS, tool_call_parser="hermes", reasoning_parser="qwen3", max_model_len=131072),
        **COMMON,
    ),
    "qwen3.6-27b": LLMConfig(  # coding; it sees images too, which takes memory that is not used here
        model_loading_config=dict(model_id="qwen3.6-27b", model_source="Qwen/Qwen3.6-27B"),
        engine_kwargs=dict(
            **TP4,
            **TOOLS,
            tool_call_parser="qwen3_coder",
            reasoning_parser="qwen3",
            max_model_len=131072,
            language_model_only=True,
        ),
        **COMMON,
    ),
    "seed-oss-36b": LLMConfig(  # the longest context: 524,288 tokens, for which the KV cache here has no room
        model_loading_config=dict(model_id="seed-oss-36b", model_source="ByteDance-Seed/Seed-OSS-36B-Instruct"),
        engine_kwargs=dict(
            **TP4, **TOOLS, tool_call_parser="seed_oss", reasoning_parser="seed_oss", max_model_len=262144
        ),
        **COMMON,
    ),
}
GATED: set[str] = set()


def app(args: AppArgs) -> Application:
    """Build the application; see `AppArgs` for what `args` can hold."""
    return build(MODELS, args, gated=GATED, laptop_model="qwq-twin")
