"""The dev runs of this machine, so that another command can find and stop them."""

import os
import signal
import time
from pathlib import Path

import psutil

from laptop.cache import CACHE
from ops.project.strict_model import StrictModel

FOLDER = CACHE / "dev"


class DevRun(StrictModel):
    """One `scripts/dev` process, in a file named after its pid."""

    pid: int
    started: float
    """The time at which the process was created, in seconds of the epoch: a later process may have its pid."""
    service: str
    url: str
    ready: bool = False

    @property
    def file(self) -> Path:
        return FOLDER / f"{self.pid}.json"

    def save(self) -> None:
        FOLDER.mkdir(parents=True, exist_ok=True)
        unfinished = self.file.with_suffix(".unfinished")  # another command may read the record at any time
        unfinished.write_text(self.model_dump_json())
        unfinished.replace(self.file)

    def forget(self) -> None:
        self.file.unlink(missing_ok=True)

    def process(self) -> psutil.Process | None:
        """Its process, None when it is gone."""
        try:
            process = psutil.Process(self.pid)
        except psutil.NoSuchProcess:
            return None
        return process if process.create_time() == self.started else None


def this_run(service: str, url: str) -> DevRun:
    return DevRun(pid=os.getpid(), started=psutil.Process().create_time(), service=service, url=url)


def running() -> list[DevRun]:
    """The runs whose process is there; the records of others are removed."""
    runs = [run for file in FOLDER.glob("*.json") if (run := find(int(file.stem)))]
    for run in runs:
        if run.process() is None:
            run.forget()
    return [run for run in runs if run.file.exists()]


def find(pid: int) -> DevRun | None:
    """The record of a process; None where it has none, or has just removed it."""
    try:
        return DevRun.model_validate_json((FOLDER / f"{pid}.json").read_text())
    except FileNotFoundError:
        return None


def stop(run: DevRun, timeout_s: float = 60) -> bool:
    """Ask a run to stop and wait until it is gone; whether it went in time."""
    process = run.process()
    if process is None:
        return True
    process.send_signal(signal.SIGINT)  # not SIGTERM: ops.local.stopping
    deadline = time.monotonic() + timeout_s
    while run.process() and time.monotonic() < deadline:
        time.sleep(0.2)
    return run.process() is None
