"""What every `services/*/serve.py` shares: choose its models and build the Serve application."""

import difflib
import os
from collections.abc import Collection
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, field_validator
from ray.serve import Application
from ray.serve.llm import LLMConfig, build_openai_app

from serving.auth.application import with_api_keys
from serving.autoscaling import Autoscaling, scaled
from serving.llm_config import loading_of
from serving.llm_server import LLMServer
from serving.routing.choice import Routing, left_to_haproxy, routed
from serving.tracing import trace_endpoint


class ServiceArgs(BaseModel):
    """The `args` of a service.yaml, and the `key=value` words of `serve run`. Unknown ones are errors."""

    model_config = ConfigDict(extra="forbid")

    profile: Literal["gpu", "laptop"] = "gpu"
    """`laptop` serves a small stand-in model on the CPU, through the same configuration."""

    routing: Routing | None = None
    """`session`: by a header; `prefix`: by how prompts begin; none: the replica with the fewest requests."""

    api_keys: str | None = None
    """Who may ask: a key file, as a path from the root of the repository, or `env:NAME` for an environment variable
    with the text of one. None means everyone. docs/authentication.md says how they work."""

    autoscaling: Autoscaling = "requests"
    """What the number of replicas follows: the number of requests, or the engine's queue and KV cache."""

    traces: str | None = None
    """The OpenTelemetry collector that spans of each request go to: OTLP by gRPC, such as http://collector:4317."""

    @field_validator("traces")
    @classmethod
    def is_a_collector(cls, endpoint: str | None) -> str | None:
        if endpoint is not None and (fault := trace_endpoint.fault(endpoint)):
            raise ValueError(f"{endpoint} {fault}")
        return endpoint


class AppArgs(ServiceArgs):
    """The `args` of a service that serves one of its models."""

    model: str | None = None
    """One of the service's models; none means its first."""


def served(models: dict[str, LLMConfig], args: ServiceArgs, gated: Collection[str]) -> dict[str, LLMConfig]:
    """The models that `args` asks for: one where it can choose, else all.

    Raises:
        ValueError: there is no such model, or weights are gated, `profile` is `gpu` and HF_TOKEN is not set.
    """
    names = [choice(models, args.model)] if isinstance(args, AppArgs) else list(models)
    for name in names:
        if args.profile == "gpu" and name in gated:
            check_token(name, models[name])
    return {name: models[name] for name in names}


def choice(models: dict[str, LLMConfig], name: str | None) -> str:
    """The name of one of the models. Raises ValueError: there is none of that name."""
    name = name or next(iter(models))
    if name not in models:
        close = difflib.get_close_matches(name, models, n=1)
        nearest = f" Did you mean {close[0]}?" if close else ""
        raise ValueError(f"There is no model {name} in this service.{nearest} It has: {', '.join(models)}.")
    return name


def check_token(name: str, config: LLMConfig) -> None:
    """Raises ValueError: HF_TOKEN, which the gated weights of a model need, is not set."""
    if not os.environ.get("HF_TOKEN"):
        raise ValueError(
            f"The weights of {name} ({loading_of(config).model_source}) are gated, and HF_TOKEN is "
            "not set. Accept the licence on the model's Hugging Face page, make a read token in your account's "
            "settings there, and run: export HF_TOKEN=<the token>."
        )


def build(models: dict[str, LLMConfig], args: AppArgs, *, gated: Collection[str], laptop_model: str) -> Application:
    """The Serve application of one model, with vLLM's OpenAI-compatible routes.

    Args:
        models: the service's models by model id, the default first.
        args: which of them, and where it runs.
        gated: the model ids whose weights need an HF_TOKEN.
        laptop_model: what stands in for them on the laptop profile, a name of `laptop.models.MODELS`.

    Raises:
        ValueError: as `served`, `prepared` and `application` do.
    """
    (chosen,) = served(models, args, gated).values()
    return application({"llm_configs": [prepared(chosen, args, laptop_model)]}, args)


def build_all(
    models: dict[str, LLMConfig],
    args: ServiceArgs,
    *,
    gated: Collection[str],
    laptop_models: dict[str, str],
    ingress: dict[str, Any],
) -> Application:
    """The Serve application of all models at once, behind one OpenAI-compatible ingress, which reads `model`.

    Args:
        models: the service's models by model id.
        args: where it runs.
        gated: the model ids whose weights need an HF_TOKEN.
        laptop_models: what stands in for each on the laptop profile, a name of `laptop.models.MODELS`.
        ingress: the deployment options of the ingress, which every request and token passes through.

    Raises:
        ValueError: as `served`, `prepared` and `application` do.
    """
    configs = [prepared(one, args, laptop_models[name]) for name, one in served(models, args, gated).items()]
    if args.profile == "laptop":
        from laptop.profile import laptop_ingress

        ingress = laptop_ingress(ingress)
    if args.traces:
        from serving.tracing.spans import traced_ingress

        ingress = traced_ingress(ingress, args.traces)
    arguments = {
        "llm_configs": configs,
        "ingress_deployment_config": ingress,
        "ingress_cls_config": {"ingress_cls": "serving.ingress:OpenAiIngress"},
    }
    return application(arguments, args)


def application(arguments: dict[str, Any], args: ServiceArgs) -> Application:
    """What `build_openai_app` builds of these arguments, with API keys before it where `args` wants them.

    Where no model names a request router, HAProxy chooses the replica.

    Raises:
        ValueError: as `with_api_keys` does.
    """
    app = build_openai_app(with_api_keys(arguments, args.api_keys) if args.api_keys else arguments)
    deployments = [config.deployment_config or {} for config in arguments["llm_configs"]]
    return app if any("request_router_config" in one for one in deployments) else left_to_haproxy(app)


def prepared(
    config: LLMConfig, args: ServiceArgs, laptop_model: str, laptop_fields: dict[str, Any] | None = None
) -> LLMConfig:
    """The configuration as it is served: with our server class, and as `args` says.

    Args:
        laptop_fields: what the laptop profile sets beside its own changes, written as those.

    Raises:
        ValueError: as `routed` and `scaled` do.
    """
    config = config.model_copy(update={"server_cls": LLMServer})
    config = scaled(routed(config, args.routing), args.autoscaling)
    if args.traces:
        from serving.tracing.spans import traced

        config = traced(config, args.traces)
    if args.profile == "laptop":
        from laptop.profile import laptop_profile  # not needed in production, so not imported there

        config = laptop_profile(config, laptop_model, laptop_fields)
    return config
