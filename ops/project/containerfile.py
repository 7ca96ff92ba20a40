"""The images that a containerfile is built on."""

import re
from collections.abc import Iterator

INSTRUCTION = re.compile(r"\s*(ARG|FROM)\s+(.*)", re.IGNORECASE)
VARIABLE = re.compile(r"\$(?:\{(\w+)(?::-([^}]*))?\}|(\w+))")


def images(lines: list[str]) -> Iterator[tuple[int, str]]:
    """Each image that a FROM names, with the number of its line; stages of the same file are none.

    Flags such as `--platform` are left out, and an ARG with a default stands for it.
    """
    defaults: dict[str, str] = {}
    stages: set[str] = set()
    for number, line in instructions(lines):
        if not (match := INSTRUCTION.match(line)):
            continue
        words = [word.strip("\"'") for word in match[2].split() if not word.startswith("--")]
        if match[1].upper() == "ARG":
            named = [word.partition("=") for word in words]
            defaults |= {name: expanded(value.strip("\"'"), defaults) for name, equals, value in named if equals}
        elif words:
            image = expanded(words[0], defaults)
            if image not in stages:
                yield number, image
            if len(words) > 2:  # FROM image AS stage
                stages.add(words[2])


def instructions(lines: list[str]) -> Iterator[tuple[int, str]]:
    """The instructions with the number of their first line; a backslash at its end continues a line."""
    begun, text = 0, ""
    for number, line in enumerate(lines, 1):
        if line.lstrip().startswith("#"):
            continue
        begun = begun or number
        text += line.rstrip().removesuffix("\\") + " "
        if not line.rstrip().endswith("\\"):
            yield begun, text
            begun, text = 0, ""
    if text:
        yield begun, text


def expanded(text: str, values: dict[str, str]) -> str:
    """The text with the values of `$NAME`, `${NAME}` and `${NAME:-default}`; a variable without one stays as it is."""
    return VARIABLE.sub(lambda found: values.get(found[1] or found[3]) or found[2] or found[0], text)
