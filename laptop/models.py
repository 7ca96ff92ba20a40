"""The models that stand in for the real ones on a machine without a GPU."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from laptop import smollm2


@dataclass(frozen=True)
class LaptopModel:
    checkpoint: Callable[[], Path]
    """Makes the checkpoint where it is not cached yet, and returns the folder that holds it."""

    changes: dict[str, Any] = field(default_factory=dict)
    """Fields of the LLMConfig that it needs otherwise than the model it stands in for; written as in laptop.profile."""


MODELS = {
    "smollm2-135m": LaptopModel(
        smollm2.checkpoint,
        {
            "engine_kwargs.tokenizer_mode": None,  # a tokenizer of its own
            "engine_kwargs.chat_template": None,  # and a chat template of its own, which it was trained with
            "engine_kwargs.tool_call_parser": "hermes",  # llama3_json and mistral look for tokens that it does not have
        },
    ),
}
