"""Imported by the workers of the laptop profile that compute with adapters: a fault of vLLM 0.27's CPU kernels, undone.

In a batch with requests for adapters, a request for the base model has -1 for its adapter. The kernels for GPUs leave
such a request alone; those for CPUs take the -1 for the last adapter, and the base model answers as that one does.
Source: vllm/lora/ops/torch_ops/lora_ops.py; https://github.com/vllm-project/vllm/pull/48421 is to correct it.
"""

import functools
import inspect
from collections.abc import Callable
from typing import Any

import torch
from vllm.lora.ops.torch_ops import lora_ops
from vllm.lora.punica_wrapper import punica_cpu


class WorkerExtension:
    """What `worker_extension_cls` of the engine names, so that its workers import this file."""


def leaves_the_base_model_alone(kernel: Callable[..., None]) -> Callable[..., None]:
    """The kernel, with nothing to add for requests without an adapter."""
    signature = inspect.signature(kernel)

    @functools.wraps(kernel)
    def corrected(*args: Any, **kwargs: Any) -> None:
        given = signature.bind(*args, **kwargs).arguments
        without: torch.Tensor = given["lora_indices_tensor"] == -1
        given["inputs"] = given["inputs"].masked_fill(without[:, None], 0)
        kernel(**given)

    return corrected


for name in ("bgmv_expand", "bgmv_expand_slice"):
    corrected = leaves_the_base_model_alone(getattr(lora_ops, name))
    for module in (lora_ops, punica_cpu):
        setattr(module, name, corrected)
