"""Two models at once behind one endpoint: Llama 3.1 8B on one NVIDIA L4 (24 GB), Qwen3 32B on 4 L40S (48 GB)."""

from ray.serve import Application
from ray.serve.llm import LLMConfig

from serving.app import ServiceArgs, build_all
from serving.defaults import HEALTH_CHECKS, ON_ONE_NODE, STREAM_AT_ONCE

QUICK = dict(
    autoscaling_config=dict(
        min_replicas=1,
        max_replicas=4,  # as many as service.yaml has L4 nodes for
        target_ongoing_requests=16,  # without a target Ray 2.59 never scales up; guess: half of a good L4 batch
        upscale_delay_s=10,  # not 30: a small model starts soon enough for a burst to be worth a replica
        downscale_delay_s=120,  # not 600: what goes too early is soon back
    ),
    max_ongoing_requests=256,  # vLLM's batch on such GPUs; more wait at the ingress, for whichever replica is free
    graceful_shutdown_timeout_s=600,  # guess: 8192 tokens, the longest answer, at 15 tokens/s in a full batch
    **HEALTH_CHECKS,
)
STEADY = dict(
    autoscaling_config=dict(
        min_replicas=1,
        max_replicas=2,  # as many as service.yaml has L40S nodes for
        target_ongoing_requests=16,  # guess: long answers fill the KV cache
        downscale_delay_s=1800,  # not 600: it takes a quarter of an hour and a node of 4 GPUs to come back
    ),
    max_ongoing_requests=256,  # vLLM's batch on such GPUs; more wait at the ingress, for whichever replica is free
    graceful_shutdown_timeout_s=2400,  # guess: 32,768 tokens of thinking and answer at 15 tokens/s
    **HEALTH_CHECKS,
)
INGRESS = dict(  # every request and every token passes through it; Ray's default is one replica, for ever
    num_replicas=8,  # guess: more than the six engines there may be; each is one Python process, and takes a vCPU
    max_replicas_per_node=4,  # a node that is lost takes half of them; both nodes that there always are have room
    graceful_shutdown_timeout_s=2400,  # as long as the longest answer that passes through it
)
TOOLS = dict(enable_auto_tool_choice=True)

MODELS = {
    "llama-3.1-8b": LLMConfig(
        model_loading_config=dict(model_id="llama-3.1-8b", model_source="meta-llama/Llama-3.1-8B-Instruct"),
        accelerator_type="L4",
        engine_kwargs=dict(**TOOLS, tool_call_parser="llama3_json", max_model_len=8192),  # 128k would not fit an L4
        deployment_config=QUICK,
        experimental_configs=STREAM_AT_ONCE,
    ),
    "qwen3-32b": LLMConfig(
        model_loading_config=dict(model_id="qwen3-32b", model_source="Qwen/Qwen3-32B"),
        accelerator_type="L40S",
        engine_kwargs=dict(
            **TOOLS,
            tool_call_parser="hermes",
            reasoning_parser="qwen3",
            tensor_parallel_size=4,  # 65 GB of weights, and room for the KV cache of long answers
            max_model_len=40960,  # what the model knows without stretching its positions
        ),
        placement_group_config=ON_ONE_NODE,
        deployment_config=STEADY,
        experimental_configs=STREAM_AT_ONCE,
    ),
}
GATED = {"llama-3.1-8b"}
LAPTOP_MODELS = {"llama-3.1-8b": "smollm2-135m", "qwen3-32b": "qwen3-twin"}


def app(args: ServiceArgs) -> Application:
    """Build the application; see `ServiceArgs` for what `args` can hold."""
    return build_all(MODELS, args, gated=GATED, laptop_models=LAPTOP_MODELS, ingress=INGRESS)
