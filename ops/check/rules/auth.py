"""Who may use the service: keys that would not be there, that guard less than they seem to, or none at all."""

import os
from collections.abc import Iterator
from pathlib import Path

from ops.check import registry
from ops.check.finding import Finding, make_finding
from ops.project.place import Place
from ops.project.service_files import ServiceFiles
from serving.auth import key_file
from serving.auth.key_file import ENVIRONMENT

VLLM_API_KEY = "VLLM_API_KEY"
INSTEAD = "Use api_keys in the args of service.yaml, which guards every route but /health: docs/authentication.md."


def findings(files: ServiceFiles) -> Iterator[Finding]:
    yield from key_files(files)
    yield from variables(files)
    yield from keys_of_vllm(files)
    yield from open_to_everyone(files)


def not_checked(files: ServiceFiles) -> Iterator[str]:
    if (path := path_of(files)) and path.is_absolute() and not path.exists():
        yield f"the keys in {path}, which this machine does not have"


def source(files: ServiceFiles) -> str:
    """The api_keys of the args; empty where there are none."""
    given = files.arguments.get("api_keys")
    return given if isinstance(given, str) else ""


def path_of(files: ServiceFiles) -> Path | None:
    """The key file as it is written; None where the keys are in an environment variable, or there are none."""
    given = source(files)
    return Path(given) if given and not given.startswith(ENVIRONMENT) else None


def place(files: ServiceFiles) -> Place:
    return files.yaml.place("applications", 0, "args", "api_keys")


def key_files(files: ServiceFiles) -> Iterator[Finding]:
    path = path_of(files)
    if path is None or (path.is_absolute() and not path.exists()):
        return
    try:
        key_file.parse((files.root / path).read_text(), str(path), may_be_empty=False)
    except OSError as error:
        yield refused(files, f"The key file {path} cannot be read: {error.strerror}.")
    except ValueError as error:
        yield refused(files, str(error))


def refused(files: ServiceFiles, what: str) -> Finding:
    return make_finding(
        files,
        registry.API_KEYS_REFUSED,
        place(files),
        what=what,
    )


def variables(files: ServiceFiles) -> Iterator[Finding]:
    given = source(files)
    if not given.startswith(ENVIRONMENT):
        return
    name = given.removeprefix(ENVIRONMENT)
    if name not in files.env_vars:
        yield make_finding(
            files,
            registry.API_KEYS_VARIABLE_NOT_DECLARED,
            place(files),
            what=f"api_keys is {given}, and env_vars does not have {name}.",
            fix=f'Add {name}: "" to env_vars, and export it where you deploy from.',
        )
    if text := files.env_vars.get(name) or os.environ.get(name):
        try:
            key_file.parse(str(text), name, may_be_empty=False)
        except ValueError as error:
            yield refused(files, str(error))


def keys_of_vllm(files: ServiceFiles) -> Iterator[Finding]:
    """Without direct streaming they have no effect at all, which dead_settings reports.

    Source: AuthenticationMiddleware of vLLM 0.27.
    """
    if not files.direct_streaming:
        return
    places = [model.place("engine_kwargs", "api_key") for model in files.models.values() if model.engine.get("api_key")]
    if VLLM_API_KEY in files.env_vars:
        places.append(files.yaml.place("env_vars", VLLM_API_KEY))
    for where in dict.fromkeys(places):
        yield make_finding(
            files,
            registry.VLLM_API_KEY_GUARDS_SOME_ROUTES,
            where,
            what="vLLM's own API key guards its OpenAI and Anthropic routes only.",
            fix=INSTEAD,
        )


def open_to_everyone(files: ServiceFiles) -> Iterator[Finding]:
    if files.yaml.get("query_auth_token_enabled") is False and not files.arguments.get("api_keys"):
        yield make_finding(
            files,
            registry.OPEN_TO_EVERYONE,
            files.yaml.place("query_auth_token_enabled"),
            what="Anyscale asks for no token, and the service for no key.",
        )
