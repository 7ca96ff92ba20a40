"""What the commands share: how they fail and where they print."""

import json
import sys
from collections.abc import Callable

import typer
from rich.console import Console

PROBLEMS = 1
"""Exit status of a command that found problems; 0 is ok."""
CANNOT = 2
"""Exit status of a command that could not do what it was asked, and changed nothing."""

out = Console(soft_wrap=True, highlight=False)
err = Console(soft_wrap=True, highlight=False, stderr=True)


class CommandError(Exception):
    """Why a command cannot go on and what to do about it, in sentences for the person who ran it."""


class Failed(Exception):
    """What a command began did not come out well, in sentences: it changed something, and ends with status 1."""


def app_of(command: Callable | dict[str, Callable]) -> typer.Typer:
    """The typer app of one command, or of several by the word that says which."""
    app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    for word, one in command.items() if isinstance(command, dict) else [(None, command)]:
        app.command(word)(one)
    return app


def run(name: str, command: Callable | dict[str, Callable]) -> None:
    """Run a typer command as `name`; what it raises is printed, with `--json` as JSON too, and ends it.

    Several commands are given by the word that follows `name` and says which.
    """
    try:
        app_of(command)(prog_name=name)
    except (CommandError, Failed) as error:
        err.print(f"Error: {error}", style="red", markup=False)
        if "--json" in sys.argv:
            print(json.dumps({"error": str(error)}))
        sys.exit(PROBLEMS if isinstance(error, Failed) else CANNOT)
    except Exception:
        err.print_exception()
        sys.exit(CANNOT)


def confirm(question: str, yes: bool) -> None:
    """Ask on a terminal before something that costs or destroys; `yes` is the answer given on the command line.

    Raises:
        CommandError: the answer is no, or there is nobody to ask.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise CommandError("Nothing was changed: there is no terminal to ask for your consent. Pass --yes.")
    if not typer.confirm(question, err=True):
        raise CommandError("Nothing was changed.")
