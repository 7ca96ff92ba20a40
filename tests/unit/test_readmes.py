"""The commands in the README and docs of the template exist, with the options they have.

Those in the READMEs of the user's services are a check of scripts/check. The README at the root is the user's once they
have given it a title of their own, and may name their services before that.
"""

import functools
import re
import subprocess
import sys
from pathlib import Path

import pytest

from ops.project import catalogue
from ops.project.catalogue import ROOT

TITLE = "# Serve LLMs with Ray Serve on Anyscale"
README = ROOT / "README.md"
DOCS = [ROOT / "CONTRIBUTING.md", *ROOT.glob("docs/**/*.md")]


def commands(readme: Path) -> list[str]:
    """The lines of its bash fences that run one of scripts/, without their comments."""
    fences = re.findall(r"```bash\n(.*?)```", readme.read_text(), re.DOTALL)
    lines = "\n".join(fences).replace("\\\n", " ").splitlines()
    return [line.partition(" #")[0].strip() for line in lines if line.startswith("scripts/")]


OF_THE_DOCS = {command for document in DOCS for command in commands(document)}
OF_THE_README = set(commands(README)) if README.is_file() and README.read_text().startswith(TITLE) else set()

OTHER_WORDS = {
    "scripts/new": "a service that is not there yet",
    "scripts/keys": "a client",
    "scripts/test": "a suite",
}
"""Commands whose first word is no service, and what it is."""


@functools.cache
def help_of(script: str, *verb: str) -> str:
    words = [sys.executable, "-m", f"ops.commands.{script}", *verb, "--help"]
    return subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("command", sorted(OF_THE_DOCS | OF_THE_README))
def test_command_exists(command):
    script, *words = command.split()
    assert (ROOT / script).exists()
    options = [word for word in words if word.startswith("--")]
    if options:
        verb = words[: script == "scripts/keys"]  # the only one that has verbs of its own
        said = help_of(Path(script).name, *verb)
        assert all(option in said for option in options), said
    for word in words[: command in OF_THE_DOCS and script not in OTHER_WORDS]:
        assert word.startswith("--") or catalogue.find(word)


def test_there_are_commands():
    assert len(OF_THE_DOCS) > 4
