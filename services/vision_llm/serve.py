"""Models that see, each on one NVIDIA L40S (48 GB): Qwen2.5-VL 7B, Qwen3-VL 8B and Pixtral 12B."""

from ray.serve import Application
from ray.serve.llm import LLMConfig

from serving.app import AppArgs, build
from serving.defaults import HEALTH_CHECKS, STREAM_AT_ONCE

DEPLOYMENT = dict(
    autoscaling_config=dict(
        min_replicas=1,
        max_replicas=4,  # as many as service.yaml has nodes for
        target_ongoing_requests=8,  # without a target Ray 2.59 never scales up; guess: images cost more than words
    ),
    max_ongoing_requests=256,  # vLLM's batch on an L40S; each may hold images of 11 MB in the replica's memory
    graceful_shutdown_timeout_s=600,  # guess: 8192 tokens at 15 tokens/s in a full batch
    **HEALTH_CHECKS,
)
COMMON = dict(accelerator_type="L40S", deployment_config=DEPLOYMENT, experimental_configs=STREAM_AT_ONCE)
ENGINE = dict(
    max_model_len=32768,  # what Qwen2.5-VL was trained with
    limit_mm_per_prompt=dict(image=8, video=0),  # vLLM's default is 999 each, and it reserves memory for the largest
    # Hosts that a replica fetches images from when a request names a URL. Without a list it would fetch from any,
    # the cluster's own addresses included. Put the hosts of your images here.
    allowed_media_domains=["upload.wikimedia.org"],
)
TOOLS = dict(enable_auto_tool_choice=True)
IMAGE_TOKENS = 2048  # guess: larger images are scaled down to so many; Qwen2.5-VL alone would allow 16,384 each

MODELS = {
    "qwen2.5-vl-7b": LLMConfig(  # no tool calling: its chat template has no place for tools
        model_loading_config=dict(model_id="qwen2.5-vl-7b", model_source="Qwen/Qwen2.5-VL-7B-Instruct"),
        engine_kwargs=dict(**ENGINE, mm_processor_kwargs=dict(max_pixels=IMAGE_TOKENS * 28 * 28)),
        **COMMON,
    ),
    "qwen3-vl-8b": LLMConfig(
        model_loading_config=dict(model_id="qwen3-vl-8b", model_source="Qwen/Qwen3-VL-8B-Instruct"),
        engine_kwargs=dict(
            **ENGINE, **TOOLS, tool_call_parser="hermes", mm_processor_kwargs=dict(max_pixels=IMAGE_TOKENS * 32 * 32)
        ),
        **COMMON,
    ),
    "pixtral-12b": LLMConfig(
        model_loading_config=dict(model_id="pixtral-12b", model_source="mistralai/Pixtral-12B-2409"),
        engine_kwargs=dict(**ENGINE, **TOOLS, tool_call_parser="mistral", tokenizer_mode="mistral"),
        **COMMON,
    ),
}
GATED = {"pixtral-12b"}


def app(args: AppArgs) -> Application:
    """Build the application; see `AppArgs` for what `args` can hold."""
    return build(MODELS, args, gated=GATED, laptop_model="qwen-vl-twin")
