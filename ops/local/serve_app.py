"""A Ray cluster of this process, with one Serve application on it.

Import this module only after the environment of the cluster is set: Ray Serve reads its variables at import.
"""

import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import psutil
import ray
from ray import serve
from ray.exceptions import RayError
from ray.util import placement_group_table

from ops.console.cli import CommandError
from ops.local import replica_logs
from ops.local.stopping import stop_on_signals

START_ATTEMPTS = 3  # guess
TOO_SLOW = "timed out during startup"  # in the message of Ray 2.59's exception
LAPTOP_CPUS = 4  # guess: replicas on a laptop share its cores; a third engine on two would wait for one for ever
LAPTOP_OBJECT_STORE_BYTES = 200_000_000  # nothing large passes through it; Ray would reserve 30% of the memory

Started = TypeVar("Started")


def start_ray(profile: str) -> Path:
    """Start a Ray cluster that ends with this process; returns the folder of its logs.

    Raises:
        CommandError: it did not start in several attempts.
    """
    return in_several_attempts(lambda: init_ray(profile))


def in_several_attempts(start: Callable[[], Started]) -> Started:
    """What `start` returns, which starts Ray.

    Ray 2.59's raylet gives its agent 15 s to start, and gives up where something else keeps the machine busy: it is
    started again then.

    Raises:
        CommandError: it did not start in any of them.
    """
    for _ in range(START_ATTEMPTS):
        try:
            return start()
        except Exception as error:  # Ray has no class of its own for it
            if TOO_SLOW not in str(error):
                raise
            stop_ray()
    raise CommandError(
        f"Ray did not start in {START_ATTEMPTS} attempts: its processes took too long. Is the machine busy with "
        "something else? Stop that, and try again."
    )


def init_ray(profile: str) -> Path:
    context: Any = ray.init(  # annotated as what Ray Client returns too, which has no session here
        address="local",  # never one that is there already
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
        num_cpus=max(LAPTOP_CPUS, os.cpu_count() or 1) if profile == "laptop" else None,
        object_store_memory=LAPTOP_OBJECT_STORE_BYTES if profile == "laptop" else None,
    )
    stop_on_signals()  # again: ray.init has given SIGTERM to a handler of its own
    return Path(context.address_info["session_dir"]) / "logs"


def stop_ray() -> None:
    """Stop the cluster and make sure that none of its processes, HAProxy among them, outlives it."""
    children = psutil.Process().children(recursive=True)
    ray.shutdown()
    _, alive = psutil.wait_procs(children, timeout=10)
    for process in alive:
        process.kill()


def deploy(application: serve.Application, name: str, route_prefix: str, port: int) -> None:
    """Start Serve on 127.0.0.1 and hand it the application; does not wait for it.

    Raises:
        CommandError: Serve's controller or HAProxy did not start.
    """
    try:
        start_serve(port)
    except (RayError, TimeoutError) as error:
        raise CommandError(f"Ray Serve did not start. {str(error).strip().splitlines()[-1]}") from error
    target = serve.RunTarget(target=application, name=name, route_prefix=route_prefix)
    serve.run_many([target], wait_for_ingress_deployment_creation=False, wait_for_applications_running=False)


def start_serve(port: int) -> None:
    """Raises RayError or TimeoutError where it does not start."""
    options = {"host": "127.0.0.1", "port": port}
    try:
        serve.start(http_options=options)
    except TimeoutError:  # after 60 s, which Ray 2.59 has no setting for; HAProxy goes on starting
        serve.start(http_options=options)


def wait_until_running(name: str, logs: Path, waiting_for: Callable[[str], None]) -> None:
    """Wait until every deployment of the application runs, and call `waiting_for` with what is awaited.

    Raises:
        CommandError: it failed, or waits for resources that this machine does not have. The message says why.
    """
    while True:
        application = serve.status().applications[name]
        if application.status == "RUNNING":
            return
        messages = [application.message, *(deployment.message for deployment in application.deployments.values())]
        failed = [text for text in messages if "failed to start" in text]
        if failed or application.status == "DEPLOY_FAILED":
            # Serve would try twice more, a full engine start each; what failed here fails again.
            cause = replica_logs.root_cause(logs) or (failed or messages)[0].strip().splitlines()[-1]
            raise CommandError(f"The application failed to start. {cause}\nThe logs are in {logs}.")
        check_feasible()
        waiting_for(replica_logs.stage(logs) or "the replica to start")
        time.sleep(0.5)


def check_feasible() -> None:
    """Raises CommandError where a replica waits for resources that no node of the cluster has in all."""
    for group in placement_group_table().values():
        if group["stats"]["scheduling_state"] == "INFEASIBLE":
            total = ray.cluster_resources()
            wanted = {name: n for bundle in group["bundles"].values() for name, n in sorted(bundle.items()) if n}
            raise CommandError(
                f"A replica needs {in_words(wanted)} on one node, and this machine has "
                f"{in_words({name: total.get(name, 0) for name in wanted})}. "
                "Choose a model that fits, or: --profile laptop"
            )


def in_words(resources: dict[str, float]) -> str:
    return ", ".join(f"{name} {n:g}" for name, n in resources.items())
