"""What is handed to Anyscale: a service.yaml as it is to be deployed, and the values of the secrets that it names."""

import copy
import os
import subprocess
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from ops.cloud.service_state import Target, Version
from ops.console.cli import CommandError
from ops.project import yaml_models
from ops.project.catalogue import ROOT, Service
from ops.project.strict_model import StrictModel

FILE = "service.yaml"


class Previous(StrictModel):
    """The version to go back to, and all that deploying it again takes except the values of secrets."""

    version: str
    config: dict[str, Any]
    """A service.yaml whose working_dir is the package that was uploaded for it."""
    secrets: list[str]
    """Environment variables that it had and whose values are not kept."""


@dataclass(frozen=True)
class VersionSpec:
    """One version of a service, ready to be deployed."""

    target: Target
    version: str
    config: dict[str, Any]
    """The service.yaml, without the values of secrets."""
    secrets: dict[str, str] = field(repr=False)

    @property
    def arguments(self) -> dict[str, Any]:
        """The arguments of its application."""
        return self.config["applications"][0].get("args", {})

    @property
    def environment(self) -> dict[str, str]:
        """The environment variables of every process of its cluster, with the values of secrets."""
        return self.config.get("env_vars", {}) | self.secrets

    def write(self, folder: Path) -> Path:
        """Write its service.yaml into a folder, as a record of what was deployed; returns the file."""
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / FILE
        file.write_text(yaml.safe_dump(self.config, sort_keys=False))
        return file


def of_service(service: Service, target: Target) -> VersionSpec:
    """The service of this checkout, with the values that the command line gives, as a version of `target`.

    Raises:
        CommandError: a secret is not in the environment, or the Anyscale SDK does not take the file.
    """
    config = copy.deepcopy(service.config)
    version = version_name()
    config |= {"name": target.name, "version_name": version}
    config |= {key: value for key, value in (("cloud", target.cloud), ("project", target.project)) if value}
    check(config)
    return VersionSpec(
        target, version, config, secrets({name for name, value in service.env_vars.items() if not value})
    )


def of_file(file: Path, target: Target) -> VersionSpec:
    """A version whose deploy was planned before, and its service.yaml written.

    Raises:
        CommandError: this checkout is of another commit now, or a secret is not in the environment.
    """
    config = yaml_models.load(file)
    version = config["version_name"]
    if "://" not in config.get("working_dir", "") and not version.endswith(commit()):
        raise CommandError(
            f"{version} was planned from another commit than the one that is checked out now ({commit()}). "
            "Check that one out, or take the rollout back: scripts/rollout --abort"
        )
    return VersionSpec(
        target, version, config, secrets({name for name, value in config["env_vars"].items() if not value})
    )


def of_previous(previous: Previous, target: Target, when: datetime | None = None) -> VersionSpec:
    """A version that was deployed before, once more, from the package that was uploaded then.

    Args:
        when: part of its new name; default: now.

    Raises:
        CommandError: a secret that it had is not in the environment.
    """
    version = name_again(previous.version, when or datetime.now(UTC))
    config = previous.config | {"name": target.name, "version_name": version}
    check(config)
    return VersionSpec(target, version, config, secrets(set(previous.secrets)))


def previous_of(version: Version, target: Target, public: dict[str, str]) -> Previous:
    """What to keep of a version that runs, to deploy it again.

    Args:
        public: environment variables whose values are no secret, because they are in the repository. Of all others
            the name is kept, and the value is taken from the environment when it is deployed again.
    """
    config = {key: value for key, value in copy.deepcopy(version.config).items() if value is not None}
    env_vars: dict[str, str] = {}
    for application in config["applications"]:
        env_vars |= application.get("runtime_env", {}).pop("env_vars", {})  # the SDK tells them per application only
    config["env_vars"] = {name: value for name, value in env_vars.items() if public.get(name) == value}
    config |= {key: value for key, value in (("cloud", target.cloud), ("project", target.project)) if value}
    return Previous(version=version.name, config=config, secrets=sorted(set(env_vars) - set(config["env_vars"])))


def check(config: dict[str, Any]) -> None:
    """Raises CommandError where the Anyscale SDK does not take the configuration."""
    from anyscale.service.models import ServiceConfig  # takes seconds

    try:
        ServiceConfig.from_dict(config)
    except (TypeError, ValueError) as error:
        raise CommandError(f"The Anyscale SDK does not take this service.yaml: {error}") from None


def secrets(names: set[str]) -> dict[str, str]:
    """Their values in the environment.

    Raises:
        CommandError: one is not there. A variable that is set and empty is.
    """
    missing = sorted(names - set(os.environ))
    if missing:
        raise CommandError(
            f"The service needs {', '.join(missing)}, which the environment does not have. "
            f"export {missing[0]}=<its value>, or an empty one if what you deploy does without it."
        )
    return {name: os.environ[name] for name in sorted(names)}


def version_name() -> str:
    """A name such as 20261122-235912-5a40ecd: when, and from which commit."""
    return "-".join(filter(None, [datetime.now(UTC).strftime("%Y%m%d-%H%M%S"), commit()]))


def name_again(version: str, when: datetime) -> str:
    """The name of a version that is deployed once more."""
    return f"{when:%Y%m%d-%H%M%S}-as-{name_before(version)}"


def name_before(version: str) -> str:
    """The name that a version had when it was deployed first."""
    return version.partition("-as-")[2] or version


def commit() -> str:
    """The short name of the commit that is checked out, with `-dirty` where files differ; empty without git."""
    described = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--exclude=*"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return described.stdout.strip()
