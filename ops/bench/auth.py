"""What API keys cost a request: the middleware before an app that does nothing, with and without limits.

Run it: .venv/bin/python -m ops.bench.auth
"""

import asyncio
import json
import logging
import statistics
import tempfile
import time
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

import ray
from ray.actor import ActorHandle

from ops.project.key_files import new_key
from serving.auth.key_file import digest
from serving.auth.limiter import Limiter
from serving.auth.limits import SharedLimits
from serving.auth.middleware import ApiKeyMiddleware, App

REQUESTS = 2000
AT_ONCE = 64
PIECES = 200
WITHOUT_END = 10**9
USAGE = {"prompt_tokens": 20, "completion_tokens": 200, "total_tokens": 220}
CHUNK = {"id": "chatcmpl-0123456789abcdef", "object": "chat.completion.chunk", "created": 1790000000, "model": "m"}


def event(choices: list) -> bytes:
    return (
        b"data: " + json.dumps({**CHUNK, "choices": choices, "usage": USAGE}, separators=(",", ":")).encode() + b"\n\n"
    )


PIECE, LAST = event([{"index": 0, "delta": {"content": " word"}, "finish_reason": None}]), event([])
WHOLE = json.dumps({**CHUNK, "choices": [{"message": {"content": " word" * 200}}], "usage": USAGE}).encode()


async def app(scope, receive, send) -> None:
    """An answer of 200 tokens, streamed or whole."""
    await receive()
    stream = scope["path"] == "/stream"
    kind = b"text/event-stream" if stream else b"application/json"
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", kind)]})
    for piece in [*[PIECE] * PIECES, LAST] if stream else [WHOLE]:
        await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def receive() -> dict:
    return {"type": "http.request", "body": b'{"messages": []}', "more_body": False}


async def send(message: MutableMapping[str, Any]) -> None:
    pass


async def ask(asked: App, path: str, key: str) -> float:
    """How long it takes, in seconds."""
    headers = [(b"host", b"service"), (b"authorization", f"Bearer {key}".encode())]
    started = time.perf_counter()
    await asked({"type": "http", "method": "POST", "path": path, "headers": headers}, receive, send)
    return time.perf_counter() - started


async def median_us(asked: App, path: str, key: str) -> float:
    """The median time of requests sent one after the other, in microseconds."""
    for _ in range(100):
        await ask(asked, path, key)
    return 1e6 * statistics.median([await ask(asked, path, key) for _ in range(REQUESTS)])


async def per_second(asked: App, path: str, key: str) -> float:
    """Requests that one process gets done, AT_ONCE at a time."""
    started = time.perf_counter()

    async def worker() -> None:
        for _ in range(REQUESTS // AT_ONCE):
            await ask(asked, path, key)

    await asyncio.gather(*[worker() for _ in range(AT_ONCE)])
    return REQUESTS // AT_ONCE * AT_ONCE / (time.perf_counter() - started)


def key_file(folder: str, number: int, name: str) -> tuple[str, dict[str, str]]:
    """A file of `number` keys, of which one has limits; its path, and the keys to ask with."""
    keys = {"free": new_key(), "limited": new_key()} | {f"other-{one}": new_key() for one in range(number - 2)}
    limits = {"requests_per_minute": WITHOUT_END, "tokens_per_day": WITHOUT_END}
    entries = [
        {"name": name, "sha256": digest(key.encode()).hex()} | (limits if name == "limited" else {})
        for name, key in keys.items()
    ]
    file = Path(folder) / name
    file.write_text(json.dumps({"keys": entries}))
    return str(file), keys


async def measure(limits: ActorHandle) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for path in ("/whole", "/stream"):
            bare = await median_us(app, path, "")
            print(f"{path}: without keys {bare:.0f} us")
            for number in (10, 1000):
                file, keys = key_file(folder, number, f"{number}.yaml")
                keyed = ApiKeyMiddleware(app, file, Limiter(lambda: limits))
                for name in ("free", "limited"):
                    more = await median_us(keyed, path, keys[name]) - bare
                    print(f"{path}: {number} keys, {name}: {more:.0f} us more")
        print(f"at once, limited: {await per_second(keyed, '/whole', keys['limited']):.0f} requests/s of one process")


def main() -> None:
    ray.init(include_dashboard=False, logging_level=logging.ERROR, object_store_memory=100_000_000)
    log = logging.getLogger("ray.serve")
    log.handlers.clear()
    log.addHandler(logging.FileHandler("/dev/null"))
    log.propagate = False  # its lines are made, as in a replica
    log.setLevel(logging.INFO)
    limits: Any = SharedLimits.remote("bench")  # annotated as the class, whose methods have no `remote`
    ray.get(limits.spent.remote())  # it runs
    asyncio.run(measure(limits))
    ray.shutdown()


if __name__ == "__main__":
    main()
