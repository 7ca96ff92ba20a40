"""What a command is waiting for, and for how long."""

import time

from rich.progress import Progress as Bar
from rich.progress import SpinnerColumn, TextColumn, TimeElapsedColumn

from ops.console.cli import err


class Progress:
    """A line with a spinner on a terminal, else one line per thing that is awaited. A context manager."""

    def __init__(self) -> None:
        self.started = time.monotonic()
        self.awaited = ""
        columns = (SpinnerColumn(), TimeElapsedColumn(), TextColumn("waiting for {task.description}"))
        self.bar = Bar(*columns, console=err, transient=True) if err.is_terminal else None

    def __enter__(self) -> "Progress":
        if self.bar:
            self.task = self.bar.add_task("")
            self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.bar:
            self.bar.stop()

    def seconds(self) -> float:
        return time.monotonic() - self.started

    def waiting_for(self, awaited: str) -> None:
        if self.bar:
            self.bar.update(self.task, description=awaited)
        elif awaited != self.awaited:
            err.print(f"{self.seconds():4.0f} s  waiting for {awaited}")
        self.awaited = awaited
