"""service.yaml: that it can be read, has no key that nothing reads, names what there is, and is not refused."""

from collections.abc import Iterator

from ops.check.finding import Finding, make_finding
from ops.check.rules import (
    known_keys,
    sdk_validation,
    service_yaml_env,
    service_yaml_image,
    service_yaml_import,
    service_yaml_secrets,
)
from ops.check.rules.known_keys import Unknown
from ops.project.place import Place
from ops.project.service_files import ServiceFiles
from ops.project.yaml_file import Keys as Way
from ops.project.yaml_file import YamlFile


def quick_findings(files: ServiceFiles) -> Iterator[Finding]:
    """Those that need neither the Anyscale SDK nor Ray."""
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
    """Those that need the Anyscale SDK or Ray, but not vLLM."""
    if not isinstance(files.yaml.data, dict):
        return
    yield from unknown_keys(files)
    yield from service_yaml_image.findings(files)
    told = {(finding.file, finding.line) for finding in quick_findings(files)}  # with more to say
    yield from (finding for finding in sdk_validation.findings(files) if (finding.file, finding.line) not in told)


def unreadable(files: ServiceFiles, file: YamlFile) -> Iterator[Finding]:
    if file.error or not isinstance(file.data, dict):
        yield make_finding(
            files,
            "unreadable-yaml",
            file.place(),
            what=f"{file.file.name} cannot be used: {file.error or 'it has no keys and values'}.",
            why="There is nothing to deploy or to probe with, and nothing else in it is checked.",
            fix="Correct it, or copy the one of another service: scripts/new makes a service with all its files.",
        )


def duplicate_keys(files: ServiceFiles, file: YamlFile) -> Iterator[Finding]:
    for way, lines in file.twice.items():
        yield make_finding(
            files,
            "duplicate-key",
            Place(file.file, lines[-1]),
            what=f"{known_keys.dotted(way)} is given {len(lines)} times, in lines {' and '.join(map(str, lines))}.",
            why="The last one counts. What the others say has no effect, and nothing else tells you.",
            fix="Keep one of them.",
        )


def missing_paths(files: ServiceFiles) -> Iterator[Finding]:
    """Paths are looked up in the current directory by the Anyscale CLI, never beside service.yaml."""
    for way, path in local_paths(files.yaml):
        there, is_folder = files.root / path, way[0] in ("working_dir", "py_modules")
        if not (there.is_dir() if is_folder else there.is_file()):
            yield make_finding(
                files,
                "no-such-path",
                files.yaml.place(*way),
                what=f"{known_keys.dotted(way)} is {path}, and there is no such {'folder' if is_folder else 'file'}.",
                why="The Anyscale CLI looks for it from where it is run, the root of the repository, and fails.",
                fix="Write the path from the root of the repository.",
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
    """At every level of service.yaml, and of the LLMConfigs in serve.py."""
    found = [
        (files.yaml.place(*map_keys(key.way)), key)
        for key in known_keys.unknown(files.yaml.data, [known_keys.service()])
    ]
    if files.application.get("import_path") == known_keys.OPENAI_APP:
        way: Way = ("applications", 0, "args")
        unread = known_keys.unknown(files.arguments, [known_keys.openai_app()])
        found += [(files.yaml.place(*way, *map_keys(key.way)), key) for key in unread]
    for model in files.serve.models.values():
        found += [
            (model.place(*map(str, key.way)), key) for key in known_keys.unknown(model.config, [known_keys.model()])
        ]
    told = set()
    for place, key in found:
        if (place, key.way[-1]) not in told:  # several models share the line
            told.add((place, key.way[-1]))
            yield unknown_key(files, place, key)


def map_keys(way: Way) -> Way:
    """With every key as it is written: YAML reads some, such as on or 1, as no text."""
    return tuple(key if isinstance(key, int) and not isinstance(key, bool) else str(key) for key in way)


def unknown_key(files: ServiceFiles, place: Place, key: Unknown) -> Finding:
    holder = known_keys.dotted(key.way[:-1])
    return make_finding(
        files,
        "unknown-key",
        place,
        what=f"Nothing reads {key.way[-1]}{f' in {holder}' if holder else ''}.",
        why="What reads the mapping refuses keys that it does not know: the deploy fails."
        if key.known.refused
        else "It is ignored without a word, so what it was meant to set keeps its default.",
        fix=known_keys.instead(key.way[-1], key.known.below),
    )
