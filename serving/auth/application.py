"""Puts the keys before an application, in both ways that Ray Serve LLM has to take requests."""

import copy
import os
from typing import Any

from ray import serve
from starlette.middleware import Middleware

from serving.auth import key_file
from serving.auth.limiter import Limiter
from serving.auth.middleware import ApiKeyMiddleware

ACTOR = "api-key-limits"
LIMITS = dict(
    name=ACTOR,
    actor_class="serving.auth.limits:SharedLimits",
    # On the head node: another may be scaled away under an actor that reserves nothing.
    actor_options=dict(num_cpus=0, resources={"node:__internal_head__": 0.001}),
)


def with_api_keys(arguments: dict[str, Any], source: str) -> dict[str, Any]:
    """The arguments of `build_openai_app`, changed so that requests need a key.

    Args:
        source: as in `key_file.load`.

    Raises:
        ValueError: as `key_file.load` does.
    """
    key_file.load(source)
    configs = [in_model(config, source) for config in arguments["llm_configs"]]
    if os.environ.get("RAY_SERVE_LLM_ENABLE_DIRECT_STREAMING") == "1":
        return arguments | {"llm_configs": configs}
    ingress = copy.deepcopy(arguments.get("ingress_deployment_config", {}))
    ingress["deployment_actors"] = [*ingress.get("deployment_actors", []), LIMITS]
    ingress_cls = arguments.get("ingress_cls_config", {"ingress_cls": "serving.ingress:OpenAiIngress"})
    return arguments | {
        "llm_configs": configs,
        "ingress_deployment_config": ingress,
        "ingress_cls_config": ingress_cls | {"ingress_extra_kwargs": {"api_keys": source}},
    }


def in_model(config: Any, source: str) -> Any:
    """An LLMConfig whose engine says what each answer takes, and with direct streaming asks for keys."""
    update: dict[str, Any] = {"engine_kwargs": config.engine_kwargs | {"enable_force_include_usage": True}}
    if os.environ.get("RAY_SERVE_LLM_ENABLE_DIRECT_STREAMING") == "1":
        deployment = copy.deepcopy(config.deployment_config)
        deployment["deployment_actors"] = [*deployment.get("deployment_actors", []), LIMITS]
        update["deployment_config"] = deployment
        update["experimental_configs"] = config.experimental_configs | {"api_keys": source}
    return config.model_copy(update=update)


def protect(app: Any, source: str) -> Any:
    """The FastAPI app of a replica, with the keys before all its routes.

    Within its other middleware: so that CORS answers a browser's preflight, which carries no key, and adds its headers
    to a refusal too.
    """
    limiter = Limiter(lambda: serve.get_deployment_actor(ACTOR))
    app.user_middleware.append(Middleware(ApiKeyMiddleware, source=source, limiter=limiter))
    app.middleware_stack = None  # it is built with what is there at the first request
    return app


class AsksForKeys:
    """An addition to Ray's LLMServer: its app, which direct streaming reaches, asks for keys where there are some."""

    _llm_config: Any

    async def __serve_build_asgi_app__(self) -> Any:
        app = await super().__serve_build_asgi_app__()  # ty: ignore[missing-attribute]  # of the LLMServer
        source = self._llm_config.experimental_configs.get("api_keys")
        return protect(app, source) if source else app
