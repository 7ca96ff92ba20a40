"""A service's serve.py, run without Ray: its LLMConfigs as plain data, with the file and line of each setting.

Ray and vLLM take fifteen seconds to import, and refuse a configuration at its first fault. Here, what a serve.py
imports from `ray` only records what it is called with, so that every fault of every model can be told.
"""

import ast
import copy
import functools
import importlib
import importlib.abc
import importlib.machinery
import os
import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any
from unittest import mock

from ops.project.place import Place

OURS = ("services", "serving", "laptop")
"""Packages of the repository, which are imported anew from the root that is checked."""

TOKEN = "of the environment"
"""Stands for the value of HF_TOKEN."""
KEYS = "api_keys"
"""An argument that changes who may ask and nothing of what is looked at here; another check reads the keys."""
CLUSTER = {"HF_TOKEN": TOKEN, "ANYSCALE_ARTIFACT_STORAGE": "s3://of-the-cloud"}
"""What a builder finds in the environment of every cluster. Whether a secret is there is another check's question."""
ON_GPUS = {"profile": "gpu"}
"""The laptop profile reads the LLMConfig as Ray's own class, and makes a checkpoint."""


@dataclass(frozen=True)
class Model:
    """One LLMConfig."""

    config: dict[str, Any]
    """Its fields, as they are written."""
    place_of: Callable[..., Place]
    """The place of a field, given the way to it, such as `("engine_kwargs", "max_model_len")`; for one that is not
    given, the place of the innermost that is."""

    @property
    def id(self) -> str:
        return str(self.get("model_loading_config", "model_id", default="?"))

    @property
    def source(self) -> str:
        """What the weights are loaded from: a name on Hugging Face, a folder or a URI."""
        return str(self.get("model_loading_config", "model_source") or self.id)

    @property
    def engine(self) -> dict[str, Any]:
        return self.config.get("engine_kwargs") or {}

    @property
    def deployment(self) -> dict[str, Any]:
        return self.config.get("deployment_config") or {}

    def get(self, *keys: str, default: Any = None) -> Any:
        value: Any = self.config
        for key in keys:
            if not isinstance(value, dict) or key not in value:
                return default
            value = value[key]
        return value

    def place(self, *keys: str | int) -> Place:
        return self.place_of(*keys)


@dataclass(frozen=True)
class Build:
    """One call of a function that builds an application, such as `build_openai_app`."""

    function: str
    arguments: dict[str, Any]
    place: Place
    caller: Place
    """The place in the service's own serve.py that calls for it; the same place where it does so itself."""
    models: dict[str, Model] = field(default_factory=dict)
    """The LLMConfigs that are arguments of their own, such as `prefill_config`, with their names."""

    @property
    def configs(self) -> list[Any]:
        """Its LLMConfigs, where it takes a list of them."""
        given = self.arguments.get("llm_configs")
        return given if isinstance(given, list) else []


@dataclass
class ServePy:
    """What running a serve.py, and its builder with the arguments of service.yaml, came to."""

    file: Path
    models: dict[str, Model] = field(default_factory=dict)
    """Every model that it can serve, by model id, the default first: its MODELS, else every LLMConfig that it makes.
    One that prefill and decode replicas serve is there as those of decode, and once more as `<model id> prefill`."""
    entries: list[tuple[str, Model]] = field(default_factory=list)
    """The entries of its MODELS, where it has one, by their names there."""
    gated: set[str] = field(default_factory=set)
    on_import: list[Build] = field(default_factory=list)
    """What is built as soon as it is imported."""
    builder: Any = None
    """What the import path names; None where it names nothing."""
    chooses: bool = True
    """Whether the builder's arguments can choose a model; else it builds all of them, or one of its own choice."""
    built: list[Build] = field(default_factory=list)
    """What the builder builds."""
    error: str = ""
    error_place: Place | None = None
    """Why it could not be imported."""
    build_error: str = ""
    """Why the builder refuses its arguments."""


class Recorded:
    """Whatever is imported from Ray: a class, a function or a module, which remembers how it was called."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        places = [place for place in calling(sys._getframe(1)) if str(place.file) != __file__]
        self.recorded_args, self.recorded = args, kwargs
        self.recorded_place = places[0]
        self.recorded_in_service = next((place for place in places if is_of_a_service(place)), places[0])

    def __getattr__(self, name: str) -> Any:
        """A field that it was given; None for one that was left out."""
        if name.startswith("__") or "recorded" not in self.__dict__:
            raise AttributeError(name)
        return self.recorded.get(name)

    def model_copy(self, update: dict[str, Any]) -> "Recorded":
        """A changed copy, as a pydantic model makes one: LLMConfig is one."""
        changed = copy.copy(self)
        changed.recorded = self.recorded | update
        return changed

    def __bool__(self) -> bool:
        """What Ray would answer is not known: nothing that a builder asks it is so."""
        return False


def calling(frame: FrameType | None) -> Iterator[Place]:
    """The place of a frame, and of each that it was called from."""
    while frame:
        yield Place(Path(frame.f_code.co_filename), frame.f_lineno)
        frame = frame.f_back


def is_of_a_service(place: Place) -> bool:
    return place.file.parent.parent.name == "services"


class StandIn(ModuleType):
    """A module of Ray's that has every name. Each is a class that records its calls."""

    def __init__(self, name: str, calls: list[Any]) -> None:
        super().__init__(name)
        self.__path__ = []
        self._calls = calls

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        calls = self._calls

        class Call(Recorded):
            def __init__(self, *args: Any, **kwargs: Any) -> None:
                super().__init__(*args, **kwargs)
                if type(self) is Call:
                    calls.append(self)

        Call.__name__ = Call.__qualname__ = name
        setattr(self, name, Call)
        return Call


class StandIns(importlib.abc.Loader):
    """Finds and loads `ray` and all below it as stand-ins."""

    def __init__(self) -> None:
        self.calls: list[Any] = []

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        if name == "ray" or name.startswith("ray."):
            return importlib.machinery.ModuleSpec(name, self, is_package=True)
        return None

    def create_module(self, spec: Any) -> ModuleType:
        return StandIn(spec.name, self.calls)

    def exec_module(self, module: ModuleType) -> None:
        pass


@contextmanager
def importing(root: Path, *finders: Any) -> Generator[None]:
    """Import the packages of the repository in `root` anew, with these finders asked first; all is undone after."""

    def is_set_aside(name: str) -> bool:
        return name.split(".")[0] in (*OURS, *(["ray"] if finders else []))

    before = {name: sys.modules.pop(name) for name in list(sys.modules) if is_set_aside(name)}
    sys.path.insert(0, str(root))
    sys.meta_path[:0] = finders
    importlib.invalidate_caches()
    try:
        yield
    finally:
        for name in [name for name in sys.modules if is_set_aside(name)]:
            del sys.modules[name]
        sys.modules.update(before)
        sys.path.remove(str(root))
        for finder in finders:
            sys.meta_path.remove(finder)


def environment(env_vars: dict[Any, Any]) -> dict[str, str]:
    """What a serve.py finds in the environment of a cluster whose service.yaml has these `env_vars`.

    An empty value stands for a secret, which a deploy takes from the environment.
    """
    text = {name: value for name, value in env_vars.items() if isinstance(value, str) and str(name).isidentifier()}
    return {name: value or os.environ.get(name) or TOKEN for name, value in text.items()} | CLUSTER


def read(
    root: Path, folder: Path, import_path: str, arguments: dict[str, Any], env_vars: dict[Any, Any] | None = None
) -> ServePy:
    """Run a service's serve.py with stand-ins for Ray, and its builder with the arguments of service.yaml.

    Args:
        import_path: such as `services.small_size_llm.serve:app`.
        env_vars: those of service.yaml.
    """
    found = ServePy(folder / "serve.py")
    module_name, _, attribute = import_path.partition(":")
    stand_ins = StandIns()
    with importing(root, stand_ins), mock.patch.dict(os.environ, environment(env_vars or {})):
        try:
            module = importlib.import_module(module_name)
        except Exception as error:
            found.error, found.error_place = f"{type(error).__name__}: {error}", place_of_error(error, root, found.file)
            return found
        found.on_import = builds(stand_ins.calls)
        found.entries = entries(module)
        made = [model_of(call) for call in stand_ins.calls if type(call).__name__ == "LLMConfig"]
        for model in [model for _, model in found.entries] or made:
            found.models.setdefault(model.id, model)
        found.gated = set(getattr(module, "GATED", ()))
        found.builder = getattr(module, attribute, None)
        if callable(found.builder) and not isinstance(found.builder, Recorded):
            stand_ins.calls.clear()
            found.chooses = "model" in getattr(parameter_of(found.builder), "model_fields", ["model"])
            given = arguments | ON_GPUS if arguments.get("profile") == "laptop" else dict(arguments)
            given.pop(KEYS, None)
            if not found.chooses:
                given.pop("model", None)  # refused: another check tells why
            try:
                call(found.builder, given)
            except Exception as error:
                found.build_error = str(error)
            found.built = builds(stand_ins.calls)
            if as_built(found.built):
                found.models = all_as_built(found, given | ON_GPUS, stand_ins.calls)
    return found


def all_as_built(found: ServePy, arguments: dict[str, Any], calls: list[Any]) -> dict[str, Model]:
    """Every model as the builder arranges it, without those that it refuses to arrange so."""
    models: dict[str, Model] = {}
    for name in found.models:
        calls.clear()
        with suppress(Exception):
            call(found.builder, arguments | {"model": name})
            models |= as_built(builds(calls))
    return models


def call(builder: Callable, arguments: dict[str, Any]) -> None:
    """Call a builder as Serve does: its argument is a dict, or the model that its annotation names."""
    builder(parameter_of(builder)(**arguments))


def parameter_of(builder: Callable) -> type:
    """What the parameter of a builder is annotated with; dict where it is not."""
    annotated = [kind for name, kind in getattr(builder, "__annotations__", {}).items() if name != "return"]
    return annotated[0] if annotated else dict


def builds(calls: list[Any]) -> list[Build]:
    names = [(type(call).__name__, call) for call in calls]
    return [build(name, call) for name, call in names if name.startswith("build_") and name.endswith("_app")]


def build(name: str, call: Recorded) -> Build:
    first = call.recorded_args[0] if call.recorded_args else {}
    first = first.recorded if isinstance(first, Recorded) else first
    given = (first if isinstance(first, dict) else {}) | call.recorded
    configs = {key: value for key, value in given.items() if isinstance(value, Recorded)}
    models = {key: Model(plain(one), functools.partial(place_of_built, one)) for key, one in configs.items()}
    return Build(name, plain(given), call.recorded_place, call.recorded_in_service, models)


def as_built(built: list[Build]) -> dict[str, Model]:
    """The models whose layout the builder chose, in place of what they are before."""
    return {
        f"{model.id} prefill" if name == "prefill_config" else model.id: model
        for one in built
        for name, model in one.models.items()
    }


def entries(module: ModuleType) -> list[tuple[str, Model]]:
    offered = getattr(module, "MODELS", None)
    configs = offered.items() if isinstance(offered, dict) else []
    return [(str(name), model_of(config)) for name, config in configs if isinstance(config, Recorded)]


def model_of(config: Any) -> Model:
    return Model(plain(config), functools.partial(place, config.recorded_place))


def of_yaml(arguments: dict[str, Any], place_of: Callable[..., Place]) -> dict[str, Model]:
    """The models of an application whose LLMConfigs are in service.yaml; `place_of` tells the line of a way there."""
    given = arguments.get("llm_configs")
    configs = [config for config in given if isinstance(config, dict)] if isinstance(given, list) else []
    found = [Model(config, functools.partial(place_of, "llm_configs", index)) for index, config in enumerate(configs)]
    return {model.id: model for model in found}


def plain(value: Any) -> Any:
    """Recorded calls as the dicts of their arguments, at every level."""
    if isinstance(value, Recorded):
        value = value.recorded
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set):
        return [plain(item) for item in value]
    return value


def place_of_error(error: BaseException, root: Path, file: Path) -> Place:
    """The innermost line of the repository that an exception passed through."""
    if isinstance(error, SyntaxError) and error.filename:
        return Place(Path(error.filename), error.lineno or 1)
    place, trace = Place(file, 1), error.__traceback__
    while trace:
        passed = Path(trace.tb_frame.f_code.co_filename)
        if passed.is_relative_to(root) and any(passed.is_relative_to(root / ours) for ours in OURS):
            place = Place(passed, trace.tb_lineno)
        trace = trace.tb_next
    return place


def place(start: Place, *keys: str) -> Place:
    """The place where a keyword of the call at `start` is written, or one within its value, followed through names.

    For a keyword that is not written, the place of the innermost that is.
    """
    file = SourceFile.of(start.file)
    value, found = file.call_at(start.line), start
    for key in keys:
        following = search(file, value, key) if value is not None else None
        if following is None:
            break
        file, value, line = following
        found = Place(file.path, line)
    return found


def place_of_built(config: Recorded, *keys: str) -> Place:
    """The same as `place`, for an LLMConfig with fields that a builder put in place of others: the line with the same
    value, in the file of the LLMConfig or in one that it imports from `serving`."""
    written, value = place(config.recorded_place, *keys), plain(config)
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    file = SourceFile.of(config.recorded_place.file)
    same = [Place(one.path, line) for one in [file, *file.imported] for line in one.lines_of(keys[-1:], value)]
    return written if written in same or not same else same[0]


@dataclass(frozen=True)
class SourceFile:
    path: Path
    tree: ast.Module

    @classmethod
    def of(cls, path: Path) -> "SourceFile":
        return cls(path, ast.parse(path.read_text()))

    def call_at(self, line: int) -> ast.AST | None:
        calls = (node for node in ast.walk(self.tree) if isinstance(node, ast.Call) and node.lineno == line)
        return next(calls, None)

    def definition(self, name: str) -> tuple["SourceFile", ast.AST] | None:
        """What a module-level name stands for: its value here, or in the module of this repository it comes from."""
        for node in self.tree.body:
            if isinstance(node, ast.Assign) and name in [getattr(target, "id", None) for target in node.targets]:
                return self, node.value
            if isinstance(node, ast.ImportFrom) and node.module and name in [alias.name for alias in node.names]:
                origin = self.root / f"{node.module.replace('.', '/')}.py"
                return SourceFile.of(origin).definition(name) if origin.is_file() else None
        return None

    @property
    def imported(self) -> list["SourceFile"]:
        """The modules of `serving` that it takes names from."""
        names = [node.module for node in self.tree.body if isinstance(node, ast.ImportFrom) and node.module]
        paths = [self.root / f"{name.replace('.', '/')}.py" for name in names if name.startswith("serving.")]
        return [SourceFile.of(path) for path in paths if path.is_file()]

    def lines_of(self, keys: tuple[str, ...], value: Any) -> list[int]:
        """The lines where a keyword of such a name has this value, written as a literal."""
        words = [node for node in ast.walk(self.tree) if isinstance(node, ast.keyword) and node.arg in keys]
        return [
            word.value.lineno for word in words if isinstance(word.value, ast.Constant) and word.value.value == value
        ]

    @property
    def root(self) -> Path:
        """The root of the repository: where `services`, `serving` and `laptop` are."""
        above = [parent.parent for parent in self.path.parents if parent.name in OURS]
        return above[-1] if above else self.path.parent


def search(file: SourceFile, node: ast.AST, key: str) -> tuple[SourceFile, ast.AST, int] | None:
    """The value of a keyword or key of this call or dict, and its line; names that it is made of are followed."""
    if isinstance(node, ast.Name):
        known = file.definition(node.id)
        return search(*known, key) if known else None
    pairs: list[tuple[ast.keyword | ast.expr | None, str | None, ast.AST]] = []
    if isinstance(node, ast.Call):
        pairs = [(word, word.arg, word.value) for word in node.keywords]
    elif isinstance(node, ast.Dict):
        pairs = [(k, getattr(k, "value", None), v) for k, v in zip(node.keys, node.values, strict=True)]
    elif isinstance(node, ast.BinOp):  # one dict | another: the right one wins
        return search(file, node.right, key) or search(file, node.left, key)
    for written, name, value in pairs:
        if written is not None and name == key:
            return file, value, written.lineno
    for _, name, value in reversed(pairs):
        if name is None and (found := search(file, value, key)):  # **value
            return found
    return None
