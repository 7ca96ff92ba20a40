"""A place in a file."""

from pathlib import Path
from typing import NamedTuple


class Place(NamedTuple):
    file: Path
    line: int
