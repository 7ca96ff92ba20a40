"""A place in a file, or on the command line."""

from pathlib import Path
from typing import NamedTuple


class Place(NamedTuple):
    file: Path
    line: int
    option: str = ""
    """The option of the command line that gives what is there in place of the file, such as `--set routing=prefix`."""
