"""What the import path of the application names: a builder function that takes the `args`, and not an application."""

import importlib
import inspect
import os
from collections.abc import Iterator
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any, NamedTuple
from unittest import mock

from pydantic import BaseModel, ValidationError

from ops.check import registry
from ops.check.finding import Finding, make_finding
from ops.check.rules.known_keys import instead
from ops.console.cli import CommandError
from ops.project import serve_py
from ops.project.builder import resolved
from ops.project.place import Place
from ops.project.serve_py import Recorded
from ops.project.service_files import ServiceFiles

BUILDER = "def app(args: AppArgs) -> Application"
"""The signature of the builder in every serve.py of the template."""


def quick_findings(files: ServiceFiles) -> Iterator[Finding]:
    """The findings of a run of serve.py without Ray."""
    badly_formed = list(form(files))
    if badly_formed or files.application.get("import_path", "").startswith("ray."):
        yield from badly_formed
        return
    if files.serve.error:
        yield not_imported(files, files.serve.error, files.serve.error_place)
        return
    yield from built_at_import(files)
    if not files.serve.on_import:
        yield from not_a_builder(files, files.serve.builder)
        yield from arguments(files, files.serve.builder)


def findings(files: ServiceFiles) -> Iterator[Finding]:
    """The findings that only an import with Ray can make, where the run without it succeeded."""
    if list(quick_findings(files)):
        return
    import ray.serve.llm  # noqa: F401  before env_vars are set: Ray reads its own once, and other services follow

    module_name, _, name = files.application["import_path"].partition(":")
    with serve_py.importing(files.root), mock.patch.dict(os.environ, serve_py.environment(files.env_vars)):
        try:
            module = importlib.import_module(module_name)
        except Exception as error:
            if not refuses_a_model(error):
                place = serve_py.place_of_error(error, files.root, files.serve.file)
                yield not_imported(files, f"{type(error).__name__}: {error}", place)
            return
        builder = getattr(module, name, None)
        no_builder = list(not_a_builder(files, builder))
        yield from no_builder or refused_arguments(files, module, builder)


def form(files: ServiceFiles) -> Iterator[Finding]:
    applications = files.yaml.get("applications")
    if not isinstance(applications, list) or not applications:
        yield make_finding(
            files,
            registry.NO_APPLICATION,
            files.yaml.place("applications"),
            what="service.yaml has no list of applications.",
        )
        return
    for index, application in enumerate(applications):
        import_path = application.get("import_path") if isinstance(application, dict) else None
        module, _, name = str(import_path).partition(":")
        if not (isinstance(import_path, str) and all(part.isidentifier() for part in [*module.split("."), name])):
            yield make_finding(
                files,
                registry.MALFORMED_IMPORT_PATH,
                files.yaml.place("applications", index, "import_path"),
                what=f"The import path {import_path} does not name a module and what is in it."
                if import_path
                else "The application has no import path.",
                fix=f"Write one such as services.{files.folder.name}.serve:app.",
            )


def not_imported(files: ServiceFiles, error: str, place: Place | None) -> Finding:
    import_path = files.application["import_path"]
    module = import_path.partition(":")[0]
    is_there = any((files.root / f"{module.replace('.', '/')}{end}").is_file() for end in (".py", "/__init__.py"))
    return make_finding(
        files,
        registry.IMPORT_FAILS,
        place if is_there and place else files.yaml.place("applications", 0, "import_path"),
        what=f"{module} cannot be imported: {error}." if is_there else f"There is no module {module}.",
        fix="Correct it; the same import must work here, from the root of the repository."
        if is_there
        else f"Write services.{files.folder.name}.serve:app, or add the module.",
    )


def refuses_a_model(error: Exception) -> bool:
    """Whether an LLMConfig is refused; refused-by-llm-config reports each of its fields."""
    return isinstance(error, ValidationError) and error.title == "LLMConfig"


def built_at_import(files: ServiceFiles) -> Iterator[Finding]:
    for build in files.serve.on_import:
        yield make_finding(
            files,
            registry.APP_BUILT_AT_IMPORT,
            build.place,
            what=f"{build.function} is called when the module is imported.",
            fix=f"Call it in a builder function, {BUILDER}, and name that in the import path.",
        )


def not_a_builder(files: ServiceFiles, builder: Any) -> Iterator[Finding]:
    if isinstance(builder, type) and issubclass(builder, Recorded):
        return  # something of Ray's: what it is, only Ray can tell
    import_path = files.application["import_path"]
    module, _, name = import_path.partition(":")
    if builder is None:
        what = f"{module} has no {name}."
    elif not isinstance(builder, FunctionType):
        kind = "class" if isinstance(builder, type) else type(builder).__name__
        what = f"{import_path} is not a function but a {kind}."
    elif (number := len(inspect.signature(builder).parameters)) != 1:
        yield make_finding(
            files,
            registry.BUILDER_WITHOUT_ONE_PARAMETER,
            Place(Path(builder.__code__.co_filename), builder.__code__.co_firstlineno),
            what=f"{name} takes {number} parameters.",
            fix=f"Give it one parameter: {BUILDER}.",
        )
        return
    else:
        return
    yield make_finding(
        files,
        registry.NOT_A_BUILDER,
        files.yaml.place("applications", 0, "import_path"),
        what=what,
        fix=f"Name a function such as {BUILDER}.",
    )


def arguments(files: ServiceFiles, builder: Any) -> Iterator[Finding]:
    """Arguments that the builder refuses."""
    parameters = list(inspect.signature(builder).parameters.values()) if isinstance(builder, FunctionType) else []
    if len(parameters) != 1 or not files.serve.build_error:
        return
    kind = parameters[0].annotation
    faults = list(faults_of(kind, files.arguments)) if isinstance(kind, type) and issubclass(kind, BaseModel) else []
    for fault in faults or [raised(files.serve.build_error, files.arguments)]:
        yield not_fitting(files, fault)


def not_fitting(files: ServiceFiles, fault: "RefusedArgument") -> Finding:
    return make_finding(
        files,
        registry.ARGS_DO_NOT_FIT,
        files.yaml.place("applications", 0, "args", *filter(None, [fault.key])),
        what=f"The builder does not take {fault.key or 'the args'}: {fault.message}",
        fix=fault.fix,
    )


def refused_arguments(files: ServiceFiles, module: ModuleType, builder: Any) -> Iterator[Finding]:
    """Arguments that the builder refuses only with the installed Ray; the token of gated models is not asked for."""
    kind = serve_py.parameter_of(builder)
    if not (hasattr(module, "MODELS") and hasattr(module, "GATED") and issubclass(kind, BaseModel)):
        return  # not a builder of serving.app
    try:
        resolved(files.name, module, builder, files.arguments | {"profile": "laptop"})
    except CommandError as error:
        yield not_fitting(files, raised(str(error), files.arguments))


class RefusedArgument(NamedTuple):
    key: str
    """The argument's; empty where it is not known which argument it is."""
    message: str
    fix: str


def faults_of(kind: type[BaseModel], given: dict[str, Any]) -> Iterator[RefusedArgument]:
    """What the model that the builder's parameter is annotated with says of its arguments."""
    try:
        kind.model_validate(given)
    except ValidationError as error:
        for fault in error.errors():
            key = str(fault["loc"][0]) if fault["loc"] else ""
            unknown = fault["type"] == "extra_forbidden"
            fix = instead(key, kind.model_fields, given) if unknown else f"{kind.__name__} says what it takes."
            yield RefusedArgument(key, f"{fault['msg']}.", fix)


def raised(message: str, given: dict[str, Any]) -> RefusedArgument:
    """What the builder itself says, with the argument whose value it names."""
    key = next((key for key, value in given.items() if isinstance(value, str) and value in message), "")
    return RefusedArgument(key, message, "Write what the message asks for.")
