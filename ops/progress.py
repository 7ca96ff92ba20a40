"""What a command is waiting for, and for how long."""

import time

from ops.cli import err


class Progress:
    """A spinner on a terminal, else one line per thing that is awaited. A context manager."""

    def __init__(self) -> None:
        self.started = time.monotonic()
        self.awaited = ""
        self.spinner = err.status("") if err.is_terminal else None

    def __enter__(self) -> "Progress":
        if self.spinner:
            self.spinner.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.spinner:
            self.spinner.stop()

    def seconds(self) -> float:
        return time.monotonic() - self.started

    def waiting_for(self, awaited: str) -> None:
        line = f"{self.seconds():4.0f} s  waiting for {awaited}"
        if self.spinner:
            self.spinner.update(line)
        elif awaited != self.awaited:
            err.print(line)
        self.awaited = awaited
