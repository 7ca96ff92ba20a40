"""The dashboard is a valid one of Grafana's, up to date, and provisioned where Grafana is installed."""

import json

import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

from ops.monitoring import dashboard, grafana


@pytest.fixture(scope="module")
def content() -> dict:
    return json.loads(dashboard.FILE.read_text())


def panels(content: dict) -> list[dict]:
    return [panel for panel in content["panels"] if panel["type"] != "row"]


def test_file_is_up_to_date():
    assert dashboard.FILE.read_text() == dashboard.text(), "run python -m ops.monitoring.dashboard"


def test_its_first_key_says_what_made_it(content):
    first, text = next(iter(content.items()))
    assert first == "description"
    assert text.startswith("Made by `python -m ops.monitoring.dashboard`")


def test_grafanas_own_types_read_it_and_write_it_again(content):
    read = Dashboard.from_json(content)
    assert json.loads(JSONEncoder(sort_keys=True).encode(read)) == content


def test_numbers_are_unique_and_panels_do_not_overlap(content):
    numbers = [panel["id"] for panel in content["panels"]]
    assert len(set(numbers)) == len(numbers)
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in content["panels"]]
    assert len(set(places)) == len(places)
    assert all(panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24 for panel in content["panels"])


def test_variables_that_panels_use_are_those_that_can_be_chosen(content):
    names = {variable["name"] for variable in content["templating"]["list"]}
    text = json.dumps(content["panels"])
    assert names == {"datasource", "application", "deployment", "model"}
    assert all(f"${name}" in text or f"${{{name}}}" in text for name in names)


def test_every_panel_has_a_unit_a_description_and_a_query(content):
    for panel in panels(content):
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        assert panel["description"], panel["title"]
        assert all(target["expr"] and target["legendFormat"] for target in panel["targets"]), panel["title"]


def test_grafana_is_given_the_data_source_and_the_dashboard(tmp_path):
    provisioned = grafana.provision("http://127.0.0.1:9090", tmp_path)
    (source,) = yaml.safe_load((provisioned / "datasources" / "llm.yaml").read_text())["datasources"]
    assert (source["type"], source["url"], source["isDefault"]) == ("prometheus", "http://127.0.0.1:9090", True)
    (provider,) = yaml.safe_load((provisioned / "dashboards" / "llm.yaml").read_text())["providers"]
    (copied,) = list(tmp_path.glob("dashboards/*.json"))
    assert provider["options"]["path"] == str(copied.parent)
    assert copied.read_text() == dashboard.FILE.read_text()


def test_without_grafana_it_says_how_to_get_it(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not grafana.is_installed()
    assert "docs/dashboard.json" in grafana.HOW_TO_GET_IT
