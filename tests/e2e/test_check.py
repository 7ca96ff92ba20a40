"""scripts/check and scripts/plan, as a user runs them."""

import json
import subprocess

from ops.project import catalogue
from ops.project.catalogue import ROOT


def run(*words: str) -> subprocess.CompletedProcess:
    return subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)


def test_nothing_is_found_in_the_services_as_they_are():
    checked = run("scripts/check", "--json")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    result = json.loads(checked.stdout)
    assert result["findings"] == []
    assert result["not_checked"]


def test_every_service_has_a_plan(tmp_path):
    for service in catalogue.services():
        page = tmp_path / f"{service.name}.html"
        planned = run("scripts/plan", service.name, "--html", str(page))
        assert planned.returncode == 0, planned.stdout + planned.stderr
        assert "$/hour" in planned.stdout
        assert service.name in page.read_text()
