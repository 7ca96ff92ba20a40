"""Commands for services on Anyscale, run against the local control plane: what their tests have in common.

Each test has a service of its own name. Versions that run the same share one engine, which the first deploy starts.
"""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from ops.project.catalogue import Service
from ops.rollouts.journal import Journal
from rehearsal.stage import Stage, stage

SERVICE, FOLDER = "small-size-llm", "small_size_llm"
AT_A_TIME = 3  # commands that do not touch each other's services; guess: two processors, and some of them wait
SLO = """
load: {requests: 2, concurrency: 2, output_tokens: 4, prompts: ["What is the capital of France?"]}
objectives: {}
against_primary: {}
"""
SLO_FILES = {
    "quick.yaml": "{}",
    "strict.yaml": "{ttft_p50: 1ms}",
    "unknown_key.yaml": "{ttft_p59: 1s}",
    "no_unit.yaml": "{ttft_p50: 500}",
}
ROLLOUT = ("--yes", "--steps", "50,100", "--bake", "0s", "--slo", "quick.yaml")
LIKE_A_TERMINAL = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)}
"""A shell that runs the tests in the background has them, and what they start, ignore Ctrl-C."""
AT_ONCE = ("--yes", "--steps", "100", "--bake", "0s", "--slo", "quick.yaml")


@contextmanager
def staged(repository: Path) -> Iterator[Stage]:
    """A stage of a copy of a repository, on which versions share their engine, with SLO files and a short probe."""
    service = Service(repository / "services" / FOLDER)
    with stage(service, source=repository, reuse=True) as opened:
        for file, objectives in SLO_FILES.items():  # now, because a file more would be another package, and engine
            (opened.repository / file).write_text(SLO.replace("objectives: {}", f"objectives: {objectives}"))
        shorten(opened.repository / "services" / FOLDER / "probe.yaml")
        yield opened


def shorten(probe: Path) -> None:
    """Leave the first check: that all of them pass is tested elsewhere, and dozens of rollouts are probed here."""
    text = probe.read_text()
    probe.write_text(text[: text.index("  - name:", text.index("  - name:") + 1)])


class ControlPlane:
    """What the local control plane tells of itself, and does on demand; Anyscale has no such routes."""

    def __init__(self, url: str) -> None:
        self.client = httpx.Client(base_url=f"{url}/rehearsal", trust_env=False)

    def faults(self, **faults) -> None:
        self.client.put("/faults", json=faults).raise_for_status()

    def applies(self) -> list[dict]:
        return [asked for asked in self.client.get("/requests").json() if asked["path"].endswith("/apply")]

    def traffic(self, name: str) -> dict:
        return self.client.get(f"/traffic/{name}").json()


def on_anyscale(staged: Stage, name: str) -> dict:
    """The service as the control plane has it."""
    cookies = {"cli_token": staged.env["ANYSCALE_CLI_TOKEN"]}
    asked = httpx.get(f"{staged.url}/api/v2/services-v2/", params={"name": name}, cookies=cookies, trust_env=False)
    return next(service for service in asked.json()["results"] if service["name"] == name)


def weights(staged: Stage, name: str) -> dict[str, int]:
    """The percent of the traffic that each version of a service has."""
    service = on_anyscale(staged, name)
    versions = (service["primary_version"], service["canary_version"])
    return {version["version"]: version["weight"] for version in versions if version}


def journal(staged: Stage, name: str) -> Journal:
    """The journal of the newest rollout."""
    return staged.journals(name)[0]
