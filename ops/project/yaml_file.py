"""A YAML file with the line of each key, and the keys that it gives twice."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from ops.project.place import Place

Keys = tuple[str | int, ...]
"""The way to a value: keys of mappings and indices of lists."""


@dataclass(frozen=True)
class YamlFile:
    file: Path
    data: Any
    """None where the file is not there or is not YAML."""
    lines: dict[Keys, int]
    twice: dict[Keys, list[int]] = field(default_factory=dict)
    """The lines of each key that one mapping has more than once."""
    error: str = ""
    """Why it is not YAML."""
    options: dict[Keys, str] = field(default_factory=dict)
    """The option of the command line that gives a value of `data` in place of the file."""

    def place(self, *keys: str | int) -> Place:
        """The place where a value is given; for one that is not, the place where the innermost mapping that would hold
        it begins."""
        while keys and keys not in self.lines and keys not in self.options:
            keys = keys[:-1]
        return Place(self.file, self.lines.get(keys, 1), self.options.get(keys, ""))

    def get(self, *keys: str | int, default: Any = None) -> Any:
        """The value at the end of the way, or `default` where the way breaks off."""
        value = self.data
        for key in keys:
            try:
                value = value[key]
            except (KeyError, IndexError, TypeError):
                return default
        return value


def read(file: Path) -> YamlFile:
    """The content of a file, as the Anyscale SDK's own loader takes it."""
    try:
        text = file.read_text()
    except OSError as error:
        return YamlFile(file, None, {}, error=f"it cannot be read: {error.strerror}")
    lines: dict[Keys, int] = {(): 1}
    twice: dict[Keys, list[int]] = {}
    try:
        loader = yaml.SafeLoader(text)
        root = loader.get_single_node()
        walk(root, (), lines, twice)  # before the construction, which writes what `<<` merges into the nodes
        data = loader.construct_document(root) if root else None
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        return YamlFile(file, None, {(): line}, error=f"it is not YAML: {error.problem}")
    except (yaml.YAMLError, ValueError) as error:  # a character that YAML has not, a date such as 2026-13-01
        return YamlFile(file, None, {}, error=f"it is not YAML: {error}")
    return YamlFile(file, data, lines, twice)


def walk(node: yaml.Node | None, keys: Keys, lines: dict[Keys, int], twice: dict[Keys, list[int]]) -> None:
    if isinstance(node, yaml.MappingNode):
        seen: dict[Keys, list[int]] = {}
        for key_node, value in node.value:
            here = (*keys, key_node.value)
            seen.setdefault(here, []).append(key_node.start_mark.line + 1)
            lines[here] = key_node.start_mark.line + 1
            walk(value, here, lines, twice)
        twice |= {here: given for here, given in seen.items() if len(given) > 1 and here[-1] != "<<"}
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            lines[(*keys, index)] = item.start_mark.line + 1
            walk(item, (*keys, index), lines, twice)
