"""scripts/keys: make, list and remove the API keys in a key file."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from ops.console import cli
from ops.console.cli import CommandError, err, out
from ops.project.key_files import new_key, read, write, written
from serving.auth import key_file
from serving.auth.key_file import ApiKey

NameArgument = Annotated[str, typer.Argument(help="Who uses the key; logs and metrics call it so.")]
FileOption = Annotated[Path, typer.Option(help="The key file.")]
DEFAULT_FILE = Path("keys.yaml")


def new(
    name: NameArgument,
    requests_per_minute: Annotated[
        int | None, typer.Option(help="The most requests in any 60 seconds; default: no limit.", min=1)
    ] = None,
    tokens_per_day: Annotated[
        int | None,
        typer.Option(help="The most tokens of prompts and answers in a day of UTC; default: no limit.", min=1),
    ] = None,
    file: FileOption = DEFAULT_FILE,
) -> None:
    """Make a key, add its hash to the file, and print the key: this once, it is kept nowhere.

    Example: scripts/keys new alice --requests-per-minute 60 --tokens-per-day 1000000
    """
    keys, key = read(file), new_key()
    if any(known.name == name for known in keys):
        raise CommandError(f"{file} has a key named {name}. Choose another name, or: scripts/keys remove {name}")
    entry = {"name": name, "sha256": key_file.digest(key.encode()).hex()}
    limits = {"requests_per_minute": requests_per_minute, "tokens_per_day": tokens_per_day}
    given = {field: value for field, value in limits.items() if value is not None}
    write(file, [*map(written, keys), entry | given])
    err.print(f"The key of {name}, which cannot be shown again. {file} has its hash:", markup=False)
    out.print(key, markup=False)


def show(file: FileOption = DEFAULT_FILE) -> None:
    """Name the keys of a file and their limits.

    Example: scripts/keys list
    """
    for key in read(file):
        limits = [f"{number:,} {what}" for what, number in limits_of(key) if number]
        out.print(f"{key.name}: {', '.join(limits) or 'no limits'}", markup=False)


def remove(name: NameArgument, file: FileOption = DEFAULT_FILE) -> None:
    """Take a key out of a file. Services that read the file refuse it within seconds.

    Example: scripts/keys remove alice
    """
    keys = read(file)
    left = [key for key in keys if key.name != name]
    if len(left) == len(keys):
        raise CommandError(f"{file} has no key named {name}. It has: {', '.join(key.name for key in keys) or 'none'}.")
    write(file, [written(key) for key in left])
    out.print(f"{file} has no key of {name} any more.", markup=False)
    if not left:
        err.print("It was the last one: services that read the file let nobody in, and none starts with it.")


def limits_of(key: ApiKey) -> list[tuple[str, int | None]]:
    return [("requests per minute", key.requests_per_minute), ("tokens per day", key.tokens_per_day)]


VERBS: dict[str, Callable] = {"new": new, "list": show, "remove": remove}

if __name__ == "__main__":
    cli.run("scripts/keys", VERBS)
