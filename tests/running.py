"""Services that tests start on the laptop profile, as a user starts them: real Ray, real vLLM, a real model."""

import json
import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from ops.local import preflight
from ops.project.catalogue import Service

Run = Callable[..., subprocess.CompletedProcess]
"""Runs a command to its end: `run("probe", "small-size-llm")`; variables of its environment are given by name."""


@dataclass
class Served:
    service: Service
    url: str
    printed: str
    """What scripts/dev printed when it was ready."""

    @property
    def models(self) -> list[str]:
        """The ids of the models that it serves at once."""
        return [model.id for model in self.service.files.served]

    @property
    def curl_lines(self) -> list[str]:
        """One for each model, as printed."""
        return re.findall(r"^curl .*", self.printed, re.MULTILINE)

    def printed_lines(self, start: str, end: str) -> str:
        """The part of what was printed from a line that begins with `start` to one that begins with `end`."""
        return re.search(rf"^{start}.*?(?={end})", self.printed, re.MULTILINE | re.DOTALL)[0]

    @property
    def logs(self) -> Path:
        """The folder of Ray's logs."""
        return Path(self.printed_lines("Its logs:", "\n").split()[-1])


@contextmanager
def serving(run: Run, service: Service, *options: str, **environment: str) -> Iterator[Served]:
    """The service on the laptop profile, stopped at the end."""
    port = str(preflight.free_port())
    words = ("--profile", "laptop", "--port", port, "--detach", *options)
    started = run("dev", service.name, *words, **environment)
    assert started.returncode == 0, started.stdout + started.stderr
    yield Served(service, f"http://127.0.0.1:{port}", started.stdout)
    run("dev", "--stop")


def check_probe_passes(served: Served, run: Run) -> None:
    probe = run("probe", served.service.name, "--url", served.url, "--json")
    assert probe.returncode == 0, probe.stdout + probe.stderr
    assert all(not result["failures"] for result in json.loads(probe.stdout)["results"])


def check_stop_ends_all(served: Served, run: Run, processes: Callable[[], list[psutil.Process]]) -> None:
    ours = processes()
    assert len(ours) > 5, "Ray, HAProxy and vLLM run as processes of their own"
    stopped = run("dev", "--stop")
    assert stopped.returncode == 0
    assert f"Stopped {served.service.name} on {served.url}" in stopped.stdout
    _, alive = psutil.wait_procs(ours, timeout=20)
    assert alive == []
    assert "Nothing to stop" in run("dev", "--stop").stdout


def answer_of(curl_line: str, environment: dict[str, str]) -> dict:
    """The message of the assistant that a printed curl line gets."""
    done = subprocess.run(["bash", "-c", curl_line], env=environment, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)["choices"][0]["message"]
