"""The HTTP server: the routes behind the token check, the injected faults and the record of calls."""

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncGenerator, Callable

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from rehearsal.control_plane import routes_environment, routes_rehearsal, routes_services
from rehearsal.control_plane.control_plane import ControlPlane, RefusedError
from rehearsal.control_plane.reconciler import TICK_S, Reconciler
from rehearsal.control_plane.replies import Json

OPEN_PATHS = ("/rehearsal/", "/bucket/")
"""Not Anyscale's API: what a rehearsal adds, and the presigned URLs."""


def app(plane: ControlPlane, token: str) -> FastAPI:
    """The server; versions and front doors end with it."""
    calls: list[Json] = []
    server = FastAPI(lifespan=lambda _: reconciling(plane), docs_url=None, openapi_url=None)
    for routes in (routes_services.routes(plane), routes_environment.routes(plane)):
        server.include_router(routes)
    server.include_router(routes_rehearsal.routes(plane, calls))

    @server.middleware("http")
    async def gate(request: Request, call_next: Callable) -> JSONResponse:
        if request.url.path.startswith(OPEN_PATHS):
            return await call_next(request)
        calls.append(await record(request))
        if request.cookies.get("cli_token") != token:
            return refusal(401, "The token is not valid. Set ANYSCALE_CLI_TOKEN to the one that the rehearsal prints.")
        return await answer(plane, request, call_next)

    @server.exception_handler(RefusedError)
    async def refused(_: Request, error: RefusedError) -> JSONResponse:
        return refusal(400, str(error))

    @server.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        return refusal(422, str(error))

    @server.exception_handler(HTTPException)
    async def not_there(request: Request, error: HTTPException) -> JSONResponse:
        unknown = error.detail in ("Not Found", "Method Not Allowed")
        detail = f"The rehearsal has no {request.method} {request.url.path}." if unknown else error.detail
        return refusal(error.status_code, detail)

    return server


async def answer(plane: ControlPlane, request: Request, call_next: Callable) -> JSONResponse:
    """The reply to a call, or what the injected faults make of it."""
    path, faults = request.url.path, plane.faults
    hit = faults.hits(path)
    request.state.loses_reply = faults.loses_reply(path)
    if request.state.loses_reply and faults.is_retry():
        reply = refusal(503, "This is not sent.")
    elif hit and faults.api_status is not None:
        reply = refusal(faults.api_status, f"The rehearsal's fault api_status={faults.api_status}.")
    else:
        reply = await call_next(request)
    if hit and faults.api_hangs_s is not None:
        await asyncio.sleep(faults.api_hangs_s)
    return reply


async def record(request: Request) -> Json:
    body = await request.body()
    try:
        content = json.loads(body) if body else None
    except ValueError:
        content = f"{len(body)} bytes"
    query = dict(request.query_params)
    return {"method": request.method, "path": request.url.path, "query": query, "body": content}


def refusal(status: int, detail: str) -> JSONResponse:
    return JSONResponse({"error": {"detail": detail}}, status)


@contextlib.asynccontextmanager
async def reconciling(plane: ControlPlane) -> AsyncGenerator[None]:
    task = asyncio.create_task(reconcile_for_ever(plane))
    try:
        yield
    finally:
        task.cancel()
        plane.close()


async def reconcile_for_ever(plane: ControlPlane) -> None:
    reconciler = Reconciler(plane)
    while True:
        try:
            reconciler.tick()
            plane.images.end_builds(fail=plane.faults.build_fails)
        except Exception as error:  # one tick that fails must not end all later ones
            print(f"A tick failed. {type(error).__name__}: {error}", file=sys.stderr, flush=True)
        await asyncio.sleep(TICK_S)
