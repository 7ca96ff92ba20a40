"""What a machine must offer before `scripts/dev` starts anything on it."""

import resource
import shutil
import socket
from pathlib import Path

import psutil

from ops.cli import CommandError

LAPTOP_MEMORY_GB = 6.0  # measured at the peak: 5.5, see "What to expect" in README.md
LAPTOP_DISK_GB = 2.0  # 0.3 for the model, the rest a guess: logs, and room for what Ray spills


def check_port(port: int) -> None:
    if not is_free(port):
        raise CommandError(f"Port {port} is taken by {listener(port)}. Stop that, or choose another with --port.")


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def free_port(preferred: int) -> int:
    """`preferred` if it is free, else one that the system picks."""
    if is_free(preferred):
        return preferred
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def listener(port: int) -> str:
    """The process that listens on a port, in words; another user's processes cannot be seen."""
    for connection in psutil.net_connections("tcp"):
        if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port and connection.pid:
            process = psutil.Process(connection.pid)
            return f"process {process.pid} ({' '.join(process.cmdline())[:120] or process.name()})"
    return "a process that this user cannot see"


def check_memory(versions: int = 1) -> None:
    """Raises CommandError where the memory does not hold so many runs of the laptop profile."""
    available_gb, needed_gb = psutil.virtual_memory().available / 1e9, versions * LAPTOP_MEMORY_GB
    if available_gb < needed_gb:
        raise CommandError(
            f"The laptop profile needs {needed_gb:.0f} GB of free memory, and {available_gb:.1f} GB are there. "
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
