"""YAML files of this repository, read strictly."""

from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from ops.console.cli import CommandError
from serving import strict_yaml

Model = TypeVar("Model", bound=BaseModel)


def load(file: Path) -> Any:
    """The content of a YAML file.

    Raises:
        ValueError: a key is given twice, or the file is not YAML. The message names file and line.
    """
    return strict_yaml.loads(file.read_text(), str(file))


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
