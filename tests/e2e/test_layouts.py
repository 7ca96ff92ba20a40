"""large-size-llm with prefill and decode on replicas of their own: two engines, and NIXL between them."""

import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ops.project.catalogue import Service
from tests import project
from tests.running import Served, check_probe_passes, serving

SERVICE = Service(project.SERVICES / "large_size_llm")


@pytest.fixture(scope="module")
def disaggregated(checkout) -> Iterator[Served]:
    with serving(checkout.run, SERVICE, "--set", "layout=prefill-decode") as running:
        yield running


def test_probe_passes(disaggregated, checkout):
    check_probe_passes(disaggregated, checkout.run)


def test_decode_fetched_the_kv_caches_of_the_prompts(disaggregated):
    logs = disaggregated.logs
    deadline = time.monotonic() + 30  # vLLM sums up what it did every 10 s
    while not (counts := re.findall(r"Num successful transfers=(\d+)", "".join(map(read, logs.glob("worker*.out"))))):
        assert time.monotonic() < deadline, "vLLM says of no KV cache that it was transferred"
        time.sleep(1)
    assert sum(map(int, counts)) > 0


def read(log: Path) -> str:
    return log.read_text(errors="replace")
