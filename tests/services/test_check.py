"""scripts/check finds no error in the services."""

import json

from ops.project.catalogue import Service
from tests.running import Run


def test_check_finds_no_error(services: list[Service], scripts: Run):
    """Once for all of them: most of what a check takes is imports."""
    checked = scripts("check", *(service.name for service in services), "--json")
    result = json.loads(checked.stdout or "{}")
    assert "findings" in result, checked.stderr
    errors = [one for one in result["findings"] if one["severity"] == "error"]
    assert not errors, "\n".join(f"{one['file']}:{one['line']} {one['what']} Fix: {one['fix']}" for one in errors)
