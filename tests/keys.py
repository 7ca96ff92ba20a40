"""Key files for tests, and what a service answers to those who have none of its keys."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import httpx

from ops.project.key_files import new_key
from serving.auth.key_file import digest

SERVICE = "small-size-llm"
"""What the e2e tests start with API keys; the other services are open, as they are by default."""
NOT_IN_A_SCHEMA = (
    "/",
    "/docs",
    "/docs/oauth2-redirect",
    "/redoc",
    "/openapi.json",
    "/metrics",
    "/metrics/",
    "/nothing",
)
"""FastAPI's own pages, what is mounted, and what is not there."""
METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")


def entry(name: str, key: str, **limits: int) -> dict[str, str | int]:
    return {"name": name, "sha256": digest(key.encode()).hex(), **limits}


def write(file: Path, *entries: dict[str, str | int]) -> None:
    file.write_text(json.dumps({"keys": entries}))


def make(file: Path, **limits: dict[str, int]) -> dict[str, str]:
    """Write a key file with these names and their limits; the keys by name."""
    keys = {name: new_key() for name in limits}
    write(file, *(entry(name, key, **limits[name]) for name, key in keys.items()))
    return keys


class Asked(NamedTuple):
    method: str
    path: str
    with_wrong_key: bool
    status: int
    error: dict


def without_a_key(url: str, key: str) -> Iterator[Asked]:
    """Ask every path and method of the live OpenAPI schema without a key and with a wrong one.

    Args:
        key: a right one, which the schema is read with.
    """
    with httpx.Client(base_url=url, timeout=30, trust_env=False) as client:
        paths = client.get("/openapi.json", headers={"x-api-key": key}).raise_for_status().json()["paths"]
        asked = [(method, path) for path, methods in paths.items() for method in methods if method in METHODS]
        for method, path in asked + [("get", path) for path in NOT_IN_A_SCHEMA]:
            for headers in ({}, {"Authorization": "Bearer sk-wrong", "x-api-key": "sk-wrong"}):
                filled = path.replace("{", "").replace("}", "").replace(":path", "")
                answer = client.request(method, filled, headers=headers, json={} if method == "post" else None)
                is_error = answer.headers.get("content-type") == "application/json" and method != "head"
                error = answer.json().get("error", {}) if is_error else {}
                yield Asked(method, path, bool(headers), answer.status_code, error)
