"""Chat models that take the GPUs of one node: by default Llama 3.3 70B, tensor parallel on 8 NVIDIA L40S (48 GB)."""

from ray.serve import Application
from ray.serve.llm import LLMConfig

from serving.app import AppArgs, build
from serving.defaults import HEALTH_CHECKS, ON_ONE_NODE, STREAM_AT_ONCE

DEPLOYMENT = dict(
    autoscaling_config=dict(
        min_replicas=1,
        max_replicas=2,  # as many as service.yaml has nodes for
        target_ongoing_requests=32,  # without a target Ray 2.59 never scales up; guess
    ),
    max_ongoing_requests=1024,  # vLLM's largest batch: vLLM queues. 64 cost a fifth of tokens/s, docs/performance.md
    graceful_shutdown_timeout_s=1200,  # guess: an answer of 16,000 tokens at 15 tokens/s
    **HEALTH_CHECKS,
)
COMMON = dict(
    accelerator_type="L40S",
    placement_group_config=ON_ONE_NODE,
    deployment_config=DEPLOYMENT,
    experimental_configs=STREAM_AT_ONCE,
)
TOOLS = dict(enable_auto_tool_choice=True)
LENGTH = dict(max_model_len=32768)  # guess: longer prompts are rare; Llama's 131072 would take 43 GB of KV cache each
TP8 = dict(tensor_parallel_size=8)  # 141 GB of weights do not leave room for the KV cache on 4 L40S
TP4 = dict(tensor_parallel_size=4)  # two replicas a node

MODELS = {
    "llama-3.3-70b": LLMConfig(
        model_loading_config=dict(model_id="llama-3.3-70b", model_source="meta-llama/Llama-3.3-70B-Instruct"),
        engine_kwargs=dict(**TP8, **LENGTH, **TOOLS, tool_call_parser="llama3_json"),
        **COMMON,
    ),
    "llama-3.1-70b": LLMConfig(  # superseded by llama-3.3-70b
        model_loading_config=dict(model_id="llama-3.1-70b", model_source="meta-llama/Llama-3.1-70B-Instruct"),
        engine_kwargs=dict(**TP8, **LENGTH, **TOOLS, tool_call_parser="llama3_json"),
        **COMMON,
    ),
    "qwen3-14b": LLMConfig(
        model_loading_config=dict(model_id="qwen3-14b", model_source="Qwen/Qwen3-14B"),
        engine_kwargs=dict(**TP4, **LENGTH, **TOOLS, tool_call_parser="hermes", reasoning_parser="qwen3"),
        **COMMON,
    ),
    "qwen2.5-14b": LLMConfig(  # superseded by qwen3-14b
        model_loading_config=dict(model_id="qwen2.5-14b", model_source="Qwen/Qwen2.5-14B-Instruct"),
        engine_kwargs=dict(**TP4, **LENGTH, **TOOLS, tool_call_parser="hermes"),
        **COMMON,
    ),
    "mistral-small-3.2-24b": LLMConfig(
        model_loading_config=dict(
            model_id="mistral-small-3.2-24b", model_source="mistralai/Mistral-Small-3.2-24B-Instruct-2506"
        ),
        engine_kwargs=dict(**TP4, **LENGTH, **TOOLS, tool_call_parser="mistral", tokenizer_mode="mistral"),
        **COMMON,
    ),
    "mixtral-8x7b": LLMConfig(  # superseded by mistral-small-3.2-24b; no tool calling
        model_loading_config=dict(model_id="mixtral-8x7b", model_source="mistralai/Mixtral-8x7B-Instruct-v0.1"),
        engine_kwargs=dict(**TP4, **LENGTH),
        **COMMON,
    ),
}
GATED = {"llama-3.3-70b", "llama-3.1-70b", "mistral-small-3.2-24b", "mixtral-8x7b"}


def app(args: AppArgs) -> Application:
    """Build the application; see `AppArgs` for what `args` can hold."""
    return build(MODELS, args, gated=GATED, laptop_model="llama-twin")
