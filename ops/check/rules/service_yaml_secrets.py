"""Secrets written where all can read them: values of environment variables, and text that has the shape of a key.

No finding repeats what it found.
"""

import math
import os
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ops.check import registry
from ops.check.finding import Finding, make_finding
from ops.check.rules import service_yaml_env
from ops.project import serve_py
from ops.project.place import Place
from ops.project.service_files import ServiceFiles

SHAPES = {
    "a Hugging Face token": r"\bhf_[A-Za-z0-9]{30,}",
    "an OpenAI or Anthropic key": r"\bsk-[\w-]{20,}",
    "an AWS access key": r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b",
    "an Anyscale token": r"\b(?:aph\d|sss)_[\w-]{20,}",
    "a GitHub token": r"\b(?:gh[pousr]_[A-Za-z0-9]{36,}|github_pat_\w{22,})",
    "a Google key": r"\bAIza[\w-]{35}",
    "a Slack token": r"\bxox[abprs]-[\w-]{10,}",
    "an NVIDIA key": r"\bnvapi-[\w-]{20,}",
}
"""Keys that say by their first letters what they are, as those who issue them describe them."""
PRIVATE_KEY = re.compile(r"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----")
SECRET_NAME = re.compile(r"(?:^|_)(?:TOKEN|SECRET|PASSWORD|API_?KEY|ACCESS_KEY|PRIVATE_KEY)$")
RANDOM = re.compile(r"(?=.*[a-z])(?=.*[A-Z])(?=.*\d)[A-Za-z0-9+=]{24,}")
LARGEST_TEXT = 1_000_000
"""Bytes of the largest file that is searched; guess: people put keys in small files."""

WHY = "Whoever can read the repository, or what is uploaded of it, has it."


def quick_findings(files: ServiceFiles) -> Iterator[Finding]:
    told = list(env_vars(files))
    yield from told
    lines = {(finding.file, finding.line) for finding in told}
    for path in sorted(files.folder.rglob("*")):
        yield from (finding for finding in in_file(files, path) if (finding.file, finding.line) not in lines)


def env_vars(files: ServiceFiles) -> Iterator[Finding]:
    told = set()
    for place_of, variables in service_yaml_env.mappings(files):
        for name, value in variables.items():
            kind, place = kind_of_value(str(name), value), place_of(str(name))
            if kind and place not in told:  # several models share it
                told.add(place)
                yield make_finding(
                    files,
                    registry.SECRET_IN_ENV_VARS,
                    place,
                    what=f"The value of {name} {kind}.",
                    why=f"{WHY} `anyscale service status -v` prints it too.",
                    fix=f"Leave it empty, export {name} where you deploy from, and replace the one that was written.",
                )


def in_file(files: ServiceFiles, path: Path) -> Iterator[Finding]:
    """Lines of a text file that hold a key."""
    for line, text in enumerate(text_lines(path), 1):
        if kind := kind_of_text(text):
            yield make_finding(
                files,
                registry.SECRET_IN_FILE,
                Place(path, line),
                what=f"This line holds what looks like {kind}.",
                why=WHY,
            )


def text_lines(path: Path) -> list[str]:
    try:
        if not path.is_file() or path.stat().st_size > LARGEST_TEXT:
            return []
        content = path.read_bytes()
    except OSError:
        return []
    return [] if b"\0" in content else content.decode(errors="replace").splitlines()


def kind_of_text(text: str) -> str | None:
    """What kind of key a text holds."""
    if PRIVATE_KEY.search(text):
        return "a private key"
    for kind, shape in SHAPES.items():
        if any(is_random(found) for found in re.findall(shape, text)):
            return kind
    return None


def kind_of_value(name: str, value: Any) -> str | None:
    """What shows that the value of an environment variable is a secret."""
    if not isinstance(value, str) or value in (
        "",
        serve_py.TOKEN,
        *os.environ.values(),
    ):  # a serve.py may read it there
        return None
    if kind := kind_of_text(value):
        return f"looks like {kind}"
    if SECRET_NAME.search(name) and not value.startswith("/"):  # a path is where the secret is
        return "is a secret, by its name, and is not empty"
    return "is as random as a key" if RANDOM.fullmatch(value) and is_random(value) else None


def is_random(text: str) -> bool:
    """Whether it has over 3 bits of entropy a letter; hf_xxxx, as in a manual, has less.

    The limit that detect-secrets uses for hexadecimal digits.
    """
    shares = [count / len(text) for count in Counter(text).values()]
    return -sum(share * math.log2(share) for share in shares) > 3
