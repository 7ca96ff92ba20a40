"""What a machine must offer before `scripts/dev` starts anything on it."""

import random
import resource
import shutil
import socket
from pathlib import Path

import psutil

from ops.console.cli import CommandError
from ops.project.catalogue import Service

LAPTOP_MEMORY_GB = 5.5  # measured at the peak: 5.0 at most, see "What to expect" in README.md
ENGINE_MEMORY_GB = 2.5  # of each further engine; measured: 1.9, multi-model beside small-size-llm, as there
PORTS = range(24_000, 30_000)
"""The ports between those that Ray gives its workers and NIXL and those of Serve's replicas, and below those that the
system gives to whoever asks: a run binds its ports half a minute after they were found free, and Ray takes dozens of
the system's meanwhile."""
LAPTOP_DISK_GB = 2.0  # 0.3 for the model, the rest a guess: logs, and room for what Ray spills


_spoken_for: set[int] = set()
"""Ports that this process is going to use, and may not have bound yet."""


def check_port(port: int) -> None:
    """Check that it is free; from then on `free_port` does not give it. Raises CommandError: somebody listens on it."""
    if not is_free(port):
        raise CommandError(f"Port {port} is taken by {listener(port)}. Stop that, or choose another with --port.")
    _spoken_for.add(port)


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def free_port() -> int:
    """A free port, picked at random, so that two runs that start at the same time do not get the same one.

    Never one that this process has got or checked before.
    """
    ports = random.sample(PORTS, len(PORTS))
    chosen = next(port for port in ports if port not in _spoken_for and is_free(port))
    _spoken_for.add(chosen)
    return chosen


def listener(port: int) -> str:
    """The process that listens on a port, in words; another user's processes cannot be seen."""
    for connection in psutil.net_connections("tcp"):
        if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port and connection.pid:
            process = psutil.Process(connection.pid)
            return f"process {process.pid} ({' '.join(process.cmdline())[:120] or process.name()})"
    return "a process that this user cannot see"


def engines(service: Service) -> int:
    """How many run at least: one for each model that is served at once. Asks no Ray, which takes long to import."""
    return max(1, len(service.files.served))


def check_memory(engines: int = 1, versions: int = 1) -> None:
    """Raises CommandError where the memory does not hold so many runs of the laptop profile.

    Args:
        engines: of each run: one for each model that is served at once.
        versions: runs beside each other.
    """
    available_gb = psutil.virtual_memory().available / 1e9
    needed_gb = versions * (LAPTOP_MEMORY_GB + (engines - 1) * ENGINE_MEMORY_GB)
    if available_gb < needed_gb:
        raise CommandError(
            f"The laptop profile needs {needed_gb:.1f} GB of free memory, and {available_gb:.1f} GB are there. "
            "Close something large and try again."
        )


def check_disk(*folders: Path) -> None:
    for folder in folders:
        existing = next(path for path in (folder, *folder.parents) if path.exists())
        free_gb = shutil.disk_usage(existing).free / 1e9
        if free_gb < LAPTOP_DISK_GB:
            raise CommandError(
                f"The laptop profile needs {LAPTOP_DISK_GB:.0f} GB of free disk under {existing}, and {free_gb:.1f} GB "
                "are there. Free some and try again."
            )


def raise_open_files_limit() -> int:
    """Raise this process's limit of open files as far as it may go; returns it. Its children inherit it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard
