"""Run git in a clone."""

import os
import subprocess
import sys
from pathlib import Path

from ops.console.cli import CommandError


def git(root: Path, *words: str, stdin: str = "", index: Path | None = None) -> str:
    """Run git in `root` and return what it prints.

    Args:
        index: an index file to use instead of the clone's own.

    Raises:
        CommandError: git ended with an error; the message is git's own reason.
    """
    env = os.environ | ({"GIT_INDEX_FILE": str(index)} if index else {})
    if not sys.stdin.isatty():
        env["GIT_TERMINAL_PROMPT"] = "0"  # nobody is there to type a password, and git would wait for it
    try:
        done = subprocess.run(
            ["git", *words],
            cwd=root,
            env=env,
            input=stdin,
            capture_output=True,
            text=True,
            errors="surrogateescape",  # file names need not be UTF-8
            check=False,
        )
    except FileNotFoundError:
        raise CommandError("git is not installed, and an upgrade is a git commit. Install git.") from None
    if done.returncode:
        raise CommandError(reason(done.stderr))
    return done.stdout


def reason(stderr: str) -> str:
    """Why git failed, on one line."""
    lines = [line.strip().removeprefix("fatal: ").removeprefix("error: ") for line in stderr.splitlines()]
    return " ".join(line for line in lines if line)
