"""What a deploy uploads as working directory, by the rules of the Anyscale SDK."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ops.project.catalogue import ROOT


@dataclass(frozen=True)
class Upload:
    files: int
    size_bytes: int


def upload(config: dict[str, Any]) -> Upload | None:
    """What the SDK would upload as working directory; None where it is on Anyscale already."""
    working_dir = config.get("working_dir")
    if not working_dir or "://" in working_dir:
        return None
    paths = contents(ROOT / working_dir, config.get("excludes", []))
    return Upload(len(paths), sum(path.stat().st_size for path in paths))


def contents(folder: Path, excludes: list[str]) -> list[Path]:
    """The files that the Anyscale SDK would upload of a folder, by its own rules.

    Args:
        excludes: as in service.yaml; the SDK's own and those of .gitignore files are added.
    """
    from anyscale._private.workload.workload_sdk import _get_runtime_env_default_excludes
    from anyscale.utils.ray_utils import _dir_travel, _get_excludes

    paths: list[Path] = []
    patterns = _get_excludes(folder, [*_get_runtime_env_default_excludes(), *excludes])
    _dir_travel(folder, [patterns], lambda path: paths.append(path) if path.is_file() else None)
    return sorted(paths)
