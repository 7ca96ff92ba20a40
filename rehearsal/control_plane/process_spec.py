"""What the control plane and the process of a version tell each other, as two JSON files."""

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel


class Spec(BaseModel):
    """What a version's process serves, and where."""

    name: str
    """The name of the Serve application."""

    import_path: str
    route_prefix: str
    args: dict[str, Any]
    port: int
    report_file: Path


class Report(BaseModel):
    """How far the process is."""

    state: Literal["STARTING", "RUNNING", "UNHEALTHY"]
    message: str

    def write(self, file: Path) -> None:
        """Replace the file at once: its reader sees the old report or this one, never a half."""
        new = file.with_suffix(".new")
        new.write_text(self.model_dump_json())
        new.replace(file)
