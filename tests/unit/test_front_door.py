"""The front door of the rehearsal: a real HAProxy before two small HTTP servers."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest

from ops.local import preflight
from rehearsal.control_plane.front_door import FrontDoor, Traffic

TOKEN = "a-token"


class Version:
    """A server that answers with its name; /stream says it twice, the second time when `go_on` is set."""

    def __init__(self, name: str) -> None:
        self.go_on = threading.Event()
        version = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                self.say(name)
                if self.path == "/stream":
                    version.go_on.wait(timeout=60)
                    self.say(name)
                self.wfile.write(b"0\r\n\r\n")

            def say(self, word: str) -> None:
                self.wfile.write(f"{len(word) + 1:x}\r\n{word}\n\r\n".encode())

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, args=[0.01], daemon=True).start()


@pytest.fixture
def versions() -> Iterator[dict[str, Version]]:
    started = {name: Version(name) for name in ("one", "two")}
    yield started
    for version in started.values():
        version.go_on.set()
        version.server.shutdown()


@pytest.fixture
def door(versions: dict[str, Version]) -> Iterator[FrontDoor]:
    """Version one is the primary, two the canary at 0."""
    front_door = FrontDoor(preflight.free_port(), TOKEN)
    for name, version in versions.items():
        front_door.add(name, version.port)
    front_door.route("one", "two", 0)
    yield front_door
    front_door.close()


@pytest.fixture
def ask(door: FrontDoor) -> Iterator[Callable[..., httpx.Response]]:
    """Send a request over a connection that is kept, as an SDK does."""
    with httpx.Client(base_url=door.url, headers={"Authorization": f"Bearer {TOKEN}"}, trust_env=False) as client:

        def get(version: str | None = None) -> httpx.Response:
            return client.get("/", headers={"X-ANYSCALE-VERSION": version} if version else {})

        yield get


def answers(ask: Callable[..., httpx.Response], count: int = 100) -> Counter:
    return Counter(ask().text.strip() for _ in range(count))


@pytest.mark.parametrize("percent", [0, 1, 25, 60, 100])
def test_weights_split_the_requests(door, ask, percent):
    door.route("one", "two", percent)
    assert answers(ask) == +Counter(one=100 - percent, two=percent)


def test_header_picks_the_version_whatever_its_weight(door, ask):
    assert {ask("canary").text for _ in range(10)} == {"two\n"}
    door.route("one", "two", 100)
    assert {ask("primary").text for _ in range(10)} == {"one\n"}


def test_without_a_canary_the_header_finds_none(door, ask):
    door.route("one", None, 0)
    answer = ask("canary")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "no_canary")


def test_without_a_version_it_is_unavailable(door, ask):
    door.route(None, None, 0)
    for answer in (ask(), ask("primary")):
        assert answer.status_code == 503
        assert answer.json()["error"]["message"] == "No version of this service is running."


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer another"}])
def test_wrong_token_is_refused(door, headers):
    answer = httpx.get(door.url, headers=headers, trust_env=False)
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "invalid_api_key")


def test_service_without_a_token_is_open(versions):
    door = FrontDoor(preflight.free_port(), None)
    door.add("one", versions["one"].port)
    door.route("one", None, 0)
    assert httpx.get(door.url, trust_env=False).text == "one\n"
    door.close()


@pytest.mark.parametrize(
    ("version", "routes"),
    [
        ("primary", [("one", "two", 25), ("one", "two", 60), ("two", None, 0)]),  # promoted
        ("canary", [("one", "two", 25), ("one", "two", 60), ("one", None, 0)]),  # rolled back
    ],
)
def test_open_stream_is_not_cut(door, ask, versions, version, routes):
    name = {"primary": "one", "canary": "two"}[version]
    headers = {"Authorization": f"Bearer {TOKEN}", "X-ANYSCALE-VERSION": version}
    with httpx.stream("GET", f"{door.url}/stream", headers=headers, trust_env=False) as stream:
        lines = stream.iter_lines()
        assert next(lines) == name
        for route in routes:
            door.route(*route)
            answers(ask, 10)
        assert name not in answers(ask)
        assert door.traffic()[name].open_sessions == 1
        versions[name].go_on.set()
        assert list(lines) == [name]
    wait_until_no_session_is_open(door)


def wait_until_no_session_is_open(door: FrontDoor) -> None:
    """HAProxy closes a session a moment after the client has its last byte."""
    deadline = time.monotonic() + 5
    while any(each.open_sessions for each in door.traffic().values()):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_traffic_is_counted_by_version(door, ask):
    answers(ask, 3)
    ask("canary")
    wait_until_no_session_is_open(door)
    assert door.traffic() == {"one": Traffic(0, 3), "two": Traffic(0, 1)}


def test_retired_version_is_still_counted(door, ask):
    answers(ask, 3)
    door.route("two", None, 0)
    door.retire("one")
    assert door.traffic()["one"].requests_served == 3
    assert answers(ask) == {"two": 100}
