"""A user edits, adds and deletes services, and nothing of ours breaks.

Each case is made in a clone of the repository, on its services/: scripts/check must find no error that was not there
before, and the quick tests of tests/services must pass. A service that the user has deleted or has written otherwise
than the edit expects is put back from tests/fixtures first.
"""

import json
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass

import pytest

from ops.local import preflight
from rehearsal.checkout import Checkout, copy_repository
from tests import project

NEW = "my-llm"
"""What scripts/new makes."""
RENAMED = "support-chat"


@dataclass(frozen=True)
class Edit:
    """What a user writes instead of something else."""

    folder: str
    file: str
    old: str
    new: str

    @property
    def service(self) -> str:
        return self.folder.replace("_", "-")

    def make(self, clone: Checkout) -> None:
        own = clone.repository / "services" / self.folder
        if not (own / self.file).is_file() or self.old not in (own / self.file).read_text():
            shutil.rmtree(own, ignore_errors=True)
            shutil.copytree(project.SERVICES / self.folder, own)
        file = own / self.file
        file.write_text(file.read_text().replace(self.old, self.new, 1))


MORE_REQUESTS = Edit("small_size_llm", "serve.py", "max_ongoing_requests=1024", "max_ongoing_requests=512")
EDITS = [
    Edit("gpt_oss", "service.yaml", "      profile: gpu", "      profile: gpu\n      routing: session"),
    Edit("hybrid_reasoning_llm", "service.yaml", "      profile: gpu", "      profile: gpu\n      autoscaling: engine"),
    Edit("medium_size_llm", "serve.py", "max_replicas=2,", "max_replicas=1,"),
    Edit("reasoning_llm", "README.md", "# ", "# Our assistants for "),
    Edit("multi_lora", "service.yaml", "max_nodes: ", "max_nodes: 1"),  # 4 becomes 14
]


@pytest.fixture(scope="module")
def clone(environment, tmp_path_factory):
    """Makes clones of the repository: HEAD, and what is not committed yet."""
    folder = tmp_path_factory.mktemp("clones")

    def make(name: str) -> Checkout:
        return Checkout(copy_repository(folder / name), environment)

    return make


@pytest.fixture(scope="module")
def known(clone) -> set[tuple[str, str]]:
    """The errors of the services as they are: those are not ours."""
    return errors(clone("as-it-is"))


def errors(clone: Checkout, *services: str) -> set[tuple[str, str]]:
    """File and sentence of each error of services, by default of all."""
    checked = clone.run("check", *services, "--json")
    found = json.loads(checked.stdout)
    assert "findings" in found, checked.stderr
    return {(one["file"], one["what"]) for one in found["findings"] if one["severity"] == "error"}


def run(clone: Checkout, *words: str) -> str:
    """Run a Python module in the clone; what it printed."""
    command = [sys.executable, "-m", *words]
    done = subprocess.run(command, cwd=clone.repository, env=clone.env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def build_all(clone: Checkout, *services: str) -> None:
    chosen = [f"--service={service}" for service in services]
    assert "passed" in run(clone, "pytest", "-q", "-p", "no:cacheprovider", "tests/services/test_builds.py", *chosen)


def keep(clone: Checkout, folder: str) -> None:
    """Delete all services but one."""
    for other in (clone.repository / "services").iterdir():
        if other.is_dir() and other.name != folder:
            shutil.rmtree(other)


def test_edits_that_the_documents_show(clone, known):
    edited = clone("edited")
    for edit in EDITS:
        edit.make(edited)
    readme = edited.repository / "README.md"
    readme.write_text("# LLMs of our company\n")
    services = [edit.service for edit in EDITS]
    assert errors(edited, *services) - known == set()
    build_all(edited, *services)


def test_one_service_is_kept_and_takes_fewer_requests(clone, known):
    alone = clone("alone")
    MORE_REQUESTS.make(alone)
    keep(alone, MORE_REQUESTS.folder)
    assert errors(alone) - known == set()
    build_all(alone)


def rename(clone: Checkout, old: str, new: str) -> None:
    """Make a service the user's own: its name, model, README and SLO."""
    shutil.copytree(project.SERVICES / old, clone.repository / "services" / new)
    folder = clone.repository / "services" / new
    for file in folder.iterdir():
        text = file.read_text().replace(old, new).replace(old.replace("_", "-"), new.replace("_", "-"))
        file.write_text(text.replace("phi-4-mini", "answers").replace("Phi-4-mini-instruct", "Phi-4-mini-reasoning"))
    serve, slo = folder / "serve.py", folder / "slo.yaml"
    entries = re.search(r"(?s)MODELS = \{\n(.*?)\n\}\n", serve.read_text())[1]
    (own,) = [entry for entry in re.split(r"(?m)^(?=    \")", entries) if '"answers"' in entry]
    text = serve.read_text().replace(entries, own.rstrip("\n"))
    serve.write_text(re.sub(r"(?m)^GATED = .*$", "GATED: set[str] = set()", text))
    for file in ("service.yaml", "probe.yaml"):
        text = (folder / file).read_text().replace("model: llama-3.1-8b", "model: answers")
        (folder / file).write_text(re.sub(r"(?m)^  HF_TOKEN:.*\n", "", text))
    slo.write_text(re.sub(r"(?m)^  ttft_p95: .*$", "  ttft_p95: 3s", slo.read_text()))
    (folder / "README.md").write_text("# Support chat\n\nAnswers our customers.\n")


def test_a_service_of_their_own_name_model_readme_and_slo(clone, known):
    renamed = clone("renamed")
    rename(renamed, "small_size_llm", RENAMED.replace("-", "_"))
    keep(renamed, RENAMED.replace("-", "_"))
    assert errors(renamed) - known == set()
    build_all(renamed)


@pytest.fixture(scope="module")
def filled(clone) -> Checkout:
    """A clone whose services are one that scripts/new has made."""
    made = clone("filled")
    origin = made.repository / "services" / "small_size_llm"
    if not origin.exists():
        shutil.copytree(project.SERVICES / origin.name, origin)
    printed = run(made, "ops.commands.new", NEW, "--model", "Qwen/Qwen3-8B", "--from", "small-size-llm")
    assert "Made services/my_llm in the shape of small-size-llm" in printed
    keep(made, NEW.replace("-", "_"))
    return made


def test_new_service_has_no_errors_and_builds(filled):
    assert errors(filled) == set()
    build_all(filled)
    run(filled, "ruff", "check", "services")
    run(filled, "ruff", "format", "--check", "services")


def test_new_service_passes_its_probe_on_the_laptop_profile(filled):
    port = str(preflight.free_port())
    run(filled, "ops.commands.dev", NEW, "--profile", "laptop", "--port", port, "--detach")
    try:
        probe = run(filled, "ops.commands.probe", NEW, "--url", f"http://127.0.0.1:{port}", "--json")
    finally:
        run(filled, "ops.commands.dev", "--stop")
    answers = json.loads(probe)
    assert answers["model"] == "qwen3-8b"
    assert all(not result["failures"] for result in answers["results"])


def test_our_unit_tests_pass_whatever_the_services_are(filled):
    """Once, in the clone that differs most: each of them fails where it opens a file of services/."""
    assert "passed" in run(filled, "pytest", "-q", "-p", "no:cacheprovider", "--numprocesses=2", "tests/unit")
