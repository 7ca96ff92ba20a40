"""What every service sets alike, with the reasons. Each serve.py imports it."""

from pathlib import Path

# A replica whose engine died answers 500 until the next check ends it; Ray's default is a check every 10 s.
HEALTH_CHECKS = dict(health_check_period_s=2, health_check_timeout_s=10)

# Ray's default of 50 holds each streamed token back for up to 50 ms where direct streaming is off.
STREAM_AT_ONCE = dict(stream_batching_interval_ms=0)

# Ray's own choice, PACK, may spread one tensor-parallel group over two nodes without a word; the all-reduce of every
# layer then crosses the network.
ON_ONE_NODE = dict(bundle_per_worker=dict(GPU=1, CPU=1), strategy="STRICT_PACK")


def chat_template(name: str) -> str:
    """A template of `serving/chat_templates`, for models that come without one that does what we need."""
    return (Path(__file__).parent / "chat_templates" / f"{name}.jinja").read_text()
