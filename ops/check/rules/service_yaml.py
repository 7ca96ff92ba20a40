"""service.yaml: that it can be read, has no key that nothing reads, names what there is, and is not refused."""

from collections.abc import Callable, Iterator
from typing import Any

from ops.check import registry
from ops.check.finding import Finding, make_finding
from ops.check.rules import (
    known_keys,
    sdk_validation,
    service_yaml_env,
    service_yaml_image,
    service_yaml_import,
    service_yaml_secrets,
)
from ops.check.rules.known_keys import KnownKeys, Unknown
from ops.project.place import Place
from ops.project.service_files import ServiceFiles
from ops.project.yaml_file import Keys as Way
from ops.project.yaml_file import YamlFile


def quick_findings(files: ServiceFiles) -> Iterator[Finding]:
    """The findings that need neither the Anyscale SDK nor Ray."""
    for file in (files.yaml, files.probe):
        yield from unreadable(files, file)
        yield from duplicate_keys(files, file)
    yield from service_yaml_secrets.quick_findings(files)
    if isinstance(files.yaml.data, dict):
        yield from missing_paths(files)
        yield from service_yaml_image.quick_findings(files)
        yield from service_yaml_env.quick_findings(files)
        yield from service_yaml_import.quick_findings(files)


def findings(files: ServiceFiles) -> Iterator[Finding]:
    """The findings that need the Anyscale SDK or Ray, but not vLLM."""
    if not isinstance(files.yaml.data, dict):
        return
    yield from unknown_keys(files)
    yield from service_yaml_image.findings(files)
    told = {(one.file, one.line) for one in quick_findings(files) if one.severity == "error"}  # with more to say
    yield from (finding for finding in sdk_validation.findings(files) if (finding.file, finding.line) not in told)


def unreadable(files: ServiceFiles, file: YamlFile) -> Iterator[Finding]:
    if file.error or not isinstance(file.data, dict):
        yield make_finding(
            files,
            registry.UNREADABLE_YAML,
            file.place(),
            what=f"{file.file.name} cannot be used: {file.error or 'it has no keys and values'}.",
        )


def duplicate_keys(files: ServiceFiles, file: YamlFile) -> Iterator[Finding]:
    for way, lines in file.twice.items():
        yield make_finding(
            files,
            registry.DUPLICATE_KEY,
            Place(file.file, lines[-1]),
            what=f"{known_keys.dotted(way)} is given {len(lines)} times, in lines {' and '.join(map(str, lines))}.",
        )


def missing_paths(files: ServiceFiles) -> Iterator[Finding]:
    """Paths are looked up in the current directory by the Anyscale CLI, never beside service.yaml."""
    for way, path in local_paths(files.yaml):
        there, is_folder = files.root / path, way[0] in ("working_dir", "py_modules")
        if not (there.is_dir() if is_folder else there.is_file()):
            yield make_finding(
                files,
                registry.NO_SUCH_PATH,
                files.yaml.place(*way),
                what=f"{known_keys.dotted(way)} is {path}, and there is no such {'folder' if is_folder else 'file'}.",
            )


def local_paths(file: YamlFile) -> Iterator[tuple[Way, str]]:
    modules = file.get("py_modules")
    ways: list[Way] = [("containerfile",), ("working_dir",), ("requirements",)]
    ways += [("py_modules", index) for index in range(len(modules) if isinstance(modules, list) else 0)]
    for way in ways:
        path = file.get(*way)
        if isinstance(path, str) and "://" not in path:
            yield way, path


def unknown_keys(files: ServiceFiles) -> Iterator[Finding]:
    """Unknown keys at every level of service.yaml, and of the LLMConfigs in serve.py."""
    read: list[tuple[Any, KnownKeys, Callable[[Way], Place]]] = [
        (files.yaml.data, known_keys.service(), lambda way: files.yaml.place(*map_keys(way)))
    ]
    if files.application.get("import_path") == known_keys.OPENAI_APP:
        arguments: Way = ("applications", 0, "args")
        place_of = lambda way: files.yaml.place(*arguments, *map_keys(way))  # noqa: E731
        read.append((files.arguments, known_keys.openai_app(), place_of))
    for model in files.serve.models.values():
        read.append((model.config, known_keys.model(), lambda way, model=model: model.place(*map(str, way))))
    told = set()
    for data, root, place_of in read:
        for key in known_keys.unknown(data, [root]):
            place = place_of(key.way)
            if (place, key.way[-1]) not in told:  # several models share the line
                told.add((place, key.way[-1]))
                yield unknown_key(files, place, key, data, root)


def map_keys(way: Way) -> Way:
    """The way with every key as it is written: YAML reads some, such as on or 1, as other types."""
    return tuple(key if isinstance(key, int) and not isinstance(key, bool) else str(key) for key in way)


def unknown_key(files: ServiceFiles, place: Place, key: Unknown, data: Any, root: KnownKeys) -> Finding:
    name, holder = key.way[-1], known_keys.dotted(key.way[:-1])
    beside = known_keys.value_at(data, key.way[:-1])
    return make_finding(
        files,
        registry.UNKNOWN_KEY,
        place,
        what=f"Nothing reads {name}{f' in {holder}' if holder else ''}.",
        why="What reads the mapping refuses keys that it does not know: the deploy fails."
        if key.known.refused
        else "It is ignored without a word, so what it was meant to set keeps its default.",
        fix=known_keys.where_it_belongs(name, root, data) or known_keys.instead(name, key.known.below, beside),
    )
