"""What should not be uploaded with a service, planted one at a time in a copy of the repository."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from ops.check.finding import Finding
from ops.check.rules import upload
from ops.project.service_files import ServiceFiles
from tests.planted import change

YAML = "services/small_size_llm/service.yaml"
TOKEN = "ghp_" + "aB3dE5fG7h" * 4  # in two parts, so that no search for secrets stops at this file


def findings(root: Path) -> list[Finding]:
    return list(upload.findings(ServiceFiles(root, root / "services" / "small_size_llm")))


def write(root: Path, name: str, text: str = "", size_bytes: int = 0) -> None:
    file = root / name
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("wb") as opened:
        opened.write(text.encode())
        opened.truncate(size_bytes or len(text))  # a hole: it takes no room on the disk


@pytest.mark.parametrize(
    ("name", "text", "size_bytes", "check", "line"),
    [
        ("prod.env", "HF_HOME=/x", 0, "dotenv-in-upload", 1),
        ("data/.env.production", "HF_HOME=/x", 0, "dotenv-in-upload", 1),
        ("serving/.env.local", "HF_HOME=/x", 0, "dotenv-in-upload", 1),
        ("deploy.sh", f"set -e\nexport GH_TOKEN={TOKEN}\n", 0, "secret-in-file", 2),
        ("notes.txt", "Anyscale: aph0_" + "Kx7Rq2Zp9Xw4Lm8Vt6Bn3Yc5D\n", 0, "secret-in-file", 1),
        ("keys/id_rsa", "-----BEGIN OPENSSH PRIVATE" + " KEY-----\n", 0, "secret-in-file", 1),
        ("env/pyvenv.cfg", "home = /usr/bin\n", 0, "venv-in-upload", 1),
        ("models/model.safetensors", "", 5_000_000, "large-file-in-upload", 1),
        ("model.gguf", "", 5_000_000, "large-file-in-upload", 1),
        ("traffic.jsonl", "", 200 * 2**20, "large-file-in-upload", 1),
    ],
)
def test_what_should_not_be_uploaded_is_told(name, text, size_bytes, check, line, copied):
    write(copied, name, text, size_bytes)
    (finding,) = findings(copied)
    assert (finding.check, finding.file, finding.line) == (check, name, line)
    assert TOKEN not in finding.model_dump_json()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (".env", f"GH_TOKEN={TOKEN}"),
        ("tests/test_x.py", f"TOKEN = '{TOKEN}'"),
        ("notes.md", TOKEN),
        (".env.production", f"GH_TOKEN={TOKEN}"),
        (".venv/pyvenv.cfg", "home = /usr/bin"),
        ("venv/pyvenv.cfg", "home = /usr/bin"),
        ("serving/__pycache__/app.cpython-311.pyc", TOKEN),
        ("rollouts/x/service.yaml", TOKEN),
    ],
)
def test_what_is_excluded_is_not_told(name, text, copied):
    write(copied, name, text)
    assert findings(copied) == []


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (".env.example", "HF_TOKEN="),
        ("texts/tokens.md", "Tokens look like ghp_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx."),
        ("image.bin", f"\0{TOKEN}"),
    ],
)
def test_what_may_be_uploaded_is_not_told(name, text, copied):
    write(copied, name, text)
    assert findings(copied) == []


def test_a_virtual_environment_is_told_once(copied):
    write(copied, "env/pyvenv.cfg", "home = /usr/bin\n")
    write(copied, "env/lib/site.py", TOKEN)
    write(copied, "env/lib/large.so", size_bytes=200 * 2**20)
    assert [finding.check for finding in findings(copied)] == ["venv-in-upload"]


def test_a_large_upload_names_where_it_comes_from(copied):
    for number in range(3):
        write(copied, f"data/{number}.jsonl", size_bytes=60 * 2**20)
    (finding,) = findings(copied)
    assert (finding.check, finding.file) == ("large-upload", YAML)
    assert re.fullmatch(r"18\d MiB would be uploaded, most of it in data\..*", finding.what)
    assert (copied / YAML).read_text().splitlines()[finding.line - 1] == "working_dir: ."


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("  - /tests\n", "  - services\n", "excludes:"),
        ("  - /tests\n", "  - /serving\n", "excludes:"),
        ("  - /tests\n", "  - '*.py'\n", "excludes:"),
        ("  - /tests\n", "  - chat_templates\n", "excludes:"),
        ("working_dir: .\n", "", "# Deploy it"),
    ],
)
def test_code_that_would_not_be_uploaded(old, new, line, copied):
    change(copied, YAML, old, new)
    (finding,) = findings(copied)
    assert finding.check == "code-not-uploaded"
    assert (copied / YAML).read_text().splitlines()[finding.line - 1].startswith(line)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("working_dir: .", "working_dir: s3://bucket/code.zip"),
        ("working_dir: .", "working_dir: src"),
        ("working_dir: .", "working_dir: 5"),
        ("  - /tests\n", "  - 5\n"),
    ],
)
def test_what_is_not_uploaded_or_told_elsewhere_is_no_finding(old, new, copied):
    change(copied, YAML, old, new)
    assert findings(copied) == []


def test_code_that_does_not_import_the_runtime_needs_none_of_it(copied):
    (copied / "own.py").write_text("app = None\n")
    change(copied, YAML, "services.small_size_llm.serve:app", "own:app")
    change(copied, YAML, "  - /tests\n", "  - /serving\n")
    assert findings(copied) == []


def test_the_contents_are_what_the_sdk_zips(copied, tmp_path_factory):
    from zipfile import ZipFile

    from anyscale._private.workload.workload_sdk import _get_runtime_env_default_excludes
    from anyscale.utils.ray_utils import zip_directory

    write(copied, ".env", "A=1")
    write(copied, "tests/test_x.py", "pass")
    package = tmp_path_factory.mktemp("package") / "package.zip"
    zip_directory(str(copied), [*_get_runtime_env_default_excludes(), "tests"], str(package))
    zipped = {name for name in ZipFile(package).namelist() if not name.endswith("/")}
    assert {str(path.relative_to(copied)) for path in upload.contents(copied, ["tests"])} == zipped


def test_the_repository_as_it_is_cloned_has_nothing(service, project, root, tmp_path):
    if not (root / ".git").exists():
        pytest.skip("this is no clone")
    listed = subprocess.run(["git", "ls-files"], cwd=root, capture_output=True, text=True, check=True)
    for name in listed.stdout.splitlines():
        if not name.startswith("services/") and (root / name).is_file():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(root / name, tmp_path / name)
    shutil.copytree(project / "services", tmp_path / "services")
    files = ServiceFiles(tmp_path, tmp_path / "services" / service.folder.name)
    assert list(upload.findings(files)) == []
