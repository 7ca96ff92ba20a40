"""Small chat models, each on one NVIDIA L4 (24 GB): Llama 3.1 8B, Mistral 7B, Phi-4-mini and Phi-2."""

from ray.serve import Application
from ray.serve.llm import LLMConfig

from serving.app import AppArgs, build
from serving.defaults import HEALTH_CHECKS, STREAM_AT_ONCE

DEPLOYMENT = dict(
    autoscaling_config=dict(
        min_replicas=1,
        max_replicas=4,  # as many as service.yaml has nodes for
        target_ongoing_requests=16,  # without a target Ray 2.59 never scales up; guess: half of a good L4 batch
    ),
    max_ongoing_requests=1024,  # vLLM's largest batch: vLLM queues. 64 cost a fifth of tokens/s, docs/performance.md
    graceful_shutdown_timeout_s=600,  # guess: 8192 tokens, the longest answer, at 15 tokens/s in a full batch
    **HEALTH_CHECKS,
)
COMMON = dict(accelerator_type="L4", deployment_config=DEPLOYMENT, experimental_configs=STREAM_AT_ONCE)
TOOLS = dict(enable_auto_tool_choice=True)

MODELS = {
    "llama-3.1-8b": LLMConfig(
        model_loading_config=dict(model_id="llama-3.1-8b", model_source="meta-llama/Llama-3.1-8B-Instruct"),
        engine_kwargs=dict(**TOOLS, tool_call_parser="llama3_json", max_model_len=8192),  # 128k would not fit an L4
        **COMMON,
    ),
    "mistral-7b": LLMConfig(
        model_loading_config=dict(model_id="mistral-7b", model_source="mistralai/Mistral-7B-Instruct-v0.3"),
        engine_kwargs=dict(**TOOLS, tool_call_parser="mistral", tokenizer_mode="mistral", max_model_len=8192),
        **COMMON,
    ),
    "phi-4-mini": LLMConfig(
        model_loading_config=dict(model_id="phi-4-mini", model_source="microsoft/Phi-4-mini-instruct"),
        engine_kwargs=dict(**TOOLS, tool_call_parser="phi4_mini_json", max_model_len=8192),
        **COMMON,
    ),
    "phi-2": LLMConfig(  # superseded by phi-4-mini; no tool calling, and a context of 2048 tokens
        model_loading_config=dict(model_id="phi-2", model_source="microsoft/phi-2"),
        engine_kwargs=dict(
            # phi-2 ships no chat template; this is the question and answer form that its model card describes
            chat_template="{% for message in messages %}"
            "{{ 'Output: ' if message.role == 'assistant' else 'Instruct: ' }}{{ message.content }}\n"
            "{% endfor %}Output:",
        ),
        **COMMON,
    ),
}
GATED = {"llama-3.1-8b", "mistral-7b"}


def app(args: AppArgs) -> Application:
    """Build the application; see `AppArgs` for what `args` can hold."""
    return build(MODELS, args, gated=GATED, laptop_model="smollm2-135m")
