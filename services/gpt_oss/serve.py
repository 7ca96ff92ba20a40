"""OpenAI's open models: gpt-oss-20b on one NVIDIA L4 (24 GB) for latency, gpt-oss-120b on one H100 for depth."""

from ray.serve import Application
from ray.serve.llm import LLMConfig

from serving.app import AppArgs, build
from serving.defaults import HEALTH_CHECKS, STREAM_AT_ONCE

DEPLOYMENT = dict(
    autoscaling_config=dict(
        min_replicas=1,
        max_replicas=4,  # as many as service.yaml has nodes for, of either kind
        target_ongoing_requests=16,  # without a target Ray 2.59 never scales up; guess
    ),
    max_ongoing_requests=1024,  # vLLM's largest batch: vLLM queues. 64 cost a fifth of tokens/s, docs/performance.md
    graceful_shutdown_timeout_s=1200,  # guess: 16,000 tokens of thinking and answer at 15 tokens/s
    **HEALTH_CHECKS,
)
COMMON = dict(deployment_config=DEPLOYMENT, experimental_configs=STREAM_AT_ONCE)
# vLLM chooses the reasoning parser by itself for this architecture.
TOOLS = dict(enable_auto_tool_choice=True, tool_call_parser="openai")

MODELS = {
    "gpt-oss-20b": LLMConfig(
        model_loading_config=dict(model_id="gpt-oss-20b", model_source="openai/gpt-oss-20b"),
        accelerator_type="L4",
        engine_kwargs=dict(**TOOLS, max_model_len=32768),  # an L4 holds five of these (scripts/plan)
        **COMMON,
    ),
    "gpt-oss-120b": LLMConfig(
        model_loading_config=dict(model_id="gpt-oss-120b", model_source="openai/gpt-oss-120b"),
        accelerator_type="H100",
        engine_kwargs=dict(**TOOLS, max_model_len=65536),  # 61.4 GiB of an H100 are weights (measured)
        **COMMON,
    ),
}
GATED: set[str] = set()


def app(args: AppArgs) -> Application:
    """Build the application; see `AppArgs` for what `args` can hold."""
    return build(MODELS, args, gated=GATED, laptop_model="gpt-oss-twin")
