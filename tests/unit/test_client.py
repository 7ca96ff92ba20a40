"""How answers are read from what is sent: by a server of the test's own that sends what a broken service would."""

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import openai
import pytest

from ops.console.cli import CommandError
from ops.probing import client
from ops.project import routes

MESSAGES = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}


@pytest.fixture
def connection():
    """A client of a server, and what that server answers with: status, content type and text."""
    answer = {}

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(answer["status"])
            self.send_header("Content-Type", answer["type"])
            self.send_header("Content-Length", str(len(answer["text"].encode()) + answer.get("missing", 0)))
            self.end_headers()
            self.wfile.write(answer["text"].encode())

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield client.connect(f"http://127.0.0.1:{server.server_port}", None, 10), answer
    server.shutdown()
    server.server_close()


def events(*chunks: dict) -> dict:
    lines = [f"data: {json.dumps(chunk)}\n\n" for chunk in chunks]
    return {"status": 200, "type": "text/event-stream", "text": "".join([*lines, "data: [DONE]\n\n"])}


def delta(finish_reason: str | None = None, **fields) -> dict:
    return {"choices": [{"index": 0, "delta": fields, "finish_reason": finish_reason}]}


def streamed(connection) -> client.Answer:
    return client.ask(connection, routes.CHAT, MESSAGES | {"stream": True})


def test_stream_with_thoughts_and_a_tool_call_in_pieces(connection):
    call = {"index": 0, "function": {"name": "weather", "arguments": '{"city": '}}
    rest = {"index": 0, "function": {"arguments": '"Paris"}'}}
    connection, answer = connection
    answer |= events(
        delta(reasoning="Hm"), delta(reasoning="."), delta(tool_calls=[call]), delta("tool_calls", tool_calls=[rest])
    )
    read = streamed(connection)
    assert (read.reasoning, read.content, read.finish_reason) == ("Hm.", "", "tool_calls")
    assert read.tool_calls == [client.ToolCall("weather", '{"city": "Paris"}')]


def test_older_name_of_the_thoughts(connection):
    connection, answer = connection
    answer |= events(delta(reasoning_content="Hm."), delta("stop", content="Paris"))
    assert streamed(connection).reasoning == "Hm."


def test_stream_in_which_the_engine_dies_has_its_error_and_no_finish_reason(connection):
    connection, answer = connection
    answer |= events(delta(content="Par"), {"error": {"message": "EngineDeadError", "code": 500}})
    read = streamed(connection)
    assert (read.content, read.finish_reason, read.error) == ("Par", None, "EngineDeadError")


def test_stream_that_breaks_off_is_an_error(connection):
    connection, answer = connection
    answer |= events(delta(content="Par")) | {"text": f"data: {json.dumps(delta(content='Par'))}\n\n", "missing": 100}
    with pytest.raises(openai.APIConnectionError):
        streamed(connection)


@pytest.mark.parametrize("url", ["http://[", "http://host:port", "127.0.0.1:8000", "http://"])
def test_what_is_not_a_url_is_named(url):
    with pytest.raises(CommandError, match="is not a URL such as"):
        client.connect(url, None, 10)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"error": {"message": "no such model", "code": 404}}', "no such model"),
        ("<html>no healthy upstream</html>", "no healthy upstream"),
    ],
)
def test_error_answers(connection, text, said):
    connection, answer = connection
    answer |= {"status": 503, "type": "application/json" if text[0] == "{" else "text/html", "text": text}
    for stream in (True, False):
        read = client.ask(connection, routes.CHAT, MESSAGES | {"stream": stream})
        assert read.status == 503
        assert said in read.error
