"""What every `services/*/serve.py` shares: choose one of its models and build the Serve application."""

import difflib
import os
from collections.abc import Collection
from typing import Literal

from pydantic import BaseModel, ConfigDict
from ray.serve import Application
from ray.serve.llm import LLMConfig, build_openai_app

from serving.llm_server import LLMServer


class AppArgs(BaseModel):
    """The `args` of a service.yaml, and the `key=value` words of `serve run`. Unknown ones are errors."""

    model_config = ConfigDict(extra="forbid")

    model: str | None = None
    """One of the service's models; none means its first."""

    profile: Literal["gpu", "laptop"] = "gpu"
    """`laptop` serves a small stand-in model on the CPU, through the same configuration."""


def choose(models: dict[str, LLMConfig], args: AppArgs, gated: Collection[str]) -> LLMConfig:
    """The configuration of the model that `args` asks for.

    Raises:
        ValueError: there is no such model, or its weights are gated, `profile` is `gpu` and HF_TOKEN is not set.
    """
    model = args.model or next(iter(models))
    if model not in models:
        close = difflib.get_close_matches(model, models, n=1)
        nearest = f" Did you mean {close[0]}?" if close else ""
        raise ValueError(f"There is no model {model} in this service.{nearest} It has: {', '.join(models)}.")
    if args.profile == "gpu" and model in gated and not os.environ.get("HF_TOKEN"):
        raise ValueError(
            f"The weights of {model} ({models[model].model_loading_config.model_source}) are gated, and HF_TOKEN is "
            "not set. Accept the licence on the model's Hugging Face page, make a read token in your account's "
            "settings there, and run: export HF_TOKEN=<the token>."
        )
    return models[model]


def build(models: dict[str, LLMConfig], args: AppArgs, *, gated: Collection[str], laptop_model: str) -> Application:
    """The Serve application of one model, with vLLM's OpenAI-compatible routes.

    Args:
        models: the service's models by model id, the default first.
        args: which of them, and where it runs.
        gated: the model ids whose weights need an HF_TOKEN.
        laptop_model: what stands in for them on the laptop profile, a name of `laptop.models.MODELS`.

    Raises:
        ValueError: as `choose` does.
    """
    config = choose(models, args, gated).model_copy(update={"server_cls": LLMServer})
    if args.profile == "laptop":
        from laptop.profile import laptop_profile  # not needed in production, so not imported there

        config = laptop_profile(config, laptop_model)
    return build_openai_app({"llm_configs": [config]})
