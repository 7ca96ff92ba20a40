"""Parts of an LLMConfig, with the types that they have once Ray has validated it.

Ray annotates them with what one may write there too: a dict, or nothing.
"""

from typing import TYPE_CHECKING, cast

# The class that Ray annotates its own classes with; `ray.serve.llm.LLMConfig` is a subclass that adds nothing.
from ray.llm._internal.serve.core.configs.llm_config import LLMConfig as BaseLLMConfig
from ray.serve.llm import LLMConfig, LoraConfig, ModelLoadingConfig

if TYPE_CHECKING:  # it imports vLLM
    from ray.llm._internal.serve.engines.vllm.vllm_models import VLLMEngineConfig


def loading_of(config: LLMConfig) -> ModelLoadingConfig:
    """The model id, and where its weights are."""
    return cast(ModelLoadingConfig, config.model_loading_config)


def lora_of(config: LLMConfig) -> LoraConfig:
    """How adapters are served, by a model that has a `lora_config`."""
    return cast(LoraConfig, config.lora_config)


def engine_of(config: BaseLLMConfig) -> "VLLMEngineConfig":
    """What Ray makes of the configuration for vLLM."""
    return cast("VLLMEngineConfig", config.get_engine_config())
