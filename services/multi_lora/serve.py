"""One base model, Llama 3.1 8B, on NVIDIA L4s (24 GB), and LoRA adapters that are loaded when they are asked for."""

from ray.serve import Application
from ray.serve.llm import LLMConfig

from serving.defaults import HEALTH_CHECKS, STREAM_AT_ONCE
from serving.lora.app import LoraArgs, build

DEPLOYMENT = dict(
    autoscaling_config=dict(
        min_replicas=1,
        max_replicas=4,  # as many as service.yaml has nodes for
        target_ongoing_requests=16,  # without a target Ray 2.59 never scales up; guess: half of a good L4 batch
    ),
    max_ongoing_requests=256,  # vLLM's batch on such GPUs; more wait at the ingress, for whichever replica is free
    graceful_shutdown_timeout_s=600,  # guess: 8192 tokens, the longest answer, at 15 tokens/s in a full batch
    **HEALTH_CHECKS,
)
INGRESS = dict(
    autoscaling_config=dict(
        min_replicas=2,
        max_replicas=8,  # two for each replica of the model
        target_ongoing_requests=8,  # guess: half of what a replica of the model aims at, as there are two
    ),
    health_check_period_s=2,
)
ADAPTERS = dict(
    max_num_adapters_per_replica=32,
    download_timeout_s=60,  # guess: 170 MB, the largest of rank 16 in float32, at 3 MB/s
)
ENGINE = dict(
    enable_lora=True,
    max_lora_rank=16,  # memory for it is set aside for every adapter, whatever its own rank; vLLM's default
    max_loras=8,  # of different adapters in one batch; requests for a ninth wait
    max_cpu_loras=32,  # as many as Ray counts as loaded; vLLM's default, max_loras, would read the others from disk
    max_model_len=8192,  # 128k would not fit an L4
    enable_auto_tool_choice=True,
    tool_call_parser="llama3_json",
)

MODELS = {
    "llama-3.1-8b": LLMConfig(
        model_loading_config=dict(model_id="llama-3.1-8b", model_source="meta-llama/Llama-3.1-8B-Instruct"),
        accelerator_type="L4",
        lora_config=ADAPTERS,
        engine_kwargs=ENGINE,
        deployment_config=DEPLOYMENT,
        experimental_configs=STREAM_AT_ONCE,
    ),
}
GATED = {"llama-3.1-8b"}


def app(args: LoraArgs) -> Application:
    """Build the application; see `LoraArgs` for what `args` can hold."""
    return build(MODELS, args, gated=GATED, laptop_model="llama-twin-with-adapters", ingress=INGRESS)
