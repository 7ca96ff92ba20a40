"""What a deploy of a service would change: its service.yaml beside the version that runs or was deployed last."""

import copy
import difflib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ops.cloud import service_state, version_spec
from ops.cloud.service_state import Target
from ops.console.cli import CommandError
from ops.project import yaml_models
from ops.project.catalogue import Service
from ops.project.strict_model import StrictModel
from ops.rollouts import journal
from ops.rollouts.journal import Journal, State

COMPARED = ("image_uri", "containerfile", "compute_config", "applications", "env_vars")
SECRET = "(a secret)"


class ConfigDiff(StrictModel):
    against: str | None
    """The version that is compared with, in words; None where there is none."""
    lines: list[str]
    """Settings, one each: `- ` as they are there and `+ ` as they are here. Empty where none differs."""
    notes: list[str]


def against_running(service: Service, target: Target) -> ConfigDiff:
    """Read from Anyscale. Values that it has of environment variables are not shown: they may be secrets.

    Raises:
        CommandError: there is no such service, or Anyscale cannot be asked.
    """
    from anyscale.service.models import ServiceConfig  # takes seconds

    state = service_state.find(target)
    if state is None:
        raise CommandError(f"There is no service {target}.")
    running = version_spec.previous_of(state.primary, target, service.env_vars)
    others = {name: service.env_vars.get(name) and "another value" for name in running.secrets}
    before = running.config | {"env_vars": running.config["env_vars"] | {k: v or "" for k, v in others.items()}}
    here = ServiceConfig.from_dict(copy.deepcopy(service.config)).to_dict()  # with the SDK's defaults, as it tells them
    notes = []
    if "containerfile" in here:
        del here["containerfile"]
        before.pop("image_uri", None)
        notes.append("The image is not compared: each deploy builds it from the Containerfile.")
    if state.canary:
        notes.append(f"A rollout is under way: {state.canary.name} has {state.canary.weight}% of the traffic.")
    words = f"{running.version}, which runs as {target.name}"
    return compare(service, before, here, running.version, words, notes)


def against_last_deploy(service: Service) -> ConfigDiff:
    """Read from the journals of this checkout."""
    journals = journal.of(service.config["name"])
    deployed = next((log for log in journals if log.last.state == State.FINISHED and file_of(log).exists()), None)
    newer = journals[: journals.index(deployed)] if deployed else journals
    notes = [f"The {log.plan.kind} of {log.plan.version} since then: {log.last.state}." for log in newer]
    if deployed is None:
        return ConfigDiff(against=None, lines=[], notes=["Nothing was deployed from here yet.", *notes])
    plan, last = deployed.plan, deployed.last
    words = f"{plan.version}, the last {plan.kind} from here ({last.at:%Y-%m-%d %H:%M} UTC)"
    return compare(service, yaml_models.load(file_of(deployed)), service.config, plan.version, words, notes)


def file_of(log: Journal) -> Path:
    return log.folder / version_spec.FILE


def compare(
    service: Service, before: dict[str, Any], here: dict[str, Any], version: str, words: str, notes: list[str]
) -> ConfigDiff:
    old, new = (sorted(set(settings(config))) for config in (before, here))
    lines = [line for line in difflib.ndiff(old, new) if line[0] in "+-"]
    return ConfigDiff(
        against=words, lines=lines, notes=[*notes, f"serve.py is not compared{git_diff(service, version)}."]
    )


def git_diff(service: Service, version: str) -> str:
    """How to compare the files, for a version whose name ends with the commit it was made from."""
    commit = version.rpartition("-as-")[2].split("-")[2:]
    if len(commit) != 1:
        return ""
    return f": git diff {commit[0]} -- services/{service.folder.name} serving"


def settings(config: dict[str, Any]) -> Iterator[str]:
    """A line for each setting that is compared, such as `compute_config.worker_nodes.l4.max_nodes: 4`."""
    compared = copy.deepcopy({key: config.get(key) for key in COMPARED})
    for application in compared["applications"] or []:
        application.pop("runtime_env", None)  # where the code was uploaded to
    if isinstance(compared["compute_config"], dict):
        compared["compute_config"].pop("cloud", None)
    yield from lines_of(compared)


def lines_of(value: Any, path: str = "") -> Iterator[str]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from lines_of(item, f"{path}.{key}" if path else key)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            name = item.get("name", index) if isinstance(item, dict) else index
            yield from lines_of(item, f"{path}.{name}")
    elif value is not None:
        is_secret = path.startswith("env_vars.") and value == ""
        yield f"{path}: {SECRET if is_secret else value}"
