"""What a load measured of a version: what the gate compares and the journal keeps."""

from ops.project.strict_model import StrictModel


class Percentiles(StrictModel):
    """Percentiles of a time, in seconds."""

    p50: float
    p95: float


class Measurement(StrictModel):
    """What a load measured of one version. Times are those of answers that came whole."""

    requests: int
    errors: int
    first_error: str = ""
    empty_answers: int
    ttft: Percentiles | None = None
    """The time from the request to the first piece of the answer, thoughts included. None where nothing was
    answered."""
    inter_token: Percentiles | None = None
    """The time between two pieces of an answer, over all answers."""
    tokens_per_second: float | None = None
    """The speed of the median answer, from its first token to its last."""


def name_of(version: str, model: str) -> str:
    """What a reading is called where a version serves several models; without a model, by the version."""
    return f"{version}, {model}" if model else version


def by_model(readings: dict[str, Measurement]) -> dict[str, dict[str, Measurement]]:
    """Readings by model, then by version. The model of a service that serves one is an empty text."""
    found: dict[str, dict[str, Measurement]] = {}
    for name, reading in readings.items():
        version, _, model = name.partition(", ")
        found.setdefault(model, {})[version] = reading
    return found
