"""scripts/warm against a server that is not ready at once."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from ops.console.cli import CommandError, Failed
from ops.console.progress import Progress
from ops.local import preflight
from ops.probing import first_token

TOKEN = {
    "object": "chat.completion",
    "choices": [{"index": 0, "message": {"content": "Hi"}, "finish_reason": "length"}],
}


@contextmanager
def answering(*statuses: int) -> Iterator[str]:
    """A server that answers with these statuses one after the other, the last for ever; its URL."""
    left = list(statuses)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            status = left.pop(0) if len(left) > 1 else left[0]
            body = json.dumps(TOKEN if status == 200 else {"error": {"message": f"status {status}"}}).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()


def wait(url: str, limit_s: float = 30) -> None:
    with Progress() as progress:
        first_token.wait_for_token(url, None, "a-model", limit_s, progress)


def test_it_asks_again_until_there_is_a_token(capsys, monkeypatch):
    monkeypatch.setattr(first_token, "PAUSE_S", 0.01)
    with answering(503, 500, 200) as url:
        wait(url)
    assert "waiting for a replica; asked again, as the answer was 503" in capsys.readouterr().err


def test_when_it_takes_too_long_it_says_what_the_last_answer_was():
    with answering(503) as url, pytest.raises(Failed, match=r"No token of a-model after 2 s\. The last answer was 503"):
        wait(url, limit_s=2)


def test_answers_that_asking_again_cannot_help_end_it():
    with answering(404) as url, pytest.raises(CommandError, match="does not generate a token of a-model"):
        wait(url)
    with answering(401) as url, pytest.raises(CommandError, match="--api-key"):
        wait(url)


def test_nothing_there_to_ask():
    with pytest.raises(CommandError, match="Is the service deployed"):
        wait(f"http://127.0.0.1:{preflight.free_port()}")
