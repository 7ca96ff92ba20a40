"""The services of this repository: the folders of `services/` that hold a service.yaml."""

import difflib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ops.console.cli import CommandError
from ops.project import yaml_models

ROOT = Path(__file__).resolve().parents[2]
SERVICES = ROOT / "services"


@dataclass(frozen=True)
class Service:
    """One category: `services/small_size_llm` is the service `small-size-llm`."""

    folder: Path

    @property
    def name(self) -> str:
        return self.folder.name.replace("_", "-")

    @property
    def probe_file(self) -> Path:
        return self.folder / "probe.yaml"

    @property
    def slo_file(self) -> Path:
        return self.folder / "slo.yaml"

    @cached_property
    def config(self) -> dict[str, Any]:
        """The content of service.yaml."""
        try:
            return yaml_models.load(self.folder / "service.yaml")
        except ValueError as error:
            raise CommandError(str(error)) from None

    @property
    def application(self) -> dict[str, Any]:
        """Its Serve application: name, route_prefix, import_path and args."""
        return self.config["applications"][0]

    @property
    def env_vars(self) -> dict[str, str]:
        """The environment variables of every process of its cluster; an empty value stands for a secret."""
        return self.config.get("env_vars", {})


def services() -> list[Service]:
    return [Service(file.parent) for file in sorted(SERVICES.glob("*/service.yaml"))]


def find(name: str) -> Service:
    """The service of that name, written with hyphens or underscores.

    Raises:
        CommandError: there is none; the message lists them and says which is nearest.
    """
    by_name = {service.name: service for service in services()}
    wanted = name.replace("_", "-")
    if wanted in by_name:
        return by_name[wanted]
    close = difflib.get_close_matches(wanted, by_name, n=1)
    nearest = f" Did you mean {close[0]}?" if close else ""
    raise CommandError(f"There is no service {name}.{nearest} The services are: {', '.join(by_name)}.")
