"""Make `.venv` with everything the scripts need. Standard library only: nothing is installed when it runs.

Two kinds of machine:

- laptop: no GPU, or no Ray and vLLM in `python3`. Installs `requirements/laptop.lock`, all of it pinned.
- gpu: a GPU, and Ray and vLLM already in `python3`, such as an Anyscale workspace on a ray-llm image. `.venv` sees
  those packages, and only what is missing beside them is installed.
"""

import hashlib
import importlib.util
import os
import platform
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
STAMP = VENV / "setup-done"
LOCK = ROOT / "requirements" / "laptop.lock"
TORCHVISION_FIX = ROOT / "laptop" / "torchvision_operators.py"

DISK_GB = 9  # measured with uv 0.13.9: its cache 4.1 GB, and .venv 4.7 GB where that is on another file system


class SetupError(Exception):
    """What went wrong and what to do, as sentences for the person who ran the command."""


def main() -> int:
    try:
        if STAMP.exists() and STAMP.read_text() == fingerprint():
            return 0
        check_platform()
        check_disk()
        if has_gpu() and has_ray_and_vllm():
            install_beside_ray_and_vllm()
        else:
            install_laptop()
        STAMP.write_text(fingerprint())
    except SetupError as error:
        print(f"setup: {error}", file=sys.stderr)
        return 2
    say("done")
    return 0


def fingerprint() -> str:
    """A hash of all that decides what `.venv` holds: when it changes, setup runs again."""
    decides = [sys.version, str(ROOT), LOCK.read_text(), TORCHVISION_FIX.read_text(), *tool_requirements()]
    return hashlib.sha256("\0".join(decides).encode()).hexdigest()


def check_platform() -> None:
    system, machine = platform.system(), platform.machine()
    if system != "Linux" or machine not in ("x86_64", "aarch64"):
        raise SetupError(
            f"this is {system} on {machine}, and vLLM's CPU build and HAProxy are published for Linux on x86_64 and "
            "aarch64 only. Use a Linux machine, a Linux virtual machine or container, WSL 2, or an Anyscale workspace."
        )


def check_disk() -> None:
    free_gb = shutil.disk_usage(ROOT).free / 1e9
    if free_gb < DISK_GB:
        raise SetupError(
            f"{DISK_GB} GB of free disk are needed under {ROOT}, and {free_gb:.1f} GB are there. "
            "Free some, or clone the repository onto a larger disk."
        )


def has_gpu() -> bool:
    """Whether NVIDIA's driver lists a GPU."""
    if not shutil.which("nvidia-smi"):
        return False
    listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=False)
    return listed.returncode == 0 and "GPU" in listed.stdout


def has_ray_and_vllm() -> bool:
    return all(importlib.util.find_spec(name) for name in ("ray", "vllm"))


def install_beside_ray_and_vllm() -> None:
    """pip, not uv, because pip counts the packages of the image as installed."""
    say("a GPU, Ray and vLLM are here already: installing only what is missing beside them")
    make_venv("--system-site-packages")
    run(
        [PYTHON, "-m", "pip", "install", "--quiet", *tool_requirements()],
        "pip could not install the packages that are missing.",
    )


def tool_requirements() -> list[str]:
    """What the scripts and tests need beside Ray and vLLM, such as "rich>=13.0"."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    return project["project"]["dependencies"] + project["dependency-groups"]["test"]


def install_laptop() -> None:
    make_venv()
    pip = pip_settings()
    uv_version = next(line for line in LOCK.read_text().splitlines() if line.startswith("uv==")).split(" ")[0]
    run([PYTHON, "-m", "pip", "install", "--quiet", uv_version], f"pip could not install {uv_version}.")
    say("installing Ray, vLLM for the CPU and the rest, 4 GB in all")
    links = pip.get("find-links", []) + os.environ.get("UV_FIND_LINKS", "").replace(",", " ").split()
    command = [VENV / "bin" / "uv", "pip", "install", "--python", PYTHON, "--no-deps", "--requirement", LOCK]
    # Else every process compiles what it imports where PYTHONDONTWRITEBYTECODE is set, as in many container images:
    # the Anyscale SDK took 8.0 s to import, and takes 2.1 (2 cores, Python 3.11, 2026-11-23).
    command += ["--compile-bytecode"]
    for link in links:
        command += ["--find-links", link]
    if pip.get("index-url"):
        command += ["--default-index", pip["index-url"][-1]]
    if not any(holds_torch(link) for link in links):
        command += ["--torch-backend", "cpu"]  # PyTorch's own index: PyPI has CUDA builds only
    if not sys.stderr.isatty():
        command += ["--quiet"]  # without a terminal there is no progress bar, only a list of 200 packages
    run(
        command,
        "uv could not install the packages; its own message is above. If it could not reach an index, check the "
        "network, or name your mirror in PIP_INDEX_URL. torch comes from PyTorch's CPU index; without that, put its "
        f"wheel ({torch_pin()}) in a folder and name the folder in PIP_FIND_LINKS.",
    )
    make_torchvision_importable()


def make_torchvision_importable() -> None:
    """PyPI's build of torchvision does not import beside the CPU build of torch without TORCHVISION_FIX."""
    if can_import("torchvision"):
        return
    packages = Path(sysconfig.get_path("purelib", "venv", vars={"base": str(VENV), "platbase": str(VENV)}))
    shutil.copy(TORCHVISION_FIX, packages)
    (packages / f"{TORCHVISION_FIX.stem}.pth").write_text(f"import {TORCHVISION_FIX.stem}\n")
    if not can_import("torchvision"):
        raise SetupError("torchvision cannot be imported. Delete .venv and run scripts/setup again.")


def can_import(module: str) -> bool:
    return not subprocess.run([PYTHON, "-c", f"import {module}"], capture_output=True, check=False).returncode


def make_venv(*options: str) -> None:
    say(f"making {VENV.name} with Python {platform.python_version()}")
    run(
        [sys.executable, "-m", "venv", "--clear", *options, VENV],
        "Python could not make a virtual environment. On Debian and Ubuntu: apt install python3-venv.",
    )


def pip_settings() -> dict[str, list[str]]:
    """The settings of pip in its configuration files and environment, such as {"find-links": ["/wheels"]}.

    uv does not read pip's settings, and someone who has set up a mirror for pip expects it to be used.
    """
    listed = subprocess.run([PYTHON, "-m", "pip", "config", "list"], capture_output=True, text=True, check=False).stdout
    settings: dict[str, list[str]] = {}
    for line in listed.splitlines():  # such as global.find-links='/wheels /more-wheels'
        name, _, value = line.partition("=")
        settings.setdefault(name.rpartition(".")[2], []).extend(" ".join(shlex.split(value)).split())
    return settings


def torch_pin() -> str:
    return next(line for line in LOCK.read_text().splitlines() if line.startswith("torch==")).split(" ")[0]


def holds_torch(link: str) -> bool:
    """Whether a local find-links folder has the pinned CPU build of torch for this Python."""
    folder = Path(link.removeprefix("file://"))
    version = torch_pin().removeprefix("torch==")
    python = f"cp{sys.version_info.major}{sys.version_info.minor}"
    return any(folder.glob(f"torch-{version}-{python}-*_{platform.machine()}.whl"))


def run(command: list, failure: str) -> None:
    """Run a command, its output on the terminal; `failure` says what to do when it does not succeed."""
    if subprocess.run([str(word) for word in command], check=False).returncode:
        raise SetupError(f"{failure} Then run scripts/setup again.")


def say(message: str) -> None:
    print(f"setup: {message}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
