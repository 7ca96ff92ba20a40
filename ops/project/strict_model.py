"""What our pydantic models begin with: a field that they do not know is an error, and never ignored."""

from pydantic import BaseModel, ConfigDict


class StrictModel(BaseModel):
    model_config = ConfigDict(extra="forbid")


class FrozenModel(StrictModel):
    """Can be a key and be shared, as it never changes."""

    model_config = ConfigDict(frozen=True)
