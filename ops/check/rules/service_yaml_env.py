"""Environment variables with names that a shell does not take, or values that are not text."""

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

from ops.check import registry
from ops.check.finding import Finding, make_finding
from ops.project.place import Place
from ops.project.service_files import ServiceFiles

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
"""The name of an environment variable, as POSIX defines it."""


def quick_findings(files: ServiceFiles) -> Iterator[Finding]:
    told = set()
    for place_of, env_vars in mappings(files):
        for name, value in env_vars.items():
            place = place_of(str(name))
            if place in told:  # several models share it
                continue
            told.add(place)
            yield from name_finding(files, place, name)
            yield from value_finding(files, place, name, value)


def mappings(files: ServiceFiles) -> list[tuple[Callable[[str], Place], dict]]:
    """Every mapping of environment variables, and a function from a variable to its place."""
    found: list[tuple[Callable[[str], Place], Any]] = [
        (lambda name: files.yaml.place("env_vars", name), files.env_vars),
    ]
    applications = files.yaml.get("applications", default=[])
    for index in range(len(applications) if isinstance(applications, list) else 0):
        way = ("applications", index, "runtime_env", "env_vars")
        found.append((lambda name, way=way: files.yaml.place(*way, name), files.yaml.get(*way)))
    for model in files.models.values():
        found.append(
            (
                lambda name, model=model: model.place("runtime_env", "env_vars", name),
                model.get("runtime_env", "env_vars"),
            )
        )
    return [(place_of, env_vars) for place_of, env_vars in found if isinstance(env_vars, dict)]


def name_finding(files: ServiceFiles, place: Place, name: Any) -> Iterator[Finding]:
    if not (isinstance(name, str) and NAME.fullmatch(name)):
        yield make_finding(
            files,
            registry.INVALID_ENV_VAR_NAME,
            place,
            what=f"`{name}` cannot be the name of an environment variable.",
        )


def value_finding(files: ServiceFiles, place: Place, name: Any, value: Any) -> Iterator[Finding]:
    if not isinstance(value, str):
        single = value is None or isinstance(value, bool | int | float)
        written = json.dumps(value) if single else f"a {type(value).__name__}"
        yield make_finding(
            files,
            registry.ENV_VAR_NOT_STRING,
            place,
            what=f"The value of {name} is {written}, which is not text.",
            fix=f'Put it in quotes: {name}: "{written}".' if value is not None and single else 'Write text, or "".',
        )
