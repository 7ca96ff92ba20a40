"""What a starting replica is doing, and why it failed, read from the logs of its Ray session."""

import re
from pathlib import Path

STAGES = {  # a line that a replica's processes write (Ray 2.59, vLLM 0.27), and what is awaited from there on
    "Started initializing replica": "the replica to import vLLM",
    "Initializing a V1 LLM engine": "the engine to start its workers",
    "Starting to load model": "the weights to load",
    "Loading weights took": "the KV cache and the warm-up",
    "Model loading took": "compilation, the KV cache and the CUDA graphs",  # on a GPU
    "Started vLLM engine": "the HTTP routes",
}

EXCEPTION = re.compile(r"[\w.]*(?:Error|Exception|Exit|Interrupt): \S.*")
PREFIX = re.compile(r"^(\([^)]*pid=\d+[^)]*\) )?((ERROR|WARNING|INFO) [\d-]+ [\d:,.]+ \[[^\]]+\] ?)?")
CONSEQUENCES = (  # what the other processes say when the engine's own process has failed
    "Traceback (most recent call last)",  # Serve wraps a replica's traceback in a RuntimeError
    "Engine core initialization failed",
    "WorkerProc initialization failed",
    "Executor failed",
    "RayTaskError",
    "ActorDiedError",
    "CancelledError",
)


def replica_logs(logs: Path) -> list[Path]:
    """The log files of the replicas' processes in a Ray session's log folder, the oldest first."""
    files = [*logs.glob("serve/replica_*.log"), *logs.glob("worker-*.out"), *logs.glob("worker-*.err")]
    return sorted((file for file in files if is_of_replica(file)), key=lambda file: file.stat().st_mtime)


def is_of_replica(file: Path) -> bool:
    if file.parent.name == "serve":
        return True
    with file.open(errors="replace") as opened:
        return "ServeReplica:" in opened.read(500)  # Ray names the actor in the first lines


def stage(logs: Path) -> str | None:
    """What the replica that got furthest is waiting for; None before it has written anything."""
    text = "\n".join(file.read_text(errors="replace") for file in replica_logs(logs))
    reached = [awaited for line, awaited in STAGES.items() if line in text]
    return reached[-1] if reached else None


def root_cause(logs: Path) -> str | None:
    """The first exception of the replicas that is not the consequence of another one, on one line; None without any."""
    for file in replica_logs(logs):
        lines = [PREFIX.sub("", line) for line in file.read_text(errors="replace").splitlines()]
        for number, line in enumerate(lines):
            found = EXCEPTION.match(line)
            if found and not any(consequence in line for consequence in CONSEQUENCES):
                return " ".join([line, *continuation(lines[number + 1 :])])
    return None


def continuation(lines: list[str]) -> list[str]:
    """The indented lines that follow an exception's first line, as pydantic writes them."""
    following = []
    for line in lines[:6]:
        if not line.startswith("  ") or line.lstrip().startswith(("File ", "For further information")):
            break
        following.append(line.strip())
    return following
