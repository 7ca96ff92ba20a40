"""The environment of Ray processes on this machine: what a service.yaml sets, made to fit."""

import os
from pathlib import Path

from ops.console.cli import CommandError, err
from ops.local import preflight

RAY_MAXCONN = 20_000  # the default of RAY_SERVE_HAPROXY_MAXCONN in Ray 2.59
FILES_PER_CONNECTION = 2.5  # and 36 in all, read off what HAProxy 2.8.25 asks for: 50,036 files for 20,000 connections
OWN_FILES = 100
SMALLEST_MAXCONN = 256  # guess: fewer would turn a small load test away

HAPROXY_PORTS = (  # with Ray's defaults, two Ray clusters on one machine would take the same ones
    "RAY_SERVE_HAPROXY_METRICS_PORT",
    "RAY_SERVE_HAPROXY_STATS_PORT",
    "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT",
)


def cluster_env(env_vars: dict[str, str], root: Path) -> dict[str, str]:
    """Environment variables for a Ray cluster of this machine, to be set before Ray is imported.

    Args:
        env_vars: those of a service.yaml; an empty value is taken from this process's environment.
        root: the folder that the application is imported from.
    """
    declared = {name: value or os.environ.get(name, "") for name, value in env_vars.items()}
    env = {name: value for name, value in declared.items() if value and not is_elsewhere(value)}
    env["RAY_USAGE_STATS_ENABLED"] = "0"
    env["RAY_prestart_worker_first_driver"] = "0"  # one for each CPU, of which most end unused: 7 s of two cores' time
    env["PYTHONPATH"] = os.pathsep.join(filter(None, [str(root), os.environ.get("PYTHONPATH")]))
    env["RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S"] = "60"  # a busy machine's HAProxy took longer than three times Ray's 5
    if env.get("RAY_SERVE_ENABLE_HA_PROXY") == "1":
        env |= haproxy_env(int(env.get("RAY_SERVE_HAPROXY_MAXCONN", RAY_MAXCONN)))
    return env


def is_elsewhere(value: str) -> bool:
    """Whether it is a folder of Anyscale's nodes or of the service's image that this machine does not have."""
    return value.startswith("/") and not Path(value).is_dir()


def haproxy_env(maxconn: int) -> dict[str, str]:
    """HAProxy's ports, and its limit of connections where `maxconn` does not fit this machine.

    Raises:
        CommandError: the limit of open files is too low for HAProxy to be of use.
    """
    env = {name: str(preflight.free_port()) for name in HAPROXY_PORTS}
    limit = preflight.raise_open_files_limit()
    affordable = int((limit - OWN_FILES) / FILES_PER_CONNECTION)
    if affordable >= maxconn:
        return env
    if affordable < SMALLEST_MAXCONN:
        needed = int(SMALLEST_MAXCONN * FILES_PER_CONNECTION) + OWN_FILES
        raise CommandError(
            f"The limit of open files is {limit}, and HAProxy needs at least {needed}. "
            "Raise it, for instance with: ulimit -n 65536"
        )
    err.print(f"The limit of open files is {limit}, so HAProxy takes {affordable} connections instead of {maxconn}.")
    return env | {"RAY_SERVE_HAPROXY_MAXCONN": str(affordable)}
