"""Replicas without an engine behind HAProxy and Ray's own router: what decides where a request goes is real.

As with services, the router is there where the options name its class, and else HAProxy decides.

Run as a program with a port: it takes the options of the deployment from stdin, a JSON object a line, and prints
`ready` and how many replicas run when it is deployed. `{"lose": "tree"}` ends the prefix router's memory instead, and
`{}` only prints. It ends with its input.
"""

import asyncio
import json
import os
import sys
from pathlib import Path

from ops.local import preflight
from ops.local.cluster_env import cluster_env
from ops.project.catalogue import ROOT

NAME = "stub"
DIRECT = {
    "RAY_SERVE_ENABLE_HA_PROXY": "1",
    "RAY_SERVE_LLM_ENABLE_DIRECT_STREAMING": "1",
    "RAY_SERVE_RUN_USER_CODE_IN_SEPARATE_THREAD": "0",
    "RAY_SERVE_INGRESS_REQUEST_ROUTER_FORWARD_BODY": "1",
    "RAY_SERVE_HAPROXY_MAXCONN": "256",
}


class Stub:
    """Answers with who it is, after as many seconds as the request says."""

    async def __serve_build_asgi_app__(self):
        from fastapi import FastAPI, Request
        from ray import serve

        app, replica = FastAPI(), serve.get_replica_context().replica_id.unique_id

        @app.post("/v1/chat/completions")
        async def chat(request: Request) -> dict:
            await asyncio.sleep((await request.json()).get("seconds", 0))
            message = {"role": "assistant", "content": "Hello"}
            choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
            return {"replica": replica, "pid": os.getpid(), "object": "chat.completion", "choices": choices}

        return app


def deploy(options: dict, port: int, logs: Path) -> None:
    from ray import serve
    from ray.llm._internal.serve.core.ingress.router import LLMRouter

    from ops.local import serve_app
    from serving.routing.choice import left_to_haproxy

    on_no_cpu = {"ray_actor_options": {"num_cpus": 0}}
    many = {"max_ongoing_requests": 1000}  # as Ray gives its router; Serve's default is 5
    stub = serve.deployment(serve.ingress()(Stub), name=f"LLMServer:{NAME}", **on_no_cpu, **many, **options)
    server = stub.options(version="same", _internal=True).bind()  # else each deploy replaces the replicas
    router = serve.deployment(LLMRouter, **on_no_cpu, **many).bind(server=server)
    app = server._with_ingress_request_router(router)
    serve_app.deploy(app if "request_router_config" in options else left_to_haproxy(app), NAME, "/", port)
    serve_app.wait_until_running(NAME, logs, lambda _: None)


def running_replicas() -> int:
    from ray import serve

    return serve.status().applications[NAME].deployments[f"LLMServer:{NAME}"].replica_states.get("RUNNING", 0)


def lose_tree() -> None:
    """End the actor in which the prefix router remembers prompts."""
    import ray

    ray.kill(ray.get_actor("LlmPrefixTreeActor", namespace=f"serve::{NAME}::LLMServer:{NAME}"))


def main() -> None:
    port = int(sys.argv[1])
    replies = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # Ray prints what its raylet says, such as of a killed replica
    preflight.check_port(port)
    os.environ.update(cluster_env(DIRECT, ROOT))
    from ops.local import serve_app

    logs = serve_app.start_ray("laptop")
    try:
        for line in sys.stdin:
            options = json.loads(line)
            if options == {"lose": "tree"}:
                lose_tree()
            elif options:
                deploy(options, port, logs)
            print("ready", running_replicas(), file=replies, flush=True)
    finally:
        serve_app.stop_ray()


if __name__ == "__main__":
    main()
