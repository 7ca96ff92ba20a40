"""The middleware before a small ASGI app, asked by a real client: who is let in, what is refused, what is counted."""

import asyncio
import json
import logging
import re
import time
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, StreamingResponse
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware

from serving.auth import middleware
from serving.auth.key_file import ApiKey, digest
from serving.auth.limiter import Limiter
from serving.auth.limits import Limits
from serving.auth.middleware import ApiKeyMiddleware
from tests.keys import entry, write

ALICE, BOB, CAROL = (f"sk-{letter * 43}" for letter in "abc")
TEXT = 'an escaped "usage":{"total_tokens":1000000} and "choices":[] in what the model writes'


class InProcess:
    """Stands for the actor: the same Limits, called in the same way, without Ray. Ray is in tests/e2e/test_auth.py."""

    def __init__(self) -> None:
        self.limits = Limits()

    def __getattr__(self, name: str):
        method = getattr(self.limits, name)

        class Remote:
            @staticmethod
            async def remote(*args):
                return method(*args)

        return Remote


def chunk(choices: list, tokens: int) -> bytes:
    usage = {"prompt_tokens": 10, "completion_tokens": tokens - 10, "total_tokens": tokens}
    return b"data: " + json.dumps({"choices": choices, "usage": usage}, separators=(",", ":")).encode() + b"\n\n"


PIECES = [chunk([{"delta": {"content": TEXT}}], 11), chunk([{"delta": {"content": "!"}}], 12), chunk([], 12)]
MESSAGES = [  # as vLLM answers on /v1/messages
    b'event: message_start\ndata: {"type":"message_start","message":{"usage":{"input_tokens":7}}}\n\n',
    b'event: content_block_delta\ndata: {"type":"content_block_delta","delta":{"text":"hi"}}\n\n',
    b'event: message_delta\ndata: {"type":"message_delta","usage":{"input_tokens":7,"output_tokens":2,'
    b'"cache_read_input_tokens":16}}\n\nevent: message_stop\ndata: {"type":"message_stop"}\n\n',
]


def inner_app() -> FastAPI:
    app = FastAPI()

    @app.api_route("/health", methods=["GET", "POST"])
    def health():
        return {}

    @app.get("/v1/models")
    def models():
        return {"data": [], "usage": {"total_tokens": 99}}

    @app.post("/v1/chat/completions")
    async def chat(request: Request):
        if not (await request.json()).get("stream"):
            return JSONResponse({"choices": [{"message": {"content": TEXT}}], "usage": {"total_tokens": 40}})

        async def pieces():
            for piece in [*PIECES, b"data: [DONE]\n\n"]:
                yield piece

        return StreamingResponse(pieces(), media_type="text/event-stream")

    @app.get("/headers")
    def headers(request: Request):
        return sorted(request.headers)

    @app.post("/v1/messages")
    async def messages():
        async def pieces():
            for piece in MESSAGES:
                yield piece

        return StreamingResponse(pieces(), media_type="text/event-stream")

    return app


@pytest.fixture
def keys(tmp_path) -> Path:
    file = tmp_path / "keys.yaml"
    write(
        file,
        entry("alice", ALICE, tokens_per_day=100),
        entry("bob", BOB, requests_per_minute=2),
        entry("carol", CAROL),
    )
    return file


@pytest.fixture
def actor() -> InProcess:
    return InProcess()


@pytest.fixture
def app(keys, actor) -> FastAPI:
    app = inner_app()
    app.user_middleware.append(Middleware(CORSMiddleware, allow_origins=["*"], allow_methods=["*"]))
    app.user_middleware.append(Middleware(ApiKeyMiddleware, source=str(keys), limiter=Limiter(lambda: actor)))
    return app


def ask(app, method: str = "GET", path: str = "/v1/models", headers=None, **more) -> httpx.Response:
    async def asked() -> httpx.Response:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
            response = await client.request(method, path, headers=headers, **more)
            await asyncio.sleep(0)  # what is reported of the answer is reported after it
            await asyncio.sleep(0.02)
            return response

    return asyncio.run(asked())


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def chat(app, key: str, **more) -> httpx.Response:
    return ask(app, "POST", "/v1/chat/completions", bearer(key), json={"messages": [], **more})


@pytest.mark.parametrize("headers", [bearer(CAROL), {"x-api-key": CAROL}, {"authorization": f"bearer   {CAROL}"}])
def test_a_key_lets_in_by_either_header(app, headers):
    assert ask(app, headers=headers).status_code == 200


def test_x_api_key_counts_where_the_bearer_token_is_anothers(app):
    assert ask(app, headers={**bearer("a token of Anyscale"), "x-api-key": CAROL}).status_code == 200
    assert ask(app, headers={**bearer(CAROL), "x-api-key": "another"}).status_code == 401


def test_what_is_behind_does_not_see_the_key(app):
    seen = ask(app, path="/headers", headers={**bearer("a token of Anyscale"), "x-api-key": CAROL}).json()
    assert "user-agent" in seen
    assert not {"authorization", "x-api-key"} & set(seen)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        bearer("sk-wrong"),
        bearer(CAROL + "x"),
        bearer(CAROL[:-1]),
        bearer(""),
        {"Authorization": ""},
        {"Authorization": "Bearer"},
        {"Authorization": CAROL},
        {"Authorization": f"Basic {CAROL}"},
        {"x-api-key": ""},
        [("Authorization", f"Bearer {CAROL}"), ("Authorization", "Bearer sk-wrong")],
        [("Authorization", f"Bearer {CAROL}"), ("Authorization", f"Bearer {CAROL}")],
        [("x-api-key", CAROL), ("x-api-key", CAROL)],
        [(b"Authorization", "Bearer schlüssel".encode())],
        [(b"x-api-key", b"\xff\xfe\x00")],
        bearer("x" * 100_000),
        bearer(digest(CAROL.encode()).hex()),
    ],
    ids=lambda headers: repr(headers)[:50],
)
def test_no_valid_key_is_401_in_openais_shape(app, headers):
    answer = ask(app, headers=headers)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    error = answer.json()["error"]
    assert error.keys() == {"message", "type", "param", "code"}
    assert (error["type"], error["code"]) == ("invalid_request_error", "invalid_api_key")


@pytest.mark.parametrize("path", ["/v1/models", "/docs", "/openapi.json", "/nothing", "/health/", "//health", "/"])
def test_every_path_but_health_needs_a_key(app, path):
    assert ask(app, path=path).status_code == 401


def test_health_is_open_to_those_who_only_read(app):
    assert ask(app, path="/health").status_code == 200
    assert ask(app, "POST", "/health").status_code == 401


def test_health_of_an_application_below_a_prefix(app):
    async def status(path: str) -> int:
        transport = httpx.ASGITransport(app, root_path="/chat")
        async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
            return (await client.get(path)).status_code

    assert asyncio.run(status("/chat/health")) == 200
    assert asyncio.run(status("/chat/v1/models")) == 401


def test_a_browsers_preflight_is_answered_and_its_refusals_can_be_read(app):
    preflight = {"Origin": "http://page", "Access-Control-Request-Method": "POST"}
    assert ask(app, "OPTIONS", "/v1/chat/completions", preflight).status_code == 200
    refused = ask(app, headers={"Origin": "http://page"})
    assert (refused.status_code, refused.headers["access-control-allow-origin"]) == (401, "*")
    assert ask(app, "OPTIONS").status_code == 401


def test_websocket_without_a_key_is_closed_before_it_is_accepted(app):
    sent = []

    async def receive():
        return {"type": "websocket.connect"}

    async def send(message):
        sent.append(message)

    asyncio.run(app({"type": "websocket", "path": "/v1/realtime", "headers": []}, receive, send))
    assert [(message["type"], message["code"]) for message in sent] == [("websocket.close", 1008)]


def test_requests_per_minute(app):
    assert [ask(app, headers=bearer(BOB)).status_code for _ in range(4)] == [200, 200, 429, 429]
    refused = ask(app, headers=bearer(BOB))
    assert 50 <= int(refused.headers["retry-after"]) <= 60
    error = refused.json()["error"]
    assert (error["type"], error["code"], error["param"]) == ("requests", "rate_limit_exceeded", None)
    assert "bob" in error["message"]
    assert ask(app, headers=bearer(CAROL)).status_code == 200, "a key's limit is its own"


def test_tokens_of_an_answer_count_until_the_day_ends(app, actor):
    assert [chat(app, ALICE).status_code for _ in range(4)] == [200, 200, 200, 429]
    assert actor.limits.tokens == {"alice": 120}
    refused = ask(app, headers=bearer(ALICE))
    assert refused.json()["error"]["type"] == "tokens"
    assert abs(int(refused.headers["retry-after"]) - (86_400 - time.time() % 86_400)) < 5


def test_tokens_of_a_stream_are_those_of_its_last_usage(app, actor):
    answer = chat(app, ALICE, stream=True)
    assert actor.limits.tokens == {"alice": 12}
    assert b'"choices":[]' not in answer.content.replace(json.dumps(TEXT).encode(), b""), "nobody asked for it"
    assert answer.content == b"".join(PIECES[:2]) + b"data: [DONE]\n\n"


def test_who_asks_for_usage_gets_it(app):
    answer = chat(app, ALICE, stream=True, stream_options={"include_usage": True})
    assert answer.content == b"".join(PIECES) + b"data: [DONE]\n\n"


def test_asking_within_the_prompt_is_not_asking(app):
    answer = chat(app, ALICE, stream=True, prompt='"include_usage": true')
    assert PIECES[2] not in answer.content


def test_a_question_for_usage_in_two_pieces_is_seen():
    request = middleware.usage.Request()
    for piece in (b'{"stream_options": {"include_us', b'age" :', b" true}}"):
        request.add(piece)
    assert request.asks_for_usage


def test_tokens_in_anthropics_shape(app, actor):
    ask(app, "POST", "/v1/messages", {"x-api-key": ALICE}, json={})
    assert actor.limits.tokens == {"alice": 25}


def test_reading_costs_no_tokens(app, actor):
    ask(app, headers=bearer(ALICE))
    assert actor.limits.tokens == {}


def test_a_stream_that_the_client_breaks_off_is_counted(keys, actor):
    async def endless(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
        for piece in PIECES[:2]:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        raise asyncio.CancelledError

    async def run():
        limiter = Limiter(lambda: actor)
        scope = {"type": "http", "method": "POST", "path": "/", "headers": [(b"x-api-key", ALICE.encode())]}
        with pytest.raises(asyncio.CancelledError):
            await ApiKeyMiddleware(endless, str(keys), limiter)(scope, None, lambda message: asyncio.sleep(0))
        await asyncio.sleep(0.02)

    asyncio.run(run())
    assert actor.limits.tokens == {"alice": 12}


def test_each_piece_is_sent_on_as_it_comes(keys, actor):
    """The app sends a piece only after the one before has arrived: with a buffer between it would wait forever."""
    arrived: list[bytes] = []

    async def alternating(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
        for number, piece in enumerate(PIECES[:2], 1):
            await send({"type": "http.response.body", "body": piece, "more_body": True})
            assert len(arrived) == number

    async def send(message):
        if body := message.get("body"):
            arrived.append(body)

    scope = {"type": "http", "method": "POST", "path": "/", "headers": [(b"x-api-key", CAROL.encode())]}
    asyncio.run(ApiKeyMiddleware(alternating, str(keys), Limiter(lambda: actor))(scope, None, send))
    assert arrived == PIECES[:2]


def test_log_has_the_name_and_never_the_key(app, caplog):
    with caplog.at_level(logging.INFO, "ray.serve"):
        chat(app, ALICE)
        ask(app, headers=bearer(BOB))
        ask(app, headers=bearer("sk-wrong"))
    assert re.search(r"API key alice: POST /v1/chat/completions 200, 40 tokens, \d\.\d+ s", caplog.text)
    assert "API key bob: GET /v1/models 200" in caplog.text
    assert not any(key in caplog.text for key in (ALICE, BOB, "sk-wrong"))


def test_a_path_does_not_forge_a_line_of_the_log(app, caplog):
    with caplog.at_level(logging.INFO, "ray.serve"):
        ask(app, path="/x%0aAPI key alice: GET /", headers=bearer(CAROL))
    assert "API key carol: GET /x\\nAPI key alice: GET / 404" in caplog.text


@pytest.fixture
def read_at_once(monkeypatch):
    monkeypatch.setattr(middleware, "REREAD_S", 0)


def test_key_file_is_read_again_when_it_changes(app, keys, read_at_once):
    assert ask(app, headers=bearer(BOB)).status_code == 200
    write(keys, entry("alice", ALICE))
    assert ask(app, headers=bearer(BOB)).status_code == 401
    write(keys)
    assert ask(app, headers=bearer(ALICE)).status_code == 401, "the last one can be revoked too"


@pytest.mark.parametrize("content", [None, "keys: [", "keys:", ""])
def test_keys_stay_when_their_file_is_gone_or_wrong(app, keys, read_at_once, content, caplog):
    assert ask(app, headers=bearer(CAROL)).status_code == 200
    if content is None:
        keys.unlink()
    else:
        keys.write_text(content)
    assert ask(app, headers=bearer(CAROL)).status_code == 200
    assert ask(app, headers=bearer("sk-wrong")).status_code == 401
    assert "The keys stay as they were." in caplog.text


def test_limits_are_kept_by_each_process_while_the_actor_is_away(keys, caplog):
    def nobody():
        raise ValueError("no such actor")

    app = inner_app()
    app.user_middleware.append(Middleware(ApiKeyMiddleware, source=str(keys), limiter=Limiter(nobody)))
    assert [ask(app, headers=bearer(BOB)).status_code for _ in range(3)] == [200, 200, 429]
    assert "each process counts by itself" in caplog.text


def test_tokens_spent_while_the_actor_is_away_are_reported_when_it_is_back(actor, monkeypatch):
    monkeypatch.setattr("serving.auth.limiter.PAUSE_S", 0)
    there = []

    def find():
        if not there:
            raise ValueError("no such actor")
        return actor

    async def run():
        limiter, key = Limiter(find), ApiKey(name="alice", sha256="0" * 64, tokens_per_day=100)
        await limiter.spend(key, 60)
        there.append(True)
        await limiter.spend(key, 50)
        return await limiter.take(key)

    assert asyncio.run(run())[0] == "tokens"
    assert actor.limits.tokens == {"alice": 110}
