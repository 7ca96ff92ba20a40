"""The files of one service, read once for all that asks for them, and what the command line gives in their place."""

import tomllib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ops.console.cli import CommandError
from ops.project import model_facts, serve_py, yaml_file
from ops.project.model_facts import ModelFacts
from ops.project.overrides import NONE, Overrides
from ops.project.place import Place
from ops.project.serve_py import Model, ServePy
from ops.project.yaml_file import YamlFile


@dataclass(frozen=True)
class ServiceFiles:
    """What is written about a service; nothing here raises where a file is missing or wrong."""

    root: Path
    folder: Path
    overrides: Overrides = NONE
    """What the command line changes in service.yaml: everything here is about the file with these changes."""

    def __getstate__(self) -> dict[str, Any]:
        """Hand service.yaml to checks in another process as it was read here, so that all look at the same."""
        return {"root": self.root, "folder": self.folder, "overrides": self.overrides, "yaml": self.yaml}

    @property
    def name(self) -> str:
        return self.folder.name.replace("_", "-")

    @cached_property
    def yaml(self) -> YamlFile:
        return self.overrides.applied_to(yaml_file.read(self.folder / "service.yaml"))

    @cached_property
    def probe(self) -> YamlFile:
        return yaml_file.read(self.folder / "probe.yaml")

    @cached_property
    def containerfile(self) -> list[str]:
        return self.lines(self.folder / "Containerfile")

    @cached_property
    def readme(self) -> list[str]:
        return self.lines(self.folder / "README.md")

    @cached_property
    def versions(self) -> dict[str, str]:
        return tomllib.loads((self.root / "versions.toml").read_text())

    @property
    def slo_file(self) -> Path:
        return self.folder / "slo.yaml"

    @cached_property
    def slo(self) -> YamlFile:
        return yaml_file.read(self.slo_file)

    @cached_property
    def facts_or_fault(self) -> tuple[dict[str, ModelFacts], str]:
        """The content of models.yaml, by model_source, or why it has none that can be read."""
        try:
            return model_facts.read(self.folder), ""
        except CommandError as error:
            return {}, str(error)

    @property
    def facts(self) -> dict[str, ModelFacts]:
        return self.facts_or_fault[0]

    @property
    def facts_fault(self) -> str:
        return self.facts_or_fault[1]

    @property
    def application(self) -> dict[str, Any]:
        application = self.yaml.get("applications", 0, default={})
        return application if isinstance(application, dict) else {}

    @property
    def arguments(self) -> dict[str, Any]:
        """The `args` of the application."""
        arguments = self.application.get("args")
        return arguments if isinstance(arguments, dict) else {}

    @property
    def env_vars(self) -> dict[str, Any]:
        env_vars = self.yaml.get("env_vars")
        return env_vars if isinstance(env_vars, dict) else {}

    @cached_property
    def serve(self) -> ServePy:
        import_path = self.application.get("import_path")
        if not isinstance(import_path, str) or import_path.startswith("ray."):
            return ServePy(self.folder / "serve.py")
        return serve_py.read(self.root, self.folder, import_path, self.arguments, self.env_vars)

    @cached_property
    def models(self) -> dict[str, Model]:
        """Every model that the service can serve, by model id: those of its serve.py, else those in service.yaml."""

        def place(*keys: str | int) -> Place:
            return self.yaml.place("applications", 0, "args", *keys)

        return self.serve.models or serve_py.of_yaml(self.arguments, place)

    @cached_property
    def served(self) -> list[Model]:
        """The models that are served at once: those that the builder builds, or the one that service.yaml deploys.

        One with prefill and decode replicas is there twice.
        """
        if "llm_configs" in self.arguments:
            return list(self.models.values())
        built = [config for build in self.serve.built for config in build.configs]
        ids = {Model(config, self.yaml.place).id for config in built if isinstance(config, dict)}
        ids |= {model.id for build in self.serve.built for model in build.models.values()}
        return [model for model in self.models.values() if model.id in ids] or list(filter(None, [self.model]))

    @property
    def model(self) -> Model | None:
        """The model that service.yaml deploys."""
        return self.models.get(self.arguments.get("model")) or next(iter(self.models.values()), None)

    @property
    def direct_streaming(self) -> bool:
        """Whether requests go from HAProxy straight to the replica."""
        return all(
            self.env_vars.get(name) == "1"
            for name in ("RAY_SERVE_ENABLE_HA_PROXY", "RAY_SERVE_LLM_ENABLE_DIRECT_STREAMING")
        )

    @property
    def worker_groups(self) -> list[dict[str, Any]]:
        groups = self.yaml.get("compute_config", "worker_nodes")
        return [group for group in groups if isinstance(group, dict)] if isinstance(groups, list) else []

    @staticmethod
    def lines(file: Path) -> list[str]:
        return file.read_text().splitlines() if file.is_file() else []


def line_with(lines: list[str], text: str) -> int:
    """The number of the first line that has a text; 1 where none has."""
    return next((number for number, line in enumerate(lines, 1) if text in line), 1)
