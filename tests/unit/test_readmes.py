"""The commands in the READMEs and docs of the template exist, with the options they have.

Those in the READMEs of the user's services are a check of scripts/check.
"""

import functools
import re
import subprocess
import sys
from pathlib import Path

import pytest

from ops.project import catalogue
from ops.project.catalogue import ROOT

READMES = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("images/*.md")]


def commands(readme: Path) -> list[str]:
    """The lines of its bash fences that run one of scripts/, without their comments."""
    fences = re.findall(r"```bash\n(.*?)```", readme.read_text(), re.DOTALL)
    lines = "\n".join(fences).replace("\\\n", " ").splitlines()
    return [line.partition(" #")[0].strip() for line in lines if line.startswith("scripts/")]


COMMANDS = sorted({command for readme in READMES for command in commands(readme)})


@functools.cache
def help_of(script: str, *verb: str) -> str:
    words = [sys.executable, "-m", f"ops.commands.{script}", *verb, "--help"]
    return subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_command_exists(command):
    script, *words = command.split()
    assert (ROOT / script).exists()
    options = [word for word in words if word.startswith("--")]
    if options:
        verb = words[: script == "scripts/keys"]  # the only one that has verbs of its own
        said = help_of(Path(script).name, *verb)
        assert all(option in said for option in options), said
    for word in words[: script not in ("scripts/new", "scripts/keys", "scripts/test")]:  # of these it is no service
        assert word.startswith("--") or catalogue.find(word)


def test_there_are_commands():
    assert len(COMMANDS) > 4
