"""The real anyscale CLI against the control plane of the rehearsal, with a small Serve application that is no LLM."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from ops.local import preflight

TOKEN = "aph0_rehearsal"
HTTP = httpx.Client(trust_env=False)  # one for all: each new one reads the certificates of the system, for 0.1 s
APPLICATION = """
import asyncio
import os

from ray import serve
from starlette.responses import StreamingResponse

if os.environ.get("BREAKS"):
    raise ValueError("this one breaks")


@serve.deployment
class Repeat:
    def __init__(self, word):
        self.word = word

    async def __call__(self, request):
        return StreamingResponse(self.repeat(int(request.query_params.get("times", 1))))

    async def repeat(self, times):
        yield f"{self.word}\\n"
        for _ in range(times - 1):
            await asyncio.sleep(0.1)
            yield f"{self.word}\\n"


def app(args):
    print(f"The word is {args['word']}.", flush=True)
    return Repeat.bind(args["word"])
"""
SERVICE = """
name: repeat
image_uri: anyscale/ray:2.59.0-py312
working_dir: .
applications:
  - name: repeat
    route_prefix: /
    import_path: repeat:app
    args: {word: WORD}
"""


@dataclass
class Rehearsal:
    """A control plane and a folder to deploy from."""

    url: str
    folder: Path

    def anyscale(self, *words: str) -> subprocess.CompletedProcess:
        """Run the CLI, as a user does, in the folder."""
        own = {
            "HOME": str(self.folder.parent),
            "ANYSCALE_HOST": self.url,
            "ANYSCALE_CLI_TOKEN": TOKEN,
            "ANYSCALE_SUPPRESS_UPGRADE_WARNING": "1",
            "ANYSCALE_TELEMETRY_SAMPLE_RATE": "0",
            "NO_PROXY": "127.0.0.1",
        }
        command = [sys.executable, "-c", "from anyscale.scripts import main; main()", *words]
        env = {name: value for name, value in os.environ.items() if not name.startswith("ANYSCALE_")} | own
        return subprocess.run(
            command, cwd=self.folder, env=env, capture_output=True, text=True, timeout=600, check=False
        )

    def ok(self, *words: str) -> str:
        """What the CLI prints to stdout when it succeeds."""
        done = self.anyscale(*words)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def deploy(self, word: str, *options: str) -> str:
        """Deploy the application with this word, as a version named after it."""
        (self.folder / "service.yaml").write_text(SERVICE.replace("WORD", word))
        return self.ok("service", "deploy", "-f", "service.yaml", "--version-name", word, *options)

    def status(self) -> dict[str, Any]:
        return json.loads(self.ok("service", "status", "-n", "repeat", "-o", "json"))

    def service(self) -> dict[str, Any]:
        """As the API tells it: faster than a start of the CLI."""
        headers = {"Cookie": f"cli_token={TOKEN}"}
        reply = HTTP.get(f"{self.url}/api/v2/services-v2/", params={"name": "repeat"}, headers=headers)
        return reply.json()["results"][0]

    def wait(self, reached: Callable[[dict[str, Any]], bool], timeout_s: float = 600) -> dict[str, Any]:
        deadline = time.monotonic() + timeout_s
        while not reached(service := self.service()):
            assert time.monotonic() < deadline, json.dumps(service, indent=2)
            time.sleep(0.2)
        return service

    def faults(self, **faults: Any) -> None:
        HTTP.put(f"{self.url}/rehearsal/faults", json=faults).raise_for_status()


@pytest.fixture(scope="module")
def rehearsal(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rehearsal]:
    port = preflight.free_port()
    folder = tmp_path_factory.mktemp("application")
    (folder / "repeat.py").write_text(APPLICATION)
    words = ["--port", str(port), "--folder", str(tmp_path_factory.mktemp("control-plane"))]
    process = subprocess.Popen(
        [sys.executable, "-m", "rehearsal.control_plane", *words], cwd=root, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == f"Anyscale rehearsal on http://127.0.0.1:{port}\n"
    yield Rehearsal(f"http://127.0.0.1:{port}", folder)
    started = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGTERM)
    process.wait(timeout=120)  # it gives each version 60 s
    assert [each.cmdline() for each in started if each.is_running()] == []


def ask(service: dict[str, Any], **headers: str) -> httpx.Response:
    headers = {"Authorization": f"Bearer {service['auth_token']}"} | headers
    return HTTP.get(service["base_url"], headers=headers)


def is_pinned_at(weight: int) -> Callable[[dict[str, Any]], bool]:
    def reached(service: dict[str, Any]) -> bool:
        canary = service["canary_version"]
        return canary is not None and (canary["current_state"], canary["weight"]) == ("RUNNING", weight)

    return reached


def is_running(word: str) -> Callable[[dict[str, Any]], bool]:
    return lambda service: (service["current_state"], service["primary_version"]["version"]) == ("RUNNING", word)


def test_versions_come_and_go(rehearsal: Rehearsal):
    rehearsal.deploy("one")
    first = rehearsal.wait(is_running("one"))
    assert ask(first).text == "one\n"
    assert ask(first, Authorization="Bearer wrong").status_code == 401
    assert ask(first, **{"X-ANYSCALE-VERSION": "canary"}).json()["error"]["code"] == "no_canary"

    rehearsal.deploy("two", "--canary-percent", "25")
    assert "The word is one." in rehearsal.ok("logs", "service", "--id", first["id"], "--version", "one")
    service = rehearsal.wait(is_pinned_at(25))
    assert Counter(ask(service).text for _ in range(40)) == {"one\n": 30, "two\n": 10}
    assert ask(service, **{"X-ANYSCALE-VERSION": "canary"}).text == "two\n"
    assert ask(service, **{"X-ANYSCALE-VERSION": "primary"}).text == "one\n"

    shares = [{"name": "two", "traffic_percent": 60}, {"name": "one", "traffic_percent": 40}]
    rehearsal.ok("service", "deploy", "-n", "repeat", "--versions", json.dumps(shares))
    rehearsal.wait(is_pinned_at(60))
    status = rehearsal.status()
    weights = {status[role]["name"]: status[role]["weight"] for role in ("primary_version", "canary_version")}
    assert (status["state"], weights) == ("ROLLING_OUT", {"one": 40, "two": 60})

    header = {"Authorization": f"Bearer {service['auth_token']}", "X-ANYSCALE-VERSION": "primary"}
    with HTTP.stream("GET", f"{service['base_url']}/?times=100", headers=header) as stream:
        lines = stream.iter_lines()
        assert next(lines) == "one"
        rehearsal.deploy("two", "--canary-percent", "100")
        service = rehearsal.wait(is_running("two"))
        assert Counter(ask(service).text for _ in range(20)) == {"two\n": 20}
        assert list(lines) == ["one"] * 99

    rehearsal.deploy("broken", "--canary-percent", "50", "--env", "BREAKS=1")
    rehearsal.wait(lambda service: service["current_state"] == "ROLLING_BACK")  # by itself, as it fails to start
    service = rehearsal.wait(is_running("two"))
    assert Counter(ask(service).text for _ in range(20)) == {"two\n": 20}

    rehearsal.ok("service", "terminate", "-n", "repeat")
    rehearsal.wait(lambda service: service["current_state"] == "TERMINATED")


def test_version_that_fails_to_start_says_why(rehearsal: Rehearsal):
    rehearsal.deploy("broken", "--env", "BREAKS=1")
    rehearsal.wait(lambda service: service["current_state"] == "UNHEALTHY")
    (version,) = rehearsal.status()["service_status_checklist"]["per_version"]
    messages = {item["kind"]: item["message"] for item in version["items"]}
    assert messages["APPLICATION"] == "repeat:app cannot be imported. ValueError: this one breaks"


def test_wrong_token_is_refused(rehearsal: Rehearsal):
    refused = HTTP.get(f"{rehearsal.url}/api/v2/userinfo/", headers={"Cookie": "cli_token=aph0_expired"})
    assert refused.status_code == 401
    assert "ANYSCALE_CLI_TOKEN" in refused.json()["error"]["detail"]


def test_reply_to_an_apply_is_lost_after_it_was_done(rehearsal: Rehearsal):
    before = len(rehearsal.service()["versions"])
    rehearsal.faults(lose_apply_reply=True)
    (rehearsal.folder / "service.yaml").write_text(SERVICE.replace("WORD", "lost"))
    lost = rehearsal.anyscale("service", "deploy", "-f", "service.yaml", "--version-name", "lost")
    assert lost.returncode == 2
    assert "closed connection without response" in lost.stderr
    service = rehearsal.service()
    assert (service["canary_version"]["version"], len(service["versions"])) == ("lost", before + 1)
