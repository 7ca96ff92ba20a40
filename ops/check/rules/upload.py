"""What a deploy would upload as working directory: nothing secret, nothing large, and the code that is served."""

import re
from collections.abc import Iterator
from pathlib import Path

from ops.check import registry
from ops.check.finding import Finding, make_finding
from ops.check.rules import auth, service_yaml_secrets
from ops.cloud.upload import contents
from ops.project.place import Place
from ops.project.service_files import ServiceFiles

LARGEST_BYTES = 100 * 1024 * 1024
"""The limit for all other files together. Guess: the SDK has no limit; it reads the whole into memory, and every
node of the cluster downloads it before a replica starts."""
DOTENV_TEMPLATES = (".example", ".sample", ".template")
RUNTIME_SUFFIXES = (".py", ".jinja")
WEIGHTS = (".safetensors", ".gguf")
SLOW = "It is uploaded at every deploy, and every node of the cluster downloads it before a replica starts."


def findings(files: ServiceFiles) -> Iterator[Finding]:
    working_dir = files.yaml.get("working_dir")
    if not working_dir:
        yield from code_left_out(files, [])
    if not working_dir or not isinstance(working_dir, str) or "://" in working_dir:
        return
    if not (files.root / working_dir).is_dir():  # service_yaml reports that
        return
    excludes = files.yaml.get("excludes")
    patterns = [pattern for pattern in excludes if isinstance(pattern, str)] if isinstance(excludes, list) else []
    paths = contents(files.root / working_dir, patterns)
    environments = [path.parent for path in paths if path.name == "pyvenv.cfg"]
    paths = [path for path in paths if not any(path.is_relative_to(folder) for folder in environments)]
    yield from virtual_environments(files, environments)
    yield from dotenv_files(files, paths)
    yield from secrets(files, paths)
    yield from large(files, paths)
    yield from code_left_out(files, paths)
    yield from keys_left_out(files, paths)


def virtual_environments(files: ServiceFiles, folders: list[Path]) -> Iterator[Finding]:
    for folder in folders:
        yield make_finding(
            files,
            registry.VENV_IN_UPLOAD,
            Place(folder / "pyvenv.cfg", 1),
            what=f"The virtual environment {folder.name} would be uploaded.",
            fix=f"Add {folder.name} to excludes in service.yaml, or to .gitignore.",
        )


def dotenv_files(files: ServiceFiles, paths: list[Path]) -> Iterator[Finding]:
    for path in paths:
        is_dotenv = path.name == ".env" or path.name.startswith(".env.") or path.suffix == ".env"
        if is_dotenv and path.suffix not in DOTENV_TEMPLATES:
            yield make_finding(
                files,
                registry.DOTENV_IN_UPLOAD,
                Place(path, 1),
                what=f"{path.name} would be uploaded.",
                fix=f"Add {path.name} to excludes in service.yaml, and to .gitignore.",
            )


def secrets(files: ServiceFiles, paths: list[Path]) -> Iterator[Finding]:
    """Secrets outside the folder of the service; service_yaml_secrets reports those inside it."""
    for path in paths:
        if not path.is_relative_to(files.folder):
            yield from service_yaml_secrets.in_file(files, path)


def large(files: ServiceFiles, paths: list[Path]) -> Iterator[Finding]:
    from anyscale.utils.ray_utils import FILE_SIZE_WARNING

    rest = 0
    for path in paths:
        size = path.stat().st_size
        if path.suffix in WEIGHTS or size >= FILE_SIZE_WARNING:
            yield make_finding(
                files,
                registry.LARGE_FILE_IN_UPLOAD,
                Place(path, 1),
                what=f"{path.name}, {mebibytes(size)}, would be uploaded.",
                why=SLOW,
            )
        else:
            rest += size
    if rest > LARGEST_BYTES:
        yield make_finding(
            files,
            registry.LARGE_UPLOAD,
            files.yaml.place("working_dir"),
            what=f"{mebibytes(rest)} would be uploaded, most of it in {largest_folder(files, paths)}.",
            why=SLOW,
        )


def largest_folder(files: ServiceFiles, paths: list[Path]) -> str:
    """The folder or file at the root with the most bytes in it."""
    sizes: dict[str, int] = {}
    for path in paths:
        name = path.relative_to(files.root).parts[0] if path.is_relative_to(files.root) else str(path.parent)
        sizes[name] = sizes.get(name, 0) + path.stat().st_size
    return max(sizes, key=lambda name: sizes[name])


def mebibytes(size_bytes: int) -> str:
    return f"{size_bytes / 2**20:,.0f} MiB"


def code_left_out(files: ServiceFiles, paths: list[Path]) -> Iterator[Finding]:
    """Code that the cluster imports is in the repository, and would not be uploaded."""
    missing = sorted(set(imported(files)) - set(paths))
    if missing:
        others = f" and {len(missing) - 1} more files of code" if len(missing) > 1 else ""
        yield make_finding(
            files,
            registry.CODE_NOT_UPLOADED,
            files.yaml.place("excludes" if files.yaml.get("working_dir") else "working_dir"),
            what=f"{missing[0].relative_to(files.root)}{others} would not be uploaded.",
        )


def imported(files: ServiceFiles) -> list[Path]:
    """The module of the import path and, where it imports the runtime, all of that; nothing where it is not here."""
    import_path = files.application.get("import_path")
    module = import_path.partition(":")[0] if isinstance(import_path, str) else ""
    source = files.root / f"{module.replace('.', '/')}.py"
    if not module or not source.is_file():
        return []
    uses_runtime = re.search(r"^\s*(from|import) serving\b", source.read_text(), re.MULTILINE)
    runtime = (files.root / "serving").rglob("*") if uses_runtime else []
    return [source, *(file for file in runtime if file.suffix in RUNTIME_SUFFIXES)]


def keys_left_out(files: ServiceFiles, paths: list[Path]) -> Iterator[Finding]:
    """The key file is here, and would not be there. An absolute path is meant for a disk of the nodes."""
    path = auth.path_of(files)
    if path and not path.is_absolute() and (files.root / path).is_file() and (files.root / path) not in paths:
        yield make_finding(
            files,
            registry.KEYS_NOT_UPLOADED,
            auth.place(files),
            what=f"The key file {path} would not be uploaded.",
            fix="Take what leaves it out from excludes and .gitignore. Or write api_keys: env:API_KEYS, add API_KEYS "
            f'to env_vars, and: export API_KEYS="$(cat {path})".',
        )
