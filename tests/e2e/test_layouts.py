"""large-size-llm with prefill and decode on replicas of their own: two engines, and NIXL between them."""

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ops import preflight
from ops.catalogue import find
from tests.e2e.conftest import Served


@pytest.fixture(scope="module")
def disaggregated(scripts) -> Iterator[Served]:
    port = str(preflight.free_port())
    options = ("--profile", "laptop", "--set", "layout=prefill-decode", "--port", port, "--detach")
    started = scripts("dev", "large-size-llm", *options)
    assert started.returncode == 0, started.stdout + started.stderr
    yield Served(find("large-size-llm"), f"http://127.0.0.1:{port}", started.stdout)
    scripts("dev", "--stop")


def test_probe_passes(disaggregated, scripts):
    probe = scripts("probe", "large-size-llm", "--url", disaggregated.url, "--json")
    assert probe.returncode == 0, probe.stdout + probe.stderr
    assert all(not result["failures"] for result in json.loads(probe.stdout)["results"])


def test_decode_fetched_the_kv_caches_of_the_prompts(disaggregated):
    logs = Path(disaggregated.printed_lines("Its logs:", "\n").split()[-1])
    deadline = time.monotonic() + 30  # vLLM sums up what it did every 10 s
    while not (counts := re.findall(r"Num successful transfers=(\d+)", "".join(map(read, logs.glob("worker*.out"))))):
        assert time.monotonic() < deadline, "vLLM says of no KV cache that it was transferred"
        time.sleep(1)
    assert sum(map(int, counts)) > 0


def read(log: Path) -> str:
    return log.read_text(errors="replace")
