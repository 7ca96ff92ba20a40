"""`python -m rehearsal.control_plane --port P --folder DIR`: rehearse deployments on this machine."""

import socket
from pathlib import Path
from typing import Annotated, Any

import typer
import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ops.console import cli
from ops.console.cli import out
from ops.local import preflight
from rehearsal.control_plane.api import app
from rehearsal.control_plane.control_plane import ControlPlane


def serve(
    port: Annotated[int, typer.Option(help="The port to listen on, on 127.0.0.1.", min=1, max=65535)],
    folder: Annotated[Path, typer.Option(help="Where uploads, versions and their logs are kept.")],
    token: Annotated[str, typer.Option(help="The token that the CLI must have.")] = "aph0_rehearsal",
    reuse: Annotated[
        bool,
        typer.Option(
            "--reuse",
            help="For tests, where a start of vLLM takes minutes: versions that run the same share a process, "
            "which is kept until the end.",
        ),
    ] = False,
) -> None:
    """Speak Anyscale's API to the anyscale CLI, and run each deployed version on this machine.

    Example: python -m rehearsal.control_plane --port 9000 --folder /tmp/rehearsal
    """
    preflight.check_port(port)
    folder.mkdir(parents=True, exist_ok=True)
    server = app(ControlPlane(folder.resolve(), reuse), token)
    config = uvicorn.Config(
        LostReplies(server),
        host="127.0.0.1",
        port=port,
        log_level="warning",
        timeout_graceful_shutdown=1,  # the CLI keeps its connections; nobody waits for them
    )
    AnnouncingServer(config).run()


class AnnouncingServer(uvicorn.Server):
    """A server that says when it answers."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            out.print(f"Anyscale rehearsal on http://127.0.0.1:{self.config.port}")


class LostReplies:
    """Closes the connection in place of a reply that the fault `lose_apply_reply` takes away."""

    def __init__(self, server: ASGIApp) -> None:
        self._server = server

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_or_close(message: Message) -> None:
            if scope.get("state", {}).get("loses_reply"):
                connection: Any = send  # ASGI has no way to close a connection; uvicorn's send belongs to it
                connection.__self__.transport.abort()
            else:
                await send(message)

        await self._server(scope, receive, send_or_close)


if __name__ == "__main__":
    cli.run("python -m rehearsal.control_plane", serve)
