"""The process of one version: `python -m rehearsal.control_plane.run_version SPEC.json`, in the folder of its package.

It serves the application on a Ray cluster of its own, writes how far it is, and ends with SIGINT or its parent.
"""

import importlib
import inspect
import os
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
from pydantic import BaseModel

from ops.console.cli import CommandError
from ops.local.stopping import stop_on_signals, stop_ray
from rehearsal.control_plane.process_spec import Report, Spec

ANSWER_TIMEOUT_S = 60  # guess: Serve's proxy knows an application within a second or two of its start
WATCH_S = 1


def main(spec_file: Path) -> int:
    """Serve until stopped; returns the exit status."""
    spec = Spec.model_validate_json(spec_file.read_text())
    parent = os.getppid()
    try:
        stop_on_signals()
        start(spec)
        watch(spec, parent)
    except KeyboardInterrupt:
        return 0
    except Exception as error:
        traceback.print_exc()
        cause = str(error) if isinstance(error, CommandError) else f"{type(error).__name__}: {error}"
        Report(state="UNHEALTHY", message=cause).write(spec.report_file)
        return 1
    finally:
        stop_ray()
    return 0


def start(spec: Spec) -> None:
    """Serve the application and wait until it answers.

    Raises:
        CommandError: it cannot be imported, built or started.
    """
    waiting_for = waiting(spec)
    waiting_for("the application to be imported")
    target = import_application(spec.import_path)
    from ops.local import serve_app

    waiting_for("Ray to start")
    logs = serve_app.start_ray("laptop")
    waiting_for("the application to be built")
    application = build(target, spec.args)
    waiting_for("Ray Serve to start")
    serve_app.deploy(application, spec.name, spec.route_prefix, spec.port)
    serve_app.wait_until_running(spec.name, logs, waiting_for)
    waiting_for("the application to answer")
    wait_until_it_answers(spec)


def waiting(spec: Spec) -> Callable[[str], None]:
    """Reports what is awaited, each time that it changes."""
    last = ""

    def waiting_for(what: str) -> None:
        nonlocal last
        if what != last:
            last = what
            print(f"Waiting for {what}", flush=True)
            Report(state="STARTING", message=f"waiting for {what}").write(spec.report_file)

    return waiting_for


def import_application(import_path: str) -> Any:
    module, _, name = import_path.partition(":")
    try:
        return getattr(importlib.import_module(module), name)
    except Exception as error:
        raise CommandError(f"{import_path} cannot be imported. {type(error).__name__}: {error}") from error


def build(target: Any, args: dict[str, Any]) -> Any:
    """The Serve application, with the laptop profile where its builder knows profiles."""
    from ray.serve._private.api import call_user_app_builder_with_args_if_necessary  # as `serve run` does

    if knows_profiles(target):
        args = args | {"profile": "laptop"}
    try:
        return call_user_app_builder_with_args_if_necessary(target, args)
    except Exception as error:
        raise CommandError(f"The application cannot be built. {type(error).__name__}: {error}") from error


def knows_profiles(target: Any) -> bool:
    """Whether it is a typed builder whose arguments have a profile, as those of this repository are."""
    if not inspect.isfunction(target):
        return False
    types = [parameter.annotation for parameter in inspect.signature(target).parameters.values()]
    return any(
        inspect.isclass(kind) and issubclass(kind, BaseModel) and "profile" in kind.model_fields for kind in types
    )


def wait_until_it_answers(spec: Spec) -> None:
    """An application that runs may still be unknown to Serve's proxy.

    Raises:
        CommandError: it stays unknown.
    """
    deadline = time.monotonic() + ANSWER_TIMEOUT_S
    url = f"http://127.0.0.1:{spec.port}"
    with httpx.Client(timeout=ANSWER_TIMEOUT_S, trust_env=False) as client:  # no proxy on the way to ourselves
        while not is_routed(client, url, spec.route_prefix):
            if time.monotonic() > deadline:
                raise CommandError(f"The application runs, and does not answer in {ANSWER_TIMEOUT_S} s.")
            time.sleep(0.1)


def is_routed(client: httpx.Client, url: str, route_prefix: str) -> bool:
    try:
        routes = client.get(f"{url}/-/routes")
        health = client.get(f"{url}/-/healthz")
        # The application itself may answer 404 here, and Serve's proxy says 503 while no replica is known to it.
        answer = client.get(f"{url}{route_prefix}")
    except httpx.TransportError:
        return False
    return routes.is_success and route_prefix in routes.json() and health.is_success and answer.status_code != 503


def watch(spec: Spec, parent: int) -> None:
    """Report whether the application is healthy, as long as the parent lives."""
    from ray import serve

    while os.getppid() == parent:  # a control plane that was killed leaves no version behind
        application = serve.status().applications[spec.name]
        if application.status in ("UNHEALTHY", "DEPLOY_FAILED"):
            Report(state="UNHEALTHY", message=application.message).write(spec.report_file)
        else:
            Report(state="RUNNING", message="The application answers.").write(spec.report_file)
        time.sleep(WATCH_S)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
