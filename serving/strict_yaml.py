"""YAML as the Anyscale SDK reads it (PyYAML's safe loader), except that a key given twice is an error."""

import io
from typing import Any

import yaml


class _StrictLoader(yaml.SafeLoader):
    """PyYAML keeps the last of two equal keys and says nothing; the first then looks as if it had an effect."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        first_lines: dict[Any, int] = {}
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":  # << may come twice
                continue
            key = self.construct_object(key_node, deep=True)
            line = key_node.start_mark.line + 1
            if key in first_lines:
                raise ValueError(f"{self.name}: {key} is given twice, in lines {first_lines[key]} and {line}.")
            first_lines[key] = line
        return super().construct_mapping(node, deep)


def loads(text: str, name: str) -> Any:
    """The content of a YAML text.

    Args:
        name: where it is from, for messages.

    Raises:
        ValueError: a key is given twice, or it is not YAML. The message has the name and the line.
    """
    stream = io.StringIO(text)  # PyYAML's messages quote a text, and not a stream: what it holds may be secret
    stream.name = name
    try:
        return yaml.load(stream, _StrictLoader)
    except yaml.YAMLError as error:
        raise ValueError(f"{name} is not valid YAML: {error}") from None
