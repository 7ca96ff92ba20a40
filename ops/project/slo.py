"""The SLO file of a service: the load that measures it, the objectives of its answers, and the limits against its
primary."""

import re
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, Field

from ops.project import yaml_models
from ops.project.strict_model import StrictModel


def _unit(units: dict[str, float], example: str) -> BeforeValidator:
    """Reads a text such as `500ms` as a number; a number without a unit is an error."""

    def read(text: object) -> float:
        match = re.fullmatch(r"(\d+(?:\.\d+)?) ?([a-zA-Z%/]+)", str(text))
        if not match or match[2] not in units:
            raise ValueError(f"{text} has no unit that is known here; write it like {example}")
        return float(match[1]) * units[match[2]]

    return BeforeValidator(read)


Seconds = Annotated[float, _unit({"ms": 0.001, "s": 1}, "500ms or 2s")]
Share = Annotated[float, _unit({"%": 0.01}, "1%"), Field(le=1)]
TokensPerSecond = Annotated[float, _unit({"tokens/s": 1}, "20tokens/s")]
Factor = Annotated[float, _unit({"x": 1}, "1.5x"), Field(gt=0)]


class LoadSpec(StrictModel):
    """The requests that a version is measured with: streamed chats, sent by `concurrency` clients."""

    requests: int = Field(ge=1)
    concurrency: int = Field(ge=1)
    output_tokens: int = Field(ge=2)
    """The most that an answer may have."""
    prompts: list[str] = Field(min_length=1)
    """Sent in turn."""


class Objectives(StrictModel):
    """What a version must meet. An objective that is not given is not looked at."""

    errors: Share = 0
    """The most of the requests that may fail."""
    empty_answers: Share = 0
    """The most of the requests that may be answered without content."""
    ttft_p50: Seconds | None = None
    ttft_p95: Seconds | None = None
    inter_token_p50: Seconds | None = None
    inter_token_p95: Seconds | None = None
    tokens_per_second: TokensPerSecond | None = None
    """The least that the median answer comes with."""


class AgainstPrimary(StrictModel):
    """How much worse than the primary's, measured beside it, a reading may be: the most times, for speed the least."""

    ttft_p50: Factor | None = None
    inter_token_p50: Factor | None = None
    tokens_per_second: Factor | None = None


class Slo(StrictModel):
    load: LoadSpec
    objectives: Objectives
    against_primary: AgainstPrimary


def load(file: Path) -> Slo:
    """Raises CommandError: the file is not there, or not an SLO file; the message names each fault and its place."""
    return yaml_models.load_as(Slo, file, "an SLO file")
