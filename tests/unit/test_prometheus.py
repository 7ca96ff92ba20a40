"""Prometheus on this machine: where it is taken from, and what is said where it cannot be had."""

import pytest

from ops.console.cli import CommandError
from ops.monitoring import alerts, prometheus
from ops.project import catalogue


@pytest.fixture
def empty_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(prometheus, "FOLDER", tmp_path / "cache" / "prometheus")
    return tmp_path


def executable(folder, name):
    folder.mkdir(exist_ok=True)
    (folder / name).write_text("#!/bin/sh\n")
    (folder / name).chmod(0o755)
    return folder / name


def test_those_of_the_path_come_first(empty_cache, monkeypatch):
    found = [executable(empty_cache / "bin", name) for name in ("prometheus", "promtool")]
    monkeypatch.setenv("PATH", str(empty_cache / "bin"))
    assert prometheus.get() == prometheus.Tools(*found)


def test_without_apt_it_says_how_to_get_it(empty_cache, monkeypatch):
    monkeypatch.setenv("PATH", str(empty_cache))
    with pytest.raises(CommandError, match=r"prometheus\.io"):
        prometheus.get()


def test_a_package_that_cannot_be_fetched_leaves_nothing_behind(empty_cache, monkeypatch):
    for name in ("apt-get", "dpkg-deb"):
        executable(empty_cache / "bin", name).write_text("#!/bin/sh\necho 'no network here' >&2\nexit 100\n")
    monkeypatch.setenv("PATH", f"{empty_cache / 'bin'}:/bin:/usr/bin")
    monkeypatch.setattr(prometheus, "tools", lambda: None)  # the machine's own may be on PATH
    with pytest.raises(CommandError, match="no network here"):
        prometheus.get()
    assert not list((empty_cache / "cache").glob("prometheus*/*"))


@pytest.fixture
def tools(prometheus_tools) -> prometheus.Tools:
    if prometheus_tools is None:
        pytest.skip(prometheus.HOW_TO_GET_IT)
    return prometheus_tools


def test_it_evaluates_the_rules_and_refuses_what_is_no_query(tools, tmp_path):
    rules = tmp_path / "small-size-llm.rules.yaml"
    rules.write_text(alerts.text(catalogue.find("small-size-llm")))
    server, process = prometheus.start(["127.0.0.1:9"], [rules], tmp_path, tools)
    try:
        assert {rule["name"] for rule in server.rules("small-size-llm")} >= {"LLMNoMetrics", "LLMFirstTokenLate"}
        with pytest.raises(ValueError, match="parse error"):
            server.query("sum(")
    finally:
        process.terminate()
        process.wait()


def test_one_that_does_not_start_says_why(tools, tmp_path):
    broken = tmp_path / "rules.yaml"
    broken.write_text("groups: [{name: x, rules: [{alert: x, expr: 'sum('}]}]")
    with pytest.raises(CommandError, match="did not start"):
        prometheus.start([], [broken], tmp_path, tools)
