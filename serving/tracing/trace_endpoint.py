"""What can be wrong with the address of a trace collector, without importing what would use it."""

from urllib.parse import urlsplit

EXAMPLE = "http://collector:4317"
HTTP_PORT = 4318
"""The port at which OpenTelemetry's collectors take OTLP by HTTP; spans are sent by gRPC, which they take on 4317."""


def fault(endpoint: object) -> str:
    """Why spans cannot be sent there, as the rest of a sentence that begins with the endpoint; empty where they can."""
    try:
        url = urlsplit(endpoint if isinstance(endpoint, str) else "")
        port = url.port
    except ValueError:
        return f"is not a URL such as {EXAMPLE}"
    if url.scheme not in ("http", "https") or not url.hostname or port is None:
        return f"is not a URL with a host and a port, such as {EXAMPLE}"
    if url.path.strip("/") or url.query or port == HTTP_PORT:
        return f"is for OTLP by HTTP, and spans are sent by gRPC: to {url.scheme}://{url.hostname}:4317"
    return ""
