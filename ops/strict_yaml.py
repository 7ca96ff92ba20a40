"""YAML as the Anyscale SDK reads it (PyYAML's safe loader), except that a key given twice is an error."""

from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from ops.cli import CommandError

Model = TypeVar("Model", bound=BaseModel)


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


def load(file: Path) -> Any:
    """The content of a YAML file.

    Raises:
        ValueError: a key is given twice, or the file is not YAML. The message names file and line.
    """
    with file.open() as opened:
        try:
            return yaml.load(opened, _StrictLoader)
        except yaml.YAMLError as error:
            raise ValueError(f"{file} is not valid YAML: {error}") from None


def load_as(model: type[Model], file: Path, what: str) -> Model:
    """The content of a YAML file as a model.

    Args:
        what: what the file is to be, such as "a probe file".

    Raises:
        CommandError: it is not there, or not that; the message names each fault and its place.
    """
    try:
        return model.model_validate(load(file))
    except OSError as error:
        raise CommandError(f"{file} cannot be read: {error.strerror}.") from None
    except ValidationError as error:
        faults = [f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()]
        raise CommandError("\n  ".join([f"{file} is not {what}:", *faults])) from None
    except ValueError as error:
        raise CommandError(str(error)) from None
