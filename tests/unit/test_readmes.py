"""The commands in READMEs and docs exist, with the options they have; the tables name what is there."""

import functools
import re
import subprocess
from pathlib import Path

import pytest

from ops.project import catalogue

ROOT = catalogue.ROOT
READMES = [ROOT / "README.md", *ROOT.glob("*/**/README.md"), *ROOT.glob("docs/*.md")]


def commands(readme: Path) -> list[str]:
    """The lines of its bash fences that run one of scripts/, without their comments."""
    fences = re.findall(r"```bash\n(.*?)```", readme.read_text(), re.DOTALL)
    lines = "\n".join(fences).replace("\\\n", " ").splitlines()
    return [line.partition(" #")[0].strip() for line in lines if line.startswith("scripts/")]


COMMANDS = sorted({command for readme in READMES if ".venv" not in readme.parts for command in commands(readme)})


@functools.cache
def help_of(*words: str) -> str:
    return subprocess.run([*words, "--help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_command_exists(command):
    script, *words = command.split()
    assert (ROOT / script).exists()
    options = [word for word in words if word.startswith("--")]
    if options:
        verb = words[: script == "scripts/keys"]  # the only one that has verbs of its own
        said = help_of(script, *verb)
        assert all(option in said for option in options), said
    for word in words[: script not in ("scripts/new", "scripts/keys")]:  # which name what is not there yet, or a client
        assert word.startswith("--") or catalogue.find(word)


def test_there_are_commands():
    assert len(COMMANDS) > 4


def test_root_readme_lists_every_service(service):
    row = next(line for line in (ROOT / "README.md").read_text().splitlines() if line.startswith(f"| [{service.name}]"))
    assert f"(services/{service.folder.name}/README.md)" in row


def test_service_readme_lists_every_model(service, category):
    text = (service.folder / "README.md").read_text()
    for name, config in category.MODELS.items():
        assert f"| `{name}`" in text
        assert config.model_loading_config.model_source in text
        row = next(line for line in text.splitlines() if line.startswith(f"| `{name}`"))
        assert ("| needed |" in row) == (name in category.GATED)
