"""The API key that our own commands send to a service, from the environment: an argument would show in `ps`."""

import os
from collections.abc import Mapping
from typing import Any

from ops.console.cli import CommandError
from serving.auth import key_file

VARIABLE = "SERVICE_API_KEY"


def headers() -> dict[str, str]:
    """What to send. Not Authorization, which Anyscale takes for its own token."""
    key = os.environ.get(VARIABLE)
    return {"x-api-key": key} if key else {}


def check(args: dict[str, Any], environment: Mapping[str, str] = os.environ) -> None:
    """Check that a service with these `args` would answer us.

    Args:
        environment: what the processes of the service find in theirs.

    Raises:
        CommandError: it has api_keys that cannot be read, or the environment has none of them.
    """
    source = args.get("api_keys")
    if not source:
        return
    try:
        keys = key_file.load(source, environment=environment)
    except ValueError as error:
        raise CommandError(str(error)) from None
    key = os.environ.get(VARIABLE, "")
    if key_file.digest(key.encode()) not in {known.digest for known in keys}:
        wrong = "holds none of its keys" if key else "is not set"
        raise CommandError(
            f"The service takes the keys of {source}, and {VARIABLE} {wrong}: its first token and its probe need one. "
            f"export {VARIABLE}=<one of the keys>"
        )
