"""Writes docs/reference: every rule of scripts/check, and the --help of every command.

Run it after a change to either: .venv/bin/python -m ops.commands.reference
"""

import importlib
import re
from collections.abc import Iterator

import typer.main

from ops.check import reference
from ops.console import cli
from ops.project.catalogue import ROOT

FOLDER = ROOT / "docs" / "reference"
MADE_BY = (
    "<!-- Made by .venv/bin/python -m ops.commands.reference: change what it is made of, and run it again. -->\n\n"
)
COMMAND = re.compile(r"-m ops\.commands\.(\w+)")
WIDTH = 100


def pages() -> dict[str, str]:
    """The text of each page, by its file name."""
    return {"rules.md": MADE_BY + reference.page(), "commands.md": MADE_BY + commands_page()}


def commands_page() -> str:
    """The --help of each command that scripts/ has."""
    parts = ["# Commands\n\nWhat `--help` of each command prints. All run from anywhere in the repository."]
    for script in sorted((ROOT / "scripts").iterdir()):
        if module := COMMAND.search(script.read_text()):
            texts = list(helps(f"scripts/{script.name}", module[1]))
            parts.append("\n\n".join([f"## scripts/{script.name}", *(f"```\n{text}\n```" for text in texts)]))
    return "\n\n".join(parts) + "\n"


def helps(name: str, module: str) -> Iterator[str]:
    """The help of a command, and of each of its verbs."""
    imported = importlib.import_module(f"ops.commands.{module}")
    command = typer.main.get_command(cli.app_of(getattr(imported, "VERBS", None) or getattr(imported, module)))
    context = typer.Context(command, info_name=name, terminal_width=WIDTH)
    yield command.get_help(context)
    for word, verb in getattr(command, "commands", {}).items():
        yield verb.get_help(typer.Context(verb, info_name=word, parent=context, terminal_width=WIDTH))


def write() -> None:
    FOLDER.mkdir(exist_ok=True)
    for name, text in pages().items():
        (FOLDER / name).write_text(text)


if __name__ == "__main__":
    write()
