"""The services of this repository: the folders of `services/` that hold a service.yaml."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from ops.console.cli import CommandError
from ops.console.suggestions import did_you_mean
from ops.project.overrides import NONE, Overrides
from ops.project.service_files import ServiceFiles

ROOT = Path(__file__).resolve().parents[2]
SERVICES = ROOT / "services"


@dataclass(frozen=True)
class Service:
    """One category: `services/small_size_llm` is the service `small-size-llm`."""

    folder: Path
    overrides: Overrides = NONE
    """What the command line gives in place of values of its service.yaml."""

    def with_options(self, settings: Iterable[str] | None, image_uri: str | None) -> Self:
        """The service as `--set` and `--image-uri` have it: all that is checked, shown and deployed of it is so.

        Raises:
            CommandError: a setting is not of the form `key=value`.
        """
        return replace(self, overrides=Overrides.of(settings, image_uri))

    @cached_property
    def files(self) -> ServiceFiles:
        """Its files, read once."""
        return ServiceFiles(self.folder.parents[1], self.folder, self.overrides)

    @property
    def name(self) -> str:
        return self.files.name

    @property
    def probe_file(self) -> Path:
        return self.folder / "probe.yaml"

    @property
    def slo_file(self) -> Path:
        return self.files.slo_file

    @property
    def config(self) -> dict[str, Any]:
        """The content of service.yaml, with the values that the command line gives.

        Raises:
            CommandError: it cannot be read, or gives a key twice.
        """
        file = self.files.yaml
        if file.error:
            raise CommandError(f"{file.file}, line {file.place().line}, cannot be used: {file.error}.")
        for way, lines in file.twice.items():
            raise CommandError(f"{file.file}: {way[-1]} is given twice, in lines {lines[0]} and {lines[1]}.")
        if not isinstance(file.data, dict):
            raise CommandError(f"{file.file} cannot be used: it has no keys and values.")
        return file.data

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
    raise CommandError(
        f"There is no service {name}.{did_you_mean(wanted, by_name)} The services are: {', '.join(by_name)}."
    )
