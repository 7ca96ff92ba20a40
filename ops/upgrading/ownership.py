"""Who owns which file of a clone. What no pattern here matches, and the template tracks, is the template's."""

from fnmatch import fnmatchcase

YOURS = ("services/*", ".env*", "keys*.yaml", "rollouts/*", "benchmarks/*", "alerts/*")
"""The user's: an upgrade never writes, changes or removes them."""
YOURS_ONCE_CHANGED = ("README.md", "LICENSE", "CHANGELOG.md", "CONTRIBUTING.md", ".gitignore")
"""The template's until the user changes or deletes them; an upgrade leaves them alone from then on."""


def is_yours(path: str) -> bool:
    return any(fnmatchcase(path, pattern) for pattern in YOURS)
