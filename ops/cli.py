"""What the commands share: how they fail and where they print."""

import sys
from collections.abc import Callable

import typer
from rich.console import Console

CANNOT = 2
"""Exit status of a command that could not do what it was asked; 0 is ok, 1 is that it found problems."""

out = Console(soft_wrap=True, highlight=False)
err = Console(soft_wrap=True, highlight=False, stderr=True)


class CommandError(Exception):
    """Why a command cannot go on and what to do about it, in sentences for the person who ran it."""


def run(name: str, command: Callable) -> None:
    """Run a typer command as `name`; what it raises is printed and ends it with status 2."""
    app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    app.command()(command)
    try:
        app(prog_name=name)
    except CommandError as error:
        err.print(f"Error: {error}", style="red", markup=False)
        sys.exit(CANNOT)
    except Exception:
        err.print_exception()
        sys.exit(CANNOT)
