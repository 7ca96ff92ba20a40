"""scripts/check and scripts/plan, as a user runs them, with the services of tests/fixtures."""

import json

from ops.project.catalogue import Service
from tests import project


def test_nothing_is_found_in_services_without_a_fault(checkout):
    checked = checkout.run("check", "--json")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    result = json.loads(checked.stdout)
    assert result["findings"] == []
    assert result["not_checked"]


def test_every_service_has_a_plan(checkout, tmp_path):
    for service in [Service(file.parent) for file in project.SERVICES.glob("*/service.yaml")]:
        page = tmp_path / f"{service.name}.html"
        planned = checkout.run("plan", service.name, "--html", str(page))
        assert planned.returncode == 0, planned.stdout + planned.stderr
        assert "$/hour" in planned.stdout
        assert service.name in page.read_text()
