"""Durations, as people read and write them."""

import re

from ops.console.cli import CommandError

UNITS = {"s": 1, "min": 60, "h": 3600}


def seconds(text: str) -> float:
    """Raises CommandError: it has no unit, or is not a duration."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?) ?([a-z]+)", text)
    if not match or match[2] not in UNITS:
        raise CommandError(f"{text} is not a duration. Write it with its unit: 60s, 5min or 1h.")
    return float(match[1]) * UNITS[match[2]]


def lasting(seconds: float) -> str:
    """A duration as text, such as "41 min 5 s"."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    parts = {"h": hours, "min": minutes, "s": seconds}
    return " ".join([f"{number} {unit}" for unit, number in parts.items() if number][:2]) or "0 s"
