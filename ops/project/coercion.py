"""Values as they are written in a configuration, which may be of any kind, as the kind that is needed."""

from typing import Any


def mapping(value: Any) -> dict[Any, Any]:
    return value if isinstance(value, dict) else {}


def sequence(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def number(value: Any) -> float | None:
    """The value where it is a number, which true and false are not; else None."""
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None
