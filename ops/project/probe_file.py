"""probe.yaml: requests to a service, and what must be true of its answers."""

from pathlib import Path
from typing import Any, Self

from pydantic import Field, model_validator

from ops.project import yaml_models
from ops.project.routes import CHAT, Route
from ops.project.strict_model import StrictModel


class Expectation(StrictModel):
    """What must be true of one answer; what is not given is not looked at."""

    status: int = 200
    content: str | None = None
    """Text that the answer contains, in any case of letters."""
    finish_reason: str | None = None
    """Why generation ended; in a stream, its last chunk with a choice must say so. On /v1/responses, the status."""
    thinks: bool | None = None
    """Whether the model thinks first, and that its thoughts are in `reasoning` and nowhere in the content."""
    thinks_at_most: int | None = None
    """The most words that it thinks."""
    counts_reasoning_tokens: bool = False
    """Usage says how many tokens the model thought; vLLM 0.27 does on /v1/responses only."""
    calls_tool: dict[str, Any] | None = None
    """The arguments of the one tool call in the answer; they are valid against the tool's own schema."""
    follows_schema: bool = False
    """The content is JSON and valid against the request's own response_format."""
    lists_model: bool = False
    """The answer of /v1/models has the probe's model id."""
    lists_models: list[str] = Field(default_factory=list)
    """The answer of /v1/models has each of these."""
    error: str | None = None
    """Text that the error's message contains, in any case of letters."""


class Check(StrictModel):
    """One request and the expectation of its answer."""

    name: str
    path: Route = CHAT
    request: dict[str, Any] = Field(default_factory=dict)
    """The JSON body to send. `model` is the probe's unless it is given here."""
    prompt_words: int | None = None
    """Send a user message of this many words."""
    expect: Expectation

    @model_validator(mode="after")
    def request_has_what_is_expected_of_the_answer(self) -> Self:
        if self.expect.follows_schema and self.answer_schema() is None:
            raise ValueError(f"check '{self.name}' expects follows_schema, and its request has no json_schema")
        if self.expect.calls_tool is not None and len(self.tools()) != 1:
            raise ValueError(f"check '{self.name}' expects calls_tool, and its request does not have one tool")
        return self

    def body(self, model: str) -> dict[str, Any]:
        """The JSON to send, with the model and the long prompt in it."""
        filled = {"model": model, **self.request}
        if self.prompt_words:
            filled["messages"] = [{"role": "user", "content": "word " * self.prompt_words}]
        return filled

    def answer_schema(self) -> dict[str, Any] | None:
        return self.request.get("response_format", {}).get("json_schema", {}).get("schema")

    def tools(self) -> list[dict[str, Any]]:
        """The functions that the model may call: name and parameters of each. /v1/responses has them one level up."""
        return [tool.get("function", tool) for tool in self.request.get("tools", [])]


class ProbeFile(StrictModel):
    model: str
    """The model id that the requests name."""
    checks: list[Check]


def load(file: Path) -> ProbeFile:
    """Raises CommandError: the file is not there, or not a probe file; the message names each fault and its place."""
    return yaml_models.load_as(ProbeFile, file, "a probe file")
