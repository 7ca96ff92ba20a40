"""Each alert rule fires when it should and not otherwise, by promtool's own evaluation of made-up series."""

import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml

from ops.commands import monitoring
from ops.console.cli import CommandError
from ops.monitoring import alerts
from ops.monitoring.beside import Watch
from ops.project.catalogue import Service, find, services
from tests.planted import change

SERVICE = find("small-size-llm")
APPLICATION = 'application="small-size-llm"'
SERVER = f'{APPLICATION}, deployment="LLMServer:llama-3_1-8b"'
MODEL = 'model_name="llama-3.1-8b", ReplicaId="a1"'

HEALTHY = {f'ray_serve_deployment_replica_healthy{{{SERVER}, replica="a1"}}': "1x90"}
WANTED = {f"ray_serve_autoscaling_target_replicas{{{SERVER}}}": "1x90"}
RUNNING = {f"ray_serve_application_status{{{APPLICATION}}}": "6x90"}
ENGINE = {f"ray_vllm_num_requests_running{{{MODEL}}}": "2x90"}
FINE = HEALTHY | WANTED | RUNNING | ENGINE


def histogram(name: str, value: float, per_minute: int, model: str = MODEL) -> dict[str, str]:
    """Samples of `value` that come with a steady rate."""
    bounds = [0.01, 0.05, 0.1, 0.2, 0.5, 1.0, 2.5, 5.0]
    counts = {f"{bound:g}": per_minute if value <= bound else 0 for bound in bounds} | {"+Inf": per_minute}
    buckets = {f'ray_vllm_{name}_bucket{{{model}, le="{le}"}}': f"0+{count}x90" for le, count in counts.items()}
    return buckets | {f"ray_vllm_{name}_count{{{model}}}": f"0+{per_minute}x90"}


def answers(per_minute: dict[str, int], application: str = f'{APPLICATION}, method="POST"') -> dict[str, str]:
    """Requests by status."""
    return {
        f'ray_serve_num_http_requests_total{{{application}, status_code="{status}", route="/"}}': f"0+{count}x90"
        for status, count in per_minute.items()
    }


TTFT, INTER_TOKEN, TPOT = (
    "time_to_first_token_seconds",
    "inter_token_latency_seconds",
    "request_time_per_output_token_seconds",
)
FAST = histogram(TTFT, 0.1, 5)


@dataclass(frozen=True)
class Case:
    alert: str
    why: str
    series: dict[str, str]
    fires: set[str] = field(default_factory=set)
    """The percentiles for which it fires, "" for an alert without; empty where it does not fire."""

    def __str__(self) -> str:
        return f"{self.alert}: {self.why}"


CASES = [
    Case("LLMFirstTokenLate", "0.4 s", FINE | histogram(TTFT, 0.4, 5)),
    Case("LLMFirstTokenLate", "0.7 s, over the median's", FINE | histogram(TTFT, 0.7, 5), {"p50"}),
    Case("LLMFirstTokenLate", "5 s, over both", FINE | histogram(TTFT, 4, 5), {"p50", "p95"}),
    Case("LLMFirstTokenLate", "5 s, but one request a minute", FINE | histogram(TTFT, 4, 1)),
    Case(
        "LLMFirstTokenLate",
        "5 s at a replica of another application",
        FINE | histogram(TTFT, 4, 5, 'model_name="llama-3.1-8b", ReplicaId="b2"'),
    ),
    Case("LLMTokensSlow", "0.04 s", FINE | FAST | histogram(INTER_TOKEN, 0.04, 500)),
    Case("LLMTokensSlow", "0.15 s, over the median's", FINE | FAST | histogram(INTER_TOKEN, 0.15, 500), {"p50"}),
    Case("LLMTokensSlow", "0.4 s, over both", FINE | FAST | histogram(INTER_TOKEN, 0.4, 500), {"p50", "p95"}),
    Case("LLMAnswersSlow", "20 tokens/s", FINE | histogram(TPOT, 0.05, 5)),
    Case("LLMAnswersSlow", "5 tokens/s", FINE | histogram(TPOT, 0.2, 5), {""}),
    Case("LLMAnswersSlow", "5 tokens/s, but one answer a minute", FINE | histogram(TPOT, 0.2, 1)),
    Case("LLMErrors", "none", FINE | answers({"200": 60})),
    Case("LLMErrors", "one in a hundred", FINE | answers({"200": 99, "500": 1}), {""}),
    Case("LLMErrors", "wrong requests and clients that hung up", FINE | answers({"200": 9, "400": 5, "499": 5})),
    Case("LLMErrors", "of another application", FINE | answers({"503": 60}, 'application="other"')),
    Case("LLMErrors", "no requests", FINE | answers({"200": 0})),
    Case(
        "LLMErrors",
        "the first that ever failed",
        FINE
        | answers({"200": 60})
        | {f'ray_serve_num_http_requests_total{{{APPLICATION}, status_code="500", route="/"}}': "_x83 1x6"},
        {""},
    ),
    Case("LLMManyErrors", "one in a hundred", FINE | answers({"200": 99, "500": 1})),
    Case("LLMManyErrors", "one in ten", FINE | answers({"200": 90, "503": 10}), {""}),
    Case("LLMManyErrors", "all of them", FINE | answers({"503": 10}), {""}),
    Case("LLMQueueGrows", "it grows", FINE | {f"ray_vllm_num_requests_waiting{{{MODEL}}}": "1+1x90"}, {""}),
    Case("LLMQueueGrows", "it is long and shrinks", FINE | {f"ray_vllm_num_requests_waiting{{{MODEL}}}": "99-1x90"}),
    Case(
        "LLMQueueGrows", "it empties now and then", FINE | {f"ray_vllm_num_requests_waiting{{{MODEL}}}": "0 9 8 0" * 20}
    ),
    Case(
        "LLMKvCacheFull",
        "full, and answers lose theirs",
        FINE
        | {
            f"ray_vllm_kv_cache_usage_perc{{{MODEL}}}": "0.99x90",
            f"ray_vllm_num_preemptions_total{{{MODEL}}}": "1+1x90",
        },
        {""},
    ),
    Case("LLMKvCacheFull", "full", FINE | {f"ray_vllm_kv_cache_usage_perc{{{MODEL}}}": "0.99x90"}),
    Case("LLMNoReplica", "one of one", FINE),
    Case("LLMNoReplica", "none of one", WANTED | RUNNING | dict.fromkeys(HEALTHY, "0x90"), {""}),
    Case("LLMNoReplica", "none, and none was there before", WANTED | RUNNING, {""}),
    Case("LLMNoReplica", "none is wanted", RUNNING | dict.fromkeys(WANTED, "0x90")),
    Case("LLMReplicasMissing", "one of one", FINE),
    Case("LLMReplicasMissing", "one of three", FINE | dict.fromkeys(WANTED, "3x90"), {""}),
    Case("LLMReplicasMissing", "one of three, for 20 minutes", FINE | dict.fromkeys(WANTED, "1x60 3x20 1x10")),
    Case(
        "LLMReplicaUnhealthy", "no check failed", FINE | {f"ray_serve_health_check_failures_total{{{SERVER}}}": "3x90"}
    ),
    Case(
        "LLMReplicaUnhealthy",
        "checks fail",
        FINE | {f"ray_serve_health_check_failures_total{{{SERVER}}}": "0x80 1+1x9"},
        {""},
    ),
    Case(
        "LLMReplicaUnhealthy",
        "the first that ever failed",
        FINE | {f"ray_serve_health_check_failures_total{{{SERVER}}}": "_x85 3x4"},
        {""},
    ),
    Case("LLMApplicationFailed", "it runs", FINE),
    Case("LLMApplicationFailed", "it is deployed", FINE | dict.fromkeys(RUNNING, "5x90")),
    Case("LLMApplicationFailed", "its deployment failed", FINE | dict.fromkeys(RUNNING, "1x90"), {""}),
    Case("LLMApplicationFailed", "it is unhealthy", FINE | dict.fromkeys(RUNNING, "2x90"), {""}),
    Case("LLMNoMetrics", "they are there", FINE),
    Case("LLMNoMetrics", "none", {}, {""}),
    Case("LLMNoMetrics", "of another application", {'ray_serve_application_status{application="other"}': "6x90"}, {""}),
    Case("LLMNoEngineMetrics", "they are there", FINE | answers({"200": 5})),
    Case("LLMNoEngineMetrics", "Serve's only", HEALTHY | WANTED | RUNNING | answers({"200": 5}), {""}),
    Case("LLMNoEngineMetrics", "none yet, for nobody has asked", HEALTHY | WANTED | RUNNING),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_alert_fires_when_it_should(case, promtool, tmp_path):
    fired = f'count by (percentile) (ALERTS{{alertname="{case.alert}", alertstate="firing"}})'
    label = {"": ""} | {percentile: f'percentile="{percentile}"' for percentile in case.fires if percentile}
    expected = [{"labels": f"{{{label[percentile]}}}", "value": 1} for percentile in sorted(case.fires)]
    series = [{"series": name, "values": values} for name, values in case.series.items()]
    check = {"expr": fired, "eval_time": "90m", "exp_samples": expected}
    file = tmp_path / "test.yaml"
    file.write_text(
        yaml.safe_dump(
            {
                "rule_files": [str(rule_file(SERVICE, tmp_path))],
                "tests": [{"interval": "1m", "input_series": series, "promql_expr_test": [check]}],
            }
        )
    )
    tested = subprocess.run([promtool, "test", "rules", file], capture_output=True, text=True, check=False)
    assert tested.returncode == 0, tested.stdout + tested.stderr


def test_every_alert_is_seen_to_fire_and_not_to():
    names = {rule["alert"] for rule in rules(alerts.text(SERVICE))}
    assert {case.alert for case in CASES if case.fires} == {case.alert for case in CASES if not case.fires} == names


def rules(text: str) -> list[dict]:
    return yaml.safe_load(text)["groups"][0]["rules"]


def rule_file(service: Service, folder: Path) -> Path:
    file = folder / "rules.yaml"
    file.write_text(alerts.text(service))
    return file


def test_promtool_finds_no_fault_in_the_rules(service, promtool, tmp_path):
    checked = subprocess.run(
        [promtool, "check", "rules", "--lint=all", "--lint-fatal", rule_file(service, tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_every_alert_has_its_paragraph_of_what_to_do(service, root):
    headings = {
        line.removeprefix("### ").lower()
        for line in (root / "docs" / "monitoring.md").read_text().splitlines()
        if line.startswith("### ")
    }
    for rule in rules(alerts.text(service)):
        file, _, anchor = rule["annotations"]["runbook"].partition("#")
        assert file == "docs/monitoring.md"
        assert anchor in headings, rule["alert"]


# What scripts/monitoring writes, and the plan of a deploy says


@pytest.fixture
def folder(monkeypatch, tmp_path):
    """Where scripts/monitoring writes, with what it prints relative to it."""
    monkeypatch.setattr(monitoring, "ROOT", tmp_path)
    monkeypatch.setattr(monitoring, "FOLDER", tmp_path / "alerts")
    return tmp_path / "alerts"


def test_the_rules_of_the_services_named_are_written(folder, capsys):
    monitoring.monitoring(["small-size-llm", "gpt_oss"])
    assert sorted(file.name for file in folder.iterdir()) == ["gpt-oss.yaml", "small-size-llm.yaml"]
    assert (folder / "small-size-llm.yaml").read_text() == alerts.text(SERVICE)
    assert "Wrote alerts/small-size-llm.yaml" in capsys.readouterr().out


def test_the_rules_of_all_services_are_written_where_none_is_named(folder):
    monitoring.monitoring()
    assert {file.stem for file in folder.iterdir()} == {service.name for service in services()}


@pytest.fixture
def broken(copied) -> list[Service]:
    """A service without an SLO file, and one whose SLO file has an unknown key."""
    missing, unknown = (Service(copied / "services" / name) for name in ("gpt_oss", "small_size_llm"))
    missing.slo_file.unlink()
    change(copied, "services/small_size_llm/slo.yaml", "ttft_p50", "ttft_p51")
    return [missing, unknown]


def test_slo_files_that_are_missing_or_wrong_are_all_named_and_nothing_is_written(broken, folder, monkeypatch):
    monkeypatch.setattr(monitoring.catalogue, "services", lambda: [*broken, SERVICE])
    with pytest.raises(CommandError, match=r"(?s)gpt_oss/slo\.yaml cannot be read.*objectives\.ttft_p51"):
        monitoring.monitoring()
    assert not folder.exists()


def test_a_repository_without_services_says_how_to_make_one(folder, monkeypatch):
    monkeypatch.setattr(monitoring.catalogue, "services", list)
    with pytest.raises(CommandError, match="scripts/new"):
        monitoring.monitoring()


def test_the_plan_of_a_deploy_says_how_many_rules_there_are():
    assert alerts.in_a_plan(SERVICE) == (
        f"{len(rules(alerts.text(SERVICE)))} rules from slo.yaml; write them: scripts/monitoring small-size-llm"
    )


def test_the_plan_of_a_deploy_says_why_there_are_none(broken):
    assert [alerts.in_a_plan(service).split(".")[0] for service in broken] == ["none", "none"]
    assert "cannot be read: No such file or directory" in alerts.in_a_plan(broken[0])


def test_a_run_with_monitoring_is_refused_before_its_engine_starts(broken):
    with pytest.raises(CommandError, match=r"slo\.yaml cannot be read"):
        Watch().get_ready(broken[0], waiting_for=lambda _: None)
