"""Checkpoints that this repository makes, kept in the user's cache folder: whole and checked, or not there."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock
from platformdirs import user_cache_path

CACHE = user_cache_path("anyscale-llm-serving")
MANIFEST = "sha256.json"


def cached_checkpoint(name: str, make: Callable[[Path], None], cache: Path = CACHE / "models") -> Path:
    """The folder of checkpoint `name`, made by `make(folder)` when it is not there or does not match its checksums.

    It is made beside its final place and moved there when it is complete, so a killed run leaves nothing that a later
    one would take for a checkpoint. Two processes that want the same one wait for each other.
    """
    folder, unfinished = cache / name, cache / f"{name}.unfinished"
    cache.mkdir(parents=True, exist_ok=True)
    with FileLock(cache / f"{name}.lock"):
        if is_intact(folder):
            return folder
        for leftover in (folder, unfinished):
            shutil.rmtree(leftover, ignore_errors=True)
        unfinished.mkdir()
        try:
            make(unfinished)
            (unfinished / MANIFEST).write_text(json.dumps(checksums(unfinished), indent=2))
            unfinished.rename(folder)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
    return folder


def is_intact(folder: Path) -> bool:
    manifest = folder / MANIFEST
    return manifest.exists() and json.loads(manifest.read_text()) == checksums(folder)


def checksums(folder: Path) -> dict[str, str]:
    """SHA-256 of every file but the manifest, by name."""
    return {file.name: sha256(file) for file in sorted(folder.iterdir()) if file.name != MANIFEST}


def sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
