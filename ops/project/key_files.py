"""Read and write key files, and make API keys."""

import secrets
from pathlib import Path

import yaml

from ops.console.cli import CommandError
from serving.auth import key_file
from serving.auth.key_file import ApiKey

HEADER = "# The keys that a service takes: names, limits and hashes. scripts/keys writes this file.\n"
RANDOM_BYTES = 32


def new_key() -> str:
    """A key of 256 random bits; by its first letters searches for secrets know it as one."""
    return f"sk-{secrets.token_urlsafe(RANDOM_BYTES)}"


def read(file: Path) -> list[ApiKey]:
    """The keys of a file; none where there is no file, or it has none yet."""
    if not file.exists():
        return []
    try:
        return key_file.parse(file.read_text(), str(file), may_be_empty=True)
    except OSError as error:
        raise CommandError(f"{file} cannot be read: {error.strerror}.") from None
    except ValueError as error:
        raise CommandError(str(error)) from None


def written(key: ApiKey) -> dict[str, str | int]:
    return key.model_dump(exclude_none=True)


def write(file: Path, entries: list[dict[str, str | int]]) -> None:
    """Replace the file in one step, so that a service never reads half of it."""
    try:
        key_file.KeyFile.model_validate({"keys": entries})
    except ValueError as error:
        raise CommandError(
            f"{entries[-1]['name']} cannot be the name of a key: it may have up to 64 letters, digits, "
            "dots, hyphens and underscores."
        ) from error
    unfinished = file.with_name(f"{file.name}.unfinished")
    try:
        unfinished.write_text(HEADER + yaml.safe_dump({"keys": entries}, sort_keys=False))
        unfinished.replace(file)
    except OSError as error:
        raise CommandError(f"{file} cannot be written: {error.strerror}.") from None
