"""The zip that the Anyscale SDK makes of a clone of this repository, from the excludes of a service.yaml."""

import shutil
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest
import yaml
from anyscale._private.workload.workload_sdk import _get_runtime_env_default_excludes
from anyscale.utils.ray_utils import zip_directory

UPLOADED = {"services", "serving", "versions.toml"}
LEFT_BY_RUNS = (
    ".env",
    ".venv/pyvenv.cfg",
    "alerts/small-size-llm.yaml",
    "benchmarks/runs.csv",
    "rollouts/small-size-llm/journal.jsonl",
    "serving/__pycache__/app.cpython-312.pyc",
)
"""Files that git does not have, or that a user may have, and no cluster needs."""


@pytest.fixture(scope="module")
def clone(project, root, tmp_path_factory) -> Path:
    """The files that git has, with the services of the tests in place of the user's."""
    folder = tmp_path_factory.mktemp("clone")
    for name in [name for name in tracked(root) if not name.startswith("services/")]:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(root / name, folder / name)
    shutil.copytree(project / "services", folder / "services")
    for name in LEFT_BY_RUNS:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("left by a run")
    return folder


def tracked(root: Path) -> list[str]:
    """The files of the repository but the user's services."""
    if not (root / ".git").exists():
        pytest.skip("this is no clone, and only git tells which files are the repository's")
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True).stdout.splitlines()
    return [name for name in listed if not name.startswith("services/") and (root / name).is_file()]


def zipped(folder: Path, service_yaml: Path, to: Path) -> Path:
    """The package that `anyscale service deploy` uploads."""
    excludes = yaml.safe_load(service_yaml.read_text())["excludes"]
    zip_directory(str(folder), [*_get_runtime_env_default_excludes(), *excludes], str(to))
    return to


def names(package: Path) -> set[str]:
    return {name for name in ZipFile(package).namelist() if not name.endswith("/")}


def test_the_zip_has_the_services_the_runtime_and_the_versions(service, clone, tmp_path):
    uploaded = names(zipped(clone, service.folder / "service.yaml", tmp_path / "package.zip"))
    assert {file.split("/")[0] for file in uploaded} == UPLOADED
    expected = {file for file in map(str, files(clone)) if file.split("/")[0] in UPLOADED}
    assert uploaded == expected - set(LEFT_BY_RUNS)


def files(folder: Path) -> list[Path]:
    return [file.relative_to(folder) for file in folder.rglob("*") if file.is_file()]


def test_a_service_made_by_scripts_new_uploads_the_same(project, root):
    template = (root / "templates" / "service.yaml.jinja").read_text()
    made = (project / "services" / "small_size_llm" / "service.yaml").read_text()
    assert excludes(template) == excludes(made)


def excludes(text: str) -> str:
    return text[text.index("working_dir:") : text.index("# For every process")]


def test_what_a_user_adds_is_uploaded(clone, tmp_path):
    own = {"keys.yaml", "my_package/tools.py", "my_package/docs/prompt.md", "services/small_size_llm/tests/data.json"}
    folder = tmp_path / "clone"
    shutil.copytree(clone, folder)
    for name in own:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("a user's")
    package = zipped(folder, folder / "services" / "small_size_llm" / "service.yaml", tmp_path / "package.zip")
    assert own <= names(package)


FIND_KEYS = """
from serving.auth import key_file
(key,) = key_file.load("keys.yaml")
print(key.name, key_file.__file__)
"""


def test_the_runtime_in_the_zip_finds_the_key_file_there(clone, tmp_path):
    folder, cluster = tmp_path / "clone", tmp_path / "cluster"
    shutil.copytree(clone, folder)
    (folder / "keys.yaml").write_text(yaml.safe_dump({"keys": [{"name": "reader", "sha256": "a" * 64}]}))
    package = zipped(folder, folder / "services" / "small_size_llm" / "service.yaml", tmp_path / "package.zip")
    ZipFile(package).extractall(cluster)
    ran = subprocess.run([sys.executable, "-c", FIND_KEYS], cwd=cluster, capture_output=True, text=True, check=False)
    assert ran.stdout.split() == ["reader", str(cluster / "serving" / "auth" / "key_file.py")], ran.stderr
