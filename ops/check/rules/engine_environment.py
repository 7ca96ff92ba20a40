"""Environment variables: where Serve does not see them, and names that neither Ray nor vLLM reads."""

import functools
import importlib.util
import mmap
import re
from collections.abc import Iterator
from pathlib import Path

from ops.check import registry
from ops.check.finding import Finding, make_finding
from ops.check.rules import dead_settings
from ops.check.rules.environment_variables import variables
from ops.console.suggestions import instead
from ops.project.coercion import mapping
from ops.project.service_files import ServiceFiles

OF_SERVE = re.compile(r"\b(?:RAY_SERVE|RAYLLM)_[A-Z0-9_]+")
OF_RAY = re.compile(r"\bRAY_[A-Za-z0-9_]+")


def quick_findings(files: ServiceFiles) -> Iterator[Finding]:
    yield from variables_that_come_too_late(files)
    yield from variables_that_are_replaced(files)


def variables_that_come_too_late(files: ServiceFiles) -> Iterator[Finding]:
    """Serve's own variables where only some of its processes get them."""
    for variable in variables(files):
        if not variable.cluster_wide and variable.name.startswith("RAY_SERVE_"):
            yield make_finding(
                files,
                registry.SERVE_VARIABLE_IN_RUNTIME_ENV,
                variable.place,
                what=f"{variable.name} is set in a runtime_env.",
                fix=f"Set {variable.name} in `env_vars` of service.yaml, which every process of the cluster gets.",
            )


def variables_that_are_replaced(files: ServiceFiles) -> Iterator[Finding]:
    """Variables of the application's runtime_env that a model's own env_vars push out: Ray does not merge the two.

    Source: LLMServer.get_deployment_options of Ray 2.59, `{**default_runtime_env, **llm_config.runtime_env}`.
    """
    of_application = mapping(mapping(files.application.get("runtime_env")).get("env_vars"))
    for model in files.models.values():
        of_model = model.get("runtime_env", "env_vars")
        lost = [str(name) for name in of_application if name not in mapping(of_model)]
        if isinstance(of_model, dict) and lost:
            yield make_finding(
                files,
                registry.RUNTIME_ENV_REPLACED,
                model.place("runtime_env", "env_vars"),
                what="`env_vars` in the model's runtime_env replace those of the application's, which also set "
                f"{', '.join(lost)}.",
            )


def findings(files: ServiceFiles) -> Iterator[Finding]:
    """Names that neither Ray nor vLLM reads. Needs vLLM, and the sources of Ray."""
    import vllm.envs

    for variable in variables(files):
        name, known = variable.name, set()
        if ("env_vars", name) in dead_settings.BY_NAME:  # reported already
            continue
        if name.startswith("VLLM_"):
            reader, known = "vLLM", set(vllm.envs.environment_variables)
        elif OF_SERVE.fullmatch(name):
            reader, known = "Ray", names_in_sources(OF_SERVE, "serve", "llm")
        elif name.startswith("RAY_"):
            reader, known = "Ray", names_in_sources(OF_RAY, "")
        if not known or name in known or (name.startswith("RAY_") and is_in_ray_core(name)):
            continue
        yield make_finding(
            files,
            registry.UNKNOWN_VARIABLE,
            variable.place,
            what=f"{name} is not a variable that {reader} reads.",
            fix=instead(name, known, "Remove it.", likeness=0.8),  # most of them are alike
        )


def ray_folder() -> Path:
    spec = importlib.util.find_spec("ray")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("Ray is not installed")
    return Path(spec.origin).parent


@functools.cache
def names_in_sources(pattern: re.Pattern, *folders: str) -> set[str]:
    """What looks like a variable in the sources of Ray, comments included."""
    files = [file for folder in folders for file in (ray_folder() / folder).rglob("*.py")]
    return {name for file in files for name in pattern.findall(file.read_text(errors="ignore"))}


@functools.cache
def is_in_ray_core(name: str) -> bool:
    """Whether the C++ part of Ray has it: whole, or without RAY_, which it puts before the names of its settings."""
    with (ray_folder() / "_raylet.so").open("rb") as opened:
        compiled = mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)
        return any(compiled.find(text.encode()) >= 0 for text in (name, name.removeprefix("RAY_")))
