"""Whether an adapter can be served: looked at before the engine reads it.

vLLM 0.27 refuses a rank that is too high, but takes an adapter of another base model wherever its tensors are no larger
than those of this one: they are copied into a corner, layers that the model does not have are left out, and it answers.
"""

import functools
import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from serving.lora.storage import CONFIG, WEIGHTS, AdapterError

PREFIX = "base_model.model."
"""The beginning of the names of an adapter's tensors, as `peft` writes them."""

Sizes = dict[str, tuple[int, int]]
"""Inputs and outputs of each linear layer of a model, by its name."""


@functools.cache
def sizes_of(base: str) -> Sizes:
    """The sizes of the model that is on Hugging Face or in a folder under this name; no weights are loaded."""
    import torch  # here, because scripts/check imports this file, and these two take seconds
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.from_pretrained(base)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    layers = {name: module for name, module in model.named_modules() if isinstance(module, torch.nn.Linear)}
    return {name: (layer.in_features, layer.out_features) for name, layer in layers.items()}


def refuse_unfit(model_id: str, folder: Path, *, max_rank: int, base: str) -> None:
    """Look at the files of an adapter.

    Args:
        model_id: what the client asked for, `base:adapter`.
        max_rank: max_lora_rank of the engine.
        base: the folder or the name on Hugging Face of the base model.

    Raises:
        AdapterError: it cannot be served; the status is 400.
    """

    def refuse(reason: str) -> AdapterError:
        return AdapterError(400, f"{model_id} cannot be served: {reason}.")

    try:
        config = json.loads((folder / CONFIG).read_text())
        rank, trained_on = config["r"], config.get("base_model_name_or_path")
    except (ValueError, KeyError, TypeError, AttributeError):
        raise refuse(f"its {CONFIG} is not that of a LoRA adapter, as peft saves it") from None
    try:
        shapes = shapes_of(folder / WEIGHTS)
    except SafetensorError:
        raise refuse(f"its {WEIGHTS} is damaged") from None
    if other := another_base(shapes, sizes_of(base)):
        named = f" It was trained on {trained_on}." if trained_on else ""
        raise AdapterError(400, f"{model_id} cannot be served: it is an adapter of another model. {other}{named}")
    if reason := unknown_kind(config, max_rank):
        raise refuse(reason)
    highest = max([rank, *(shape[0] for name, shape in shapes.items() if name.endswith(".lora_A.weight"))])
    if highest > max_rank:
        raise refuse(f"its rank is {highest}, and this service takes up to {max_rank}")


def unknown_kind(config: dict[str, Any], max_rank: int) -> str:
    """What vLLM says of an adapter that it does not do; empty where it does."""
    from vllm.config import LoRAConfig
    from vllm.lora.peft_helper import PEFTHelper

    try:  # its rank is looked at by us, who also know the ranks of single layers
        lora = LoRAConfig(max_rank)  # ty: ignore[invalid-argument-type]  # it takes only some numbers, and says which
        PEFTHelper.from_dict(config | {"r": min(config["r"], max_rank)}).validate_legal(lora)
    except (ValueError, TypeError) as error:
        return str(error).rstrip(".")
    return ""


def shapes_of(file: Path) -> dict[str, list[int]]:
    """The shape of each tensor, from the header of the file."""
    with safe_open(file, framework="numpy") as tensors:
        return {name: tensors.get_slice(name).get_shape() for name in tensors.keys()}  # noqa: SIM118


def another_base(shapes: dict[str, Any], sizes: Sizes) -> str:
    """A sentence about the first tensor that does not fit the base model; empty where all fit."""
    for name, shape in sorted(shapes.items()):
        layer, _, part = name.removeprefix(PREFIX).rpartition(".lora_")
        if part not in ("A.weight", "B.weight"):
            continue  # of another kind, which vLLM knows, or refuses in its own words
        if layer not in sizes:
            return f"It has weights for {layer}, which the model here does not have."
        own, wanted, side = (
            (shape[1], sizes[layer][0], "inputs") if part == "A.weight" else (shape[0], sizes[layer][1], "outputs")
        )
        if own != wanted:
            return f"Its {layer} has {own} {side}, and that of the model here {wanted}."
    return ""
