"""probe.yaml: requests to a service, and what must be true of its answers."""

from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from ops import strict_yaml
from ops.cli import CommandError


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Expectation(Strict):
    """What must be true of one answer; what is not given is not looked at."""

    status: int = 200
    content: str | None = None
    """Text that the answer contains, in any case of letters."""
    finish_reason: str | None = None
    """Why generation ended; in a stream, its last chunk with a choice must say so."""
    follows_schema: bool = False
    """The content is JSON and valid against the request's own response_format."""
    lists_model: bool = False
    """The answer of /v1/models has the probe's model id."""
    error: str | None = None
    """Text that the error's message contains, in any case of letters."""


class Check(Strict):
    """One request and the expectation of its answer."""

    name: str
    path: str = "/v1/chat/completions"
    request: dict[str, Any] | None = None
    """The JSON body to POST; without one the path is read with GET. `model` is the probe's unless it is given here."""
    prompt_words: int | None = None
    """Send a user message of this many words."""
    expect: Expectation

    @model_validator(mode="after")
    def schema_is_there_to_follow(self) -> Self:
        if self.expect.follows_schema and self.json_schema() is None:
            raise ValueError(f"check '{self.name}' expects follows_schema, and its request has no json_schema")
        return self

    def body(self, model: str) -> dict[str, Any]:
        """The JSON to send, with the model and the long prompt in it."""
        filled = {"model": model, **(self.request or {})}
        if self.prompt_words:
            filled["messages"] = [{"role": "user", "content": "word " * self.prompt_words}]
        return filled

    def json_schema(self) -> dict[str, Any] | None:
        response_format = (self.request or {}).get("response_format", {})
        return response_format.get("json_schema", {}).get("schema")


class ProbeFile(Strict):
    model: str
    """The model id that the requests name."""
    checks: list[Check]


def load(file: Path) -> ProbeFile:
    """Raises CommandError: the file is not there, or not a probe file; the message names each fault and its place."""
    try:
        return ProbeFile.model_validate(strict_yaml.load(file))
    except OSError as error:
        raise CommandError(f"{file} cannot be read: {error.strerror}.") from None
    except ValidationError as error:
        faults = [f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()]
        raise CommandError("\n  ".join([f"{file} is not a probe file:", *faults])) from None
    except ValueError as error:
        raise CommandError(str(error)) from None
