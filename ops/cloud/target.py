"""Which service on Anyscale a command is about, and how the next command names it."""

import shlex

from ops.cloud.service_state import Target
from ops.console.durations import seconds
from ops.project.catalogue import Service

PROVISIONING_S = 1800  # guess: for machines with GPUs to be found and the image to be pulled


def start_timeout_s(service: Service, given: str | None) -> float:
    """The longest that a version may take to run."""
    if given:
        return seconds(given)
    return PROVISIONING_S + float(service.env_vars.get("VLLM_ENGINE_READY_TIMEOUT_S", 600))  # 600 is vLLM's default


def target_of(service: Service, name: str | None, cloud: str | None, project: str | None) -> Target:
    """Which service on Anyscale is meant: what the command line does not say, service.yaml does."""
    config = service.config
    return Target(name or config["name"], cloud or config.get("cloud"), project or config.get("project"))


def again(verb: str, service: Service, target: Target, *words: str) -> str:
    """The command line of another command for the same service, for a message."""
    options = [("--name", target.name, service.config["name"]), ("--cloud", target.cloud, service.config.get("cloud"))]
    options.append(("--project", target.project, service.config.get("project")))
    named = [word for option, value, default in options if value and value != default for word in (option, value)]
    return shlex.join([f"scripts/{verb}", service.name, *named, *words])
