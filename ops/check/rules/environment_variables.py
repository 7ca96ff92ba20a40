"""The environment variables of a service, wherever they are set."""

from collections.abc import Iterator
from dataclasses import dataclass

from ops.project.coercion import mapping
from ops.project.place import Place
from ops.project.service_files import ServiceFiles


@dataclass(frozen=True)
class Variable:
    name: str
    place: Place
    cluster_wide: bool
    """Set forevery process of the cluster, and not in a runtime_env."""


def variables(files: ServiceFiles) -> Iterator[Variable]:
    """Every environment variable that a service sets."""
    for name in files.env_vars:
        yield Variable(str(name), files.yaml.place("env_vars", name), True)
    for name in mapping(mapping(files.application.get("runtime_env")).get("env_vars")):
        yield Variable(str(name), files.yaml.place("applications", 0, "runtime_env", "env_vars", name), False)
    for model in files.models.values():
        for way in (("runtime_env",), ("deployment_config", "ray_actor_options", "runtime_env")):
            for name in mapping(model.get(*way, "env_vars")):
                yield Variable(str(name), model.place(*way, "env_vars", name), False)
