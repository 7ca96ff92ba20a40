"""A start that cannot work ends with the reason and exit status 2, and stops what it started and nothing else."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ops.local import preflight
from rehearsal.checkout import Checkout
from tests.commands import LIKE_A_TERMINAL


@pytest.fixture
def port() -> str:
    return str(preflight.free_port())


def test_unknown_service(checkout):
    run = checkout.run("dev", "smal-size-llm")
    assert run.returncode == 2
    assert "Did you mean small-size-llm?" in run.stderr


def test_unknown_model(checkout, port):
    run = checkout.run("dev", "small-size-llm", "--model", "no-such-model", "--port", port)
    assert run.returncode == 2
    assert "There is no model no-such-model" in run.stderr
    assert "phi-4-mini" in run.stderr


def test_gated_model_on_a_gpu_without_a_token(checkout, port, left):
    run = checkout.run("dev", "small-size-llm", "--profile", "gpu", "--port", port)
    assert run.returncode == 2
    assert "HF_TOKEN is not set" in run.stderr
    assert "Ray to start" not in run.stderr
    assert left() == []


@pytest.fixture
def other_ray_cluster():
    """The environment that leads to a Ray cluster which somebody else started on this machine."""
    ray = Path(sys.executable).with_name("ray")
    address = f"127.0.0.1:{preflight.free_port()}"
    environment = os.environ | {"RAY_ADDRESS": address, "RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"}
    port = address.rpartition(":")[2]
    folder = tempfile.mkdtemp(prefix="ray-")  # not Ray's own, where it would leave its address for later ray.init()s
    command = [ray, "start", "--head", f"--port={port}", f"--temp-dir={folder}", "--num-cpus=1"]
    command += ["--include-dashboard=false", "--block"]
    head = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while subprocess.run([ray, "health-check"], env=environment, capture_output=True, check=False).returncode:
        assert time.monotonic() < deadline, "the other cluster did not start"
    yield environment
    head.send_signal(signal.SIGTERM)
    head.wait(timeout=60)
    shutil.rmtree(folder, ignore_errors=True)


def test_gpu_that_is_not_there_and_a_cluster_of_somebody_else(checkout, port, other_ray_cluster):
    address = other_ray_cluster["RAY_ADDRESS"]
    words = ["small-size-llm", "--profile", "gpu", "--model", "phi-4-mini", "--port", port]
    run = checkout.run("dev", *words, RAY_ADDRESS=address)
    assert run.returncode == 2, run.stderr
    assert "A replica needs CPU 1, GPU 1" in run.stderr
    assert "--profile laptop" in run.stderr
    look = "import ray; ray.init(); print(ray.util.placement_group_table(), ray.cluster_resources()['CPU'])"
    asked = subprocess.run(
        [sys.executable, "-c", look], env=other_ray_cluster, capture_output=True, text=True, check=False
    )
    assert "{} 1.0" in asked.stdout, f"the other cluster was joined or stopped: {asked.stderr}"


START_RAY_WITH_A_SLOW_AGENT = """
import threading, time
import psutil
from ops.local import serve_app

def slow_down():
    while True:
        for process in psutil.Process().children(recursive=True):
            if any(word.endswith("dashboard/agent.py") for word in process.cmdline()):
                process.suspend()
                time.sleep(20)  # the raylet gives it 15
                process.resume()
                return
        time.sleep(0.02)

threading.Thread(target=slow_down, daemon=True).start()
print(serve_app.start_ray("laptop").is_dir())
serve_app.stop_ray()
"""


def test_ray_is_started_again_where_the_machine_was_too_slow(root, environment, left):
    words = [sys.executable, "-c", START_RAY_WITH_A_SLOW_AGENT]
    run = subprocess.run(words, cwd=root, env=environment, capture_output=True, text=True, check=False)
    assert run.stdout == "True\n", run.stderr
    assert left() == []


WAIT_IN_RAY_UNTIL_STOPPED = """
import os, signal, sys, threading, time
import ray
from ops.local.serve_app import start_ray, stop_ray

@ray.remote
def never():
    time.sleep(600)

start_ray("laptop")
threading.Timer(2, os.kill, (os.getpid(), signal.Signals[sys.argv[1]])).start()
try:
    ray.get(never.remote())
except KeyboardInterrupt:
    print("stopped")
stop_ray()
"""


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_signal_ends_what_waits_in_ray(name, root, environment, left):
    words = [sys.executable, "-c", WAIT_IN_RAY_UNTIL_STOPPED, name]
    run = subprocess.run(words, cwd=root, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert run.stdout == "stopped\n", run.stderr
    assert left() == []


@pytest.fixture
def with_a_broken_service(checkout: Checkout) -> Iterator[Checkout]:
    """The checkout with a service more, whose engine has no room for one request."""
    broken = checkout.repository / "services" / "broken_llm"
    shutil.copytree(checkout.repository / "services" / "small_size_llm", broken)
    replace(broken / "service.yaml", "small_size_llm", "broken_llm")
    replace(broken / "service.yaml", "small-size-llm", "broken-llm")
    replace(broken / "serve.py", "engine_kwargs=dict(", "engine_kwargs=dict(num_gpu_blocks_override=1, ")
    yield checkout
    shutil.rmtree(broken)


def replace(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def test_engine_that_fails_to_start(with_a_broken_service, port, left):
    run = with_a_broken_service.run("dev", "broken-llm", "--profile", "laptop", "--port", port)
    assert run.returncode == 2, run.stderr
    assert "Error: The application failed to start. ValueError: To serve at least one request" in run.stderr
    assert "Traceback" not in run.stderr
    assert left() == []


def test_interrupt_while_it_starts(checkout, port, left):
    words = ("small-size-llm", "--profile", "laptop", "--port", port)
    run = checkout.start("dev", *words, stderr=subprocess.PIPE, **LIKE_A_TERMINAL)
    for line in run.stderr:
        if "waiting for the replica" in line:
            break
    run.send_signal(signal.SIGINT)
    assert "Stopped." in run.stderr.read()
    assert run.wait(timeout=60) == 0
    assert left() == []
