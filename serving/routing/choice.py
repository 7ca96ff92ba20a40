"""Which replica gets a request: `args: routing=...` of every service.

docs/routing-and-autoscaling.md says when to choose which.
"""

import os
import sys
from typing import Any, Literal

from ray.serve import Application
from ray.serve.config import RequestRouterConfig
from ray.serve.llm import LLMConfig

Routing = Literal["session", "prefix"]

DIRECT_STREAMING = "RAY_SERVE_LLM_ENABLE_DIRECT_STREAMING"
FORWARD_BODY = "RAY_SERVE_INGRESS_REQUEST_ROUTER_FORWARD_BODY"
SESSION_HEADER = "RAY_SERVE_SESSION_ID_HEADER_KEY"
DEFAULT_SESSION_HEADER = "x-session-id"

REMEMBERED_CHARS = 4_000_000  # of each replica's prompts: 1M tokens at 4 a token, what the KV cache of an H200 holds


def routed(config: LLMConfig, routing: Routing | None) -> LLMConfig:
    """A copy of `config` whose requests are routed so; as it is where `routing` is None, which is Ray's own choice.

    Raises:
        ValueError: the environment of the cluster lacks what this routing needs.
    """
    if routing is None:
        return config
    if routing == "prefix":
        check_body_is_forwarded()
    deployment = config.deployment_config or {}
    deployment = deployment | {"request_router_config": router_config(routing, deployment)}
    print(in_words(routing), file=sys.stderr, flush=True)
    return config.model_copy(update={"deployment_config": deployment})


def left_to_haproxy(app: Application) -> Application:
    """An application of `build_openai_app` in which HAProxy itself sends each request to the replica with the fewest.

    With direct streaming Ray 2.59 has HAProxy ask a process of Python first, for each request, which takes the replicas
    in turn, however long their queues are. That costs 2 ms a request: docs/performance.md has the figures.
    """
    if app._ingress_request_router is None:  # no direct streaming: the ingress chooses
        return app
    app._ingress_request_router = None
    # Serve refuses an application that names a router which HAProxy would pass by.
    app._bound_deployment = app._bound_deployment.options(request_router_config=RequestRouterConfig(), _internal=True)
    return app


def check_body_is_forwarded() -> None:
    """Raises ValueError where HAProxy would not show the router what is asked."""
    if os.environ.get(DIRECT_STREAMING) == "1" and os.environ.get(FORWARD_BODY) != "1":
        raise ValueError(
            f'routing=prefix reads the prompt, and HAProxy does not pass it on: set {FORWARD_BODY} to "1" in env_vars '
            "of service.yaml. It is for all processes of the cluster, so args cannot set it."
        )


def router_config(routing: Routing, deployment: dict[str, Any]) -> dict[str, Any]:
    """Serve's `request_router_config`.

    Args:
        deployment: the `deployment_config` of the model.
    """
    if routing == "session":
        return dict(request_router_class="serving.routing.session_router:SessionRouter")
    target = deployment.get("autoscaling_config", {}).get("target_ongoing_requests", 16)
    return dict(
        request_router_class="serving.routing.prefix_router:PrefixRouter",
        request_router_kwargs=dict(
            # Ray's default is infinite: one replica gets all prompts that begin alike, however long its queue is.
            imbalanced_threshold=max(1, target // 2),  # guess: half a replica's load
            # Ray's default is to remember every prompt there ever was.
            do_eviction=True,
            eviction_threshold_chars=REMEMBERED_CHARS,
            eviction_target_chars=REMEMBERED_CHARS * 9 // 10,
        ),
    )


def in_words(routing: Routing) -> str:
    if routing == "prefix":
        return "Routing: prompts that begin alike go to the same replica, as long as its queue is not much longer."
    header = os.environ.get(SESSION_HEADER, DEFAULT_SESSION_HEADER)
    return f"Routing: requests with the same {header} header go to the same replica, those without it to any."
