"""Where requests go, and how a service comes back from zero replicas: real Serve, HAProxy and routers, no engine."""

import json
import subprocess
import sys
import time
import uuid
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psutil
import pytest

from ops.local import preflight
from ops.project.catalogue import ROOT
from serving.routing.choice import router_config

SESSIONS = [f"session {number}" for number in range(60)]
PREFIX = router_config("prefix", {"autoscaling_config": {"target_ongoing_requests": 16}})
TO_ZERO = dict(
    min_replicas=0,
    max_replicas=2,
    initial_replicas=0,
    target_ongoing_requests=2,
    downscale_delay_s=1,
    look_back_period_s=1,
    metrics_interval_s=0.5,
)


class Stub:
    """The program of stub_service.py, and requests to it."""

    def __init__(self, environment: dict[str, str], errors: Path) -> None:
        self.port, self.errors = preflight.free_port(), errors
        command = [sys.executable, "-m", "tests.e2e.stub_service", str(self.port)]
        pipes = dict(stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        with errors.open("w") as output:
            self.process = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=output, **pipes)

    def deploy(self, **options: object) -> int:
        """Returns how many replicas run then."""
        self.process.stdin.write(json.dumps(options) + "\n")
        self.process.stdin.flush()
        ready, _, replicas = self.process.stdout.readline().partition(" ")
        assert ready == "ready", self.errors.read_text()[-3000:]
        return int(replicas)

    def replicas(self) -> int:
        return self.deploy()

    def ask(self, prompt: str = "Hi", session: str = "", content: object = None, seconds: float = 0) -> httpx.Response:
        body = {"messages": [{"role": "user", "content": content or prompt}], "seconds": seconds}
        headers = {"x-session-id": session} if session else {}
        url = f"http://127.0.0.1:{self.port}/v1/chat/completions"
        return httpx.post(url, json=body, headers=headers, timeout=60, trust_env=False)

    def place(self, *args: object, **more: object) -> str:
        answer = self.ask(*args, **more)
        assert answer.status_code == 200, answer.text
        return answer.json()["replica"]

    def places(self) -> dict[str, str]:
        return {session: self.place(session=session) for session in SESSIONS}

    def settled_places(self) -> dict[str, str]:
        """The places that are the same twice: HAProxy learns of a replica after the router does."""
        seen = [self.places()]

        def same_twice() -> bool:
            seen.append(self.places())
            return seen[-1] == seen[-2]

        self.wait_for(same_twice)
        return seen[-1]

    def wait_for(self, what: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 90
        while not what():
            assert time.monotonic() < deadline
            time.sleep(0.2)

    def wait_for_replicas(self, number: int) -> None:
        """Wait until HAProxy knows that many, a moment after they run."""

        def answering() -> set[str]:
            answers = [self.ask(uuid.uuid4().hex) for _ in range(30)]  # none like another, or it would stay with it
            return {answer.text for answer in answers if answer.is_success}

        self.wait_for(lambda: len(answering()) == number)

    def wait_for_affinity(self) -> None:
        """Until HAProxy asks the router of this deploy: until it knows of it, it asks the one before, or none."""

        def stays() -> bool:
            prompt = uuid.uuid4().hex * 20  # once a burst has sent one to both replicas, it stays with both
            return len({self.place(prompt) for _ in range(12)}) == 1

        self.wait_for(stays)


@pytest.fixture(scope="module")
def stub(environment, tmp_path_factory) -> Iterator[Stub]:
    running = Stub(environment, tmp_path_factory.mktemp("stub") / "stderr")
    yield running
    running.process.stdin.close()
    running.process.wait(60)


def test_requests_go_to_the_replica_with_the_fewest(stub):
    stub.deploy(num_replicas=2)
    stub.wait_for_replicas(2)
    with ThreadPoolExecutor(1) as pool:
        busy = pool.submit(stub.place, seconds=10)
        free: set[str] = set()

        def all_go_to_one() -> bool:
            free.clear()
            free.update(stub.place() for _ in range(10))
            return len(free) == 1

        stub.wait_for(all_go_to_one)
        assert busy.result() not in free


def test_requests_after_a_death_are_answered_by_another_replica(stub):
    stub.deploy(num_replicas=2)
    stub.wait_for_replicas(2)
    dies = psutil.Process(stub.ask().json()["pid"])
    dies.kill()
    dies.wait()
    assert all(stub.ask().is_success for _ in range(50))
    stub.wait_for_replicas(2)


def test_sessions_stay_when_a_replica_comes_and_when_one_dies(stub):
    session = router_config("session", {})
    stub.deploy(num_replicas=2, request_router_config=session)
    stub.wait_for_replicas(2)
    two = stub.settled_places()
    assert len(set(two.values())) == 2
    assert len({stub.place() for _ in range(20)}) == 2, "requests without the header go anywhere"

    stub.deploy(num_replicas=3, request_router_config=session)
    stub.wait_for_replicas(3)
    three = stub.settled_places()
    moved = [name for name in SESSIONS if three[name] != two[name]]
    assert {three[name] for name in moved} == set(three.values()) - set(two.values()), "only the new one takes some"
    assert 0 < len(moved) < 40, "about a third"

    dies = stub.ask().json()
    psutil.Process(dies["pid"]).kill()
    stayed = [name for name in SESSIONS if three[name] != dies["replica"]]

    def answer_as_before() -> bool:
        try:
            answers = {name: stub.ask(session=name) for name in SESSIONS}
        except httpx.TransportError:  # HAProxy still knew the one that died
            return False
        if not all(answer.is_success for answer in answers.values()):
            return False
        return all(answers[name].json()["replica"] == three[name] for name in stayed)

    stub.wait_for(answer_as_before)


def test_prompts_that_begin_alike_stay_together_unless_the_load_is_uneven(stub):
    stub.deploy(num_replicas=2, request_router_config=PREFIX)
    stub.wait_for_replicas(2)
    stub.wait_for_affinity()
    places = defaultdict(set)
    for turn in range(3):
        for number in range(10):
            places[number].add(stub.place(f"conversation {number} " * 40 + "and " * turn))
    assert all(len(seen) == 1 for seen in places.values()), places
    assert len(set.union(*places.values())) == 2, "not all on one replica, as with Ray 2.59's own router"

    with ThreadPoolExecutor(40) as pool:
        burst = Counter(pool.map(lambda _: stub.place("all alike " * 40, seconds=3), range(40)))
    assert min(burst.values()) >= 10, burst


def test_prompts_without_text_are_answered(stub):
    image = [{"type": "image_url", "image_url": {"url": "data:image/png;base64,"}}]
    assert stub.ask(content=image).is_success
    assert stub.ask(content="").is_success


def test_routing_goes_on_when_the_actor_with_the_prompts_is_lost(stub):
    stub.deploy(lose="tree")
    assert all(stub.ask(f"after it {number} " * 40).is_success for number in range(4))
    stub.wait_for_affinity()


@pytest.mark.parametrize(
    "routing", [{}, {"request_router_config": router_config("session", {})}], ids=["left out", "session"]
)
def test_a_request_brings_a_service_back_from_zero_replicas(stub, checkout, routing):
    stub.deploy(autoscaling_config=TO_ZERO, **routing)
    assert stub.ask().is_success, "it waits at Serve's own proxy, which asks for a replica"
    stub.wait_for(lambda: stub.replicas() == 0)
    woken = checkout.run("warm", "small-size-llm", "--url", f"http://127.0.0.1:{stub.port}")
    assert woken.returncode == 0, woken.stderr
    assert "generated a token" in woken.stdout
