"""Names of Python code in an LLMConfig: the class of a router and the policy of autoscaling, as Serve imports them."""

import importlib
from collections.abc import Iterator

from ops.check import registry
from ops.check.finding import Finding, make_finding
from ops.project import serve_py
from ops.project.service_files import ServiceFiles

NAMED = (
    ("deployment_config", "request_router_config", "request_router_class"),
    ("deployment_config", "autoscaling_config", "policy", "policy_function"),
)


def findings(files: ServiceFiles) -> Iterator[Finding]:
    for model in files.models.values():
        for way in NAMED:
            name = model.get(*way)
            if isinstance(name, str) and (error := why_not(files, name)):
                yield make_finding(
                    files,
                    registry.ROUTER_OR_POLICY_NOT_IMPORTABLE,
                    model.place("deployment_config"),  # the place of LLMConfig's own refusal, which this says better
                    what=f"`{way[-1]}` names {name}, which cannot be imported: {error}.",
                )


def why_not(files: ServiceFiles, name: str) -> str:
    """Why something cannot be imported; empty where it can. Both `module:name` and `module.name` are names of it."""
    module, _, attribute = name.replace(":", ".").rpartition(".")
    try:
        with serve_py.importing(files.root):
            getattr(importlib.import_module(module), attribute)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return ""
