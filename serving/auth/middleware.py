"""Lets in requests that carry a key, within its limits, and counts what they take. Pure ASGI: nothing waits for it."""

import asyncio
import hmac
import json
import logging
import time
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

from ray.util import metrics

from serving.auth import key_file, usage
from serving.auth.key_file import ApiKey
from serving.auth.limiter import Limiter
from serving.auth.limits import REQUESTS

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

OPEN = {("GET", "/health"), ("HEAD", "/health")}
"""What load balancers ask. It says whether the engine lives, nothing else."""
REREAD_S = 5
"""How often a key file is looked at; a guess, and the time that a revoked key still works."""
X_API_KEY, AUTHORIZATION = CREDENTIALS = b"x-api-key", b"authorization"
LONGEST_KEY = 512
"""Bytes; guess. Ours have 46."""
POLICY_VIOLATION = 1008
"""Why a websocket is closed; before it is accepted, the client gets status 403."""
MISSING = (
    "A key is missing, or is not one of this service. Send it once, as `Authorization: Bearer KEY` or as "
    "`x-api-key: KEY`."
)
WORDS = {"requests": "requests per minute", "tokens": "tokens per day"}

NOBODY = "(none)"
"""The name that metrics have where there is no key."""

logger = logging.getLogger("ray.serve")


class Keys:
    """The keys of a source. A key file is read again when it changes, an environment variable is not."""

    def __init__(self, source: str) -> None:
        """Raises ValueError: as `key_file.load` does."""
        self._source = source
        self._path = key_file.path_of(source)
        self._seen = stamp(self._path)
        self._keys = by_digest(key_file.load(source))
        self._look_at = time.monotonic() + REREAD_S
        self._looking = asyncio.Lock()

    async def find(self, key: bytes) -> ApiKey | None:
        """The one that a client sent. Compares with all, each in constant time."""
        if self._path and time.monotonic() >= self._look_at:
            async with self._looking:
                if time.monotonic() >= self._look_at:
                    await asyncio.to_thread(self.read_again)
                    self._look_at = time.monotonic() + REREAD_S
        given, found = key_file.digest(key), None
        for known, api_key in self._keys:
            if hmac.compare_digest(known, given):
                found = api_key
        return found

    def read_again(self) -> None:
        """Read the key file where it has changed. One that is gone or wrong changes nothing, and the log says so each
        time."""
        if (now := stamp(self._path)) == self._seen:
            return
        try:
            self._keys = by_digest(key_file.load(self._source, may_be_empty=True))
        except ValueError as error:
            logger.error(f"The keys stay as they were. {error}")
            return
        self._seen = now
        names = ", ".join(key.name for _, key in self._keys)
        logger.info(f"{self._source} has changed. Its keys now: {names or 'none, so nobody is let in'}.")


def by_digest(keys: list[ApiKey]) -> list[tuple[bytes, ApiKey]]:
    return [(key.digest, key) for key in keys]


def stamp(path: Path | None) -> tuple[int, ...] | None:
    """Tells one content of a file from another; None where it is not there."""
    try:
        status = path.stat() if path else None
    except OSError:
        return None
    return (status.st_mtime_ns, status.st_size, status.st_ino) if status else None


class ApiKeyMiddleware:
    def __init__(self, app: App, source: str, limiter: Limiter) -> None:
        """`source` is as in `key_file.load`, whose ValueError is raised here too."""
        self.app = app
        self.keys = Keys(source)
        self.limiter = limiter
        self.requests = metrics.Counter(
            "serve_api_key_requests", "Requests by the name of their key, and status.", tag_keys=("key", "status")
        )
        self.tokens = metrics.Counter(
            "serve_api_key_tokens", "Tokens of prompts and answers, by the name of the key.", tag_keys=("key",)
        )
        self.reports: set[asyncio.Task] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket") or (scope.get("method"), path_in_app(scope)) in OPEN:
            await self.app(scope, receive, send)
            return
        sent = sent_key(scope["headers"])
        key = await self.keys.find(sent) if sent else None
        if key is None:
            self.requests.inc(tags={"key": NOBODY, "status": "401"})
            await refuse(scope, send, 401, MISSING, "invalid_request_error", "invalid_api_key")
        elif used_up := await self.limiter.take(key):
            self.requests.inc(tags={"key": key.name, "status": "429"})
            what, seconds = used_up
            limit = key.requests_per_minute if what == REQUESTS else key.tokens_per_day
            message = f"The key {key.name} has used its {limit} {WORDS[what]}. Try again in {seconds} s."
            logger.info(f"{line_of(key, scope)} 429, limit of {what}")
            await refuse(scope, send, 429, message, what, "rate_limit_exceeded", retry_after_s=seconds)
        else:
            # What is behind passes headers on, between processes too; none of it needs the key.
            scope["headers"] = [header for header in scope["headers"] if header[0].lower() not in CREDENTIALS]
            await self.let_in(key, scope, receive, send)

    async def let_in(self, key: ApiKey, scope: Scope, receive: Receive, send: Send) -> None:
        """Call the app and count what passes. No piece waits for more than a search in it."""
        if scope["type"] == "websocket":
            self.requests.inc(tags={"key": key.name, "status": "101"})
            logger.info(line_of(key, scope))
            await self.app(scope, receive, send)
            return
        request, answer, status, started = usage.Request(), None, 500, time.monotonic()

        async def receiving() -> Message:
            message = await receive()
            if body := message.get("body"):
                request.add(body)
            return message

        async def sending(message: Message) -> None:
            nonlocal answer, status
            if message["type"] == "http.response.start":
                status = message["status"]
                content_type = next(
                    (value for name, value in message["headers"] if name.lower() == b"content-type"), b""
                )
                answer = usage.AnswerUsage(content_type)
            elif answer and (body := message.get("body")):
                answer.add(body)
                if answer.is_stream and not request.asks_for_usage:
                    message = {**message, "body": usage.without_last_usage(body)}
            await send(message)

        is_post = scope["method"] == "POST"  # GET /v1/responses/ID shows an answer that was counted before
        try:
            await self.app(scope, receiving if is_post else receive, sending)
        finally:  # also where the client has gone
            tokens = answer.tokens() if answer and is_post else 0
            self.requests.inc(tags={"key": key.name, "status": str(status)})
            if tokens:
                self.tokens.inc(tokens, tags={"key": key.name})
                report = asyncio.create_task(self.limiter.spend(key, tokens))
                self.reports.add(report)  # else nothing holds it, and it may vanish before it is done
                report.add_done_callback(self.reports.discard)
            seconds = time.monotonic() - started
            logger.info(f"{line_of(key, scope)} {status}, {tokens} tokens, {seconds:.3f} s")


def line_of(key: ApiKey, scope: Scope) -> str:
    """The beginning of a line of the log: who asked for what. No path of a client's begins a line of its own."""
    path = scope["path"].encode("unicode_escape").decode()
    return f"API key {key.name}: {scope.get('method', 'websocket')} {path}"


def path_in_app(scope: Scope) -> str:
    """The path of a request without the prefix that the application is mounted at."""
    return scope["path"].removeprefix(scope.get("root_path", "").rstrip("/"))


def sent_key(headers: list[tuple[bytes, bytes]]) -> bytes | None:
    """The key that a request carries; None where it has none, several of one kind, or one that cannot be a key.

    x-api-key counts where both are sent: Anyscale's own token is in Authorization then.
    """
    given = [value for name, value in headers if name.lower() == X_API_KEY]
    if not given:
        given = [value for name, value in headers if name.lower() == AUTHORIZATION]
        scheme, _, rest = (given[0] if given else b"").partition(b" ")
        given = [rest] if len(given) == 1 and scheme.lower() == b"bearer" else []
    key = given[0].strip() if len(given) == 1 else b""
    return key if 0 < len(key) <= LONGEST_KEY else None


async def refuse(
    scope: Scope, send: Send, status: int, message: str, kind: str, code: str, retry_after_s: int | None = None
) -> None:
    """Answer with an error in the shape of OpenAI's API."""
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": POLICY_VIOLATION, "reason": message[:120]})
        return
    error = {"message": message, "type": kind, "param": None, "code": code}
    body = json.dumps({"error": error}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    headers.append((b"www-authenticate", b"Bearer") if status == 401 else (b"retry-after", str(retry_after_s).encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
