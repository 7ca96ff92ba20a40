"""The alert rules of a service: a Prometheus rule file made from its SLO file."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import yaml

from ops.console.cli import CommandError
from ops.monitoring.promql import INTER_TOKEN, TPOT, TTFT, Scope
from ops.project import slo
from ops.project.catalogue import Service
from ops.project.slo import Objectives

RUNBOOK = "docs/monitoring.md"

FEWEST = 20
"""Requests in the window below which no percentile is judged: the slowest of fewer is their p95."""
ERRORS_TO_WAKE_FOR = 0.05  # guess: one request in twenty
FULL = 0.95  # of the KV cache; vLLM admits until it is full, so a busy engine is often above 0.9


@dataclass(frozen=True)
class Alert:
    name: str
    expression: str
    lasting: str
    """How long the expression must hold, such as `5m`."""
    severity: Literal["page", "ticket"]
    """`page` wakes somebody, `ticket` waits for the morning."""
    summary: str
    """What is wrong and what to do first; Prometheus fills in `{{ $labels.x }}` and `{{ $value }}`."""
    percentile: str = ""

    def rule(self, service: str) -> dict:
        labels = {"severity": self.severity, "service": service}
        return {
            "alert": self.name,
            "expr": self.expression,
            "for": self.lasting,
            "labels": labels | ({"percentile": self.percentile} if self.percentile else {}),
            "annotations": {"summary": self.summary, "runbook": f"{RUNBOOK}#{self.name.lower()}"},
        }


def of_service(service: Service) -> list[Alert]:
    """The alerts of a service, made from its SLO.

    Raises:
        CommandError: its slo.yaml is not there, or is not an SLO file; the message names each fault.
    """
    return list(alerts(service.application["name"], slo.load(service.slo_file).objectives))


def text(service: Service) -> str:
    """The Prometheus rule file of a service. Raises CommandError, as `of_service` does."""
    rules = [alert.rule(service.name) for alert in of_service(service)]
    head = f"# Made by scripts/monitoring from services/{service.folder.name}/slo.yaml.\n"
    return head + yaml.dump(
        {"groups": [{"name": service.name, "rules": rules}]}, Dumper=Dumper, sort_keys=False, width=10_000
    )


def in_a_plan(service: Service) -> str:
    """What the plan of a deploy says of the alerts: how many there are, and how to get them."""
    try:
        count = len(of_service(service))
    except CommandError as error:
        return f"none. {error}"
    return f"{count} rules from slo.yaml; write them: scripts/monitoring {service.name}"


class Dumper(yaml.SafeDumper):
    """Long texts as blocks, so that expressions read as they are written."""


def block(dumper: Dumper, value: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)


Dumper.add_representer(str, block)


def alerts(application: str, objectives: Objectives) -> Iterator[Alert]:
    scope = Scope(application=f'application="{application}"', window="10m")
    yield from latencies(scope, objectives)
    yield from errors(scope, objectives)
    yield from saturation(scope)
    yield from replicas(scope)
    yield from no_metrics(scope)


def latencies(scope: Scope, objectives: Objectives) -> Iterator[Alert]:
    """What the SLO says of time, judged over 10 minutes that had enough requests."""
    for histogram, name, what, first in (
        (TTFT, "ttft", "the first token", "Look whether requests queue: if so, add replicas."),
        (
            INTER_TOKEN,
            "inter_token",
            "the next token",
            "Look at the batch size: fewer requests per replica are faster.",
        ),
    ):
        for percentile, share, severity in (("p50", 0.5, "page"), ("p95", 0.95, "ticket")):
            most = getattr(objectives, f"{name}_{percentile}")
            if most is not None:
                yield Alert(
                    name="LLMFirstTokenLate" if name == "ttft" else "LLMTokensSlow",
                    expression=f"{scope.quantile(share, histogram)} > {most:g}\nand {scope.observed(TTFT)} >= {FEWEST}",
                    lasting="5m",
                    severity=severity,
                    percentile=percentile,
                    summary=f"{{{{ $labels.model_name }}}}: {percentile} of the time to {what} is "
                    f"{{{{ $value | humanizeDuration }}}}, and the SLO allows {most:g} s. {first}",
                )
    if objectives.tokens_per_second:
        yield Alert(
            name="LLMAnswersSlow",
            expression=f"1 / {scope.quantile(0.5, TPOT)} < {objectives.tokens_per_second:g}\n"
            f"and {scope.observed(TPOT)} >= {FEWEST}",
            lasting="5m",
            severity="ticket",
            summary="{{ $labels.model_name }}: the median answer comes with {{ $value | humanize }} tokens/s, and the "
            f"SLO asks for {objectives.tokens_per_second:g}. Fewer requests per replica make it faster.",
        )


def errors(scope: Scope, objectives: Objectives) -> Iterator[Alert]:
    failing = "{{ $value | humanizePercentage }} of the requests fail"
    yield Alert(
        name="LLMErrors",
        expression=f"{scope.error_share} > {objectives.errors:g}",
        lasting="5m",
        severity="ticket",
        summary=f"{failing}, and the SLO allows {objectives.errors * 100:g}%. See which status, and read the log.",
    )
    yield Alert(
        name="LLMManyErrors",
        expression=f"{scope.error_share} > {max(ERRORS_TO_WAKE_FOR, objectives.errors):g}",
        lasting="2m",
        severity="page",
        summary=f"{failing}. If a version was rolled out: scripts/rollback. Else read the log.",
    )


def saturation(scope: Scope) -> Iterator[Alert]:
    waiting = f"sum by (model_name) ({scope.engine('num_requests_waiting')})"
    yield Alert(
        name="LLMQueueGrows",
        expression=f"deriv(({waiting})[10m:1m]) > 0\nand min_over_time(({waiting})[10m:1m]) > 0",
        lasting="5m",
        severity="page",
        summary="{{ $labels.model_name }}: requests have waited in vLLM's queue for 10 minutes, and become more. Add "
        "replicas, or turn load away.",
    )
    full = f"max by (model_name) ({scope.engine('kv_cache_usage_perc')})"
    preempted = f"sum by (model_name) ({scope.engine_increase('num_preemptions_total')})"
    yield Alert(
        name="LLMKvCacheFull",
        expression=f"{full} > {FULL}\nand {preempted} > 0",
        lasting="5m",
        severity="ticket",
        summary="{{ $labels.model_name }}: the KV cache is {{ $value | humanizePercentage }} full, and vLLM computes "
        "answers twice because it took their cache away. Lower max_num_seqs or max_model_len, or add replicas.",
    )


def replicas(scope: Scope) -> Iterator[Alert]:
    wanted = f"sum by (deployment) ({scope.serve('autoscaling_target_replicas')})"
    healthy = f"sum by (deployment) ({scope.serve('deployment_replica_healthy')})"
    yield Alert(
        name="LLMNoReplica",
        expression=f"({healthy} or 0 * {wanted}) == 0 and {wanted} > 0",
        lasting="2m",
        severity="page",
        summary="{{ $labels.deployment }} has no healthy replica. Read what scripts/status and its log say.",
    )
    yield Alert(
        name="LLMReplicasMissing",
        expression=f"{wanted} - ({healthy} or 0 * {wanted}) > 0",
        lasting="30m",
        severity="ticket",
        summary="{{ $labels.deployment }} has {{ $value }} replicas fewer than it wants, for 30 minutes. Look whether "
        "nodes are missing (quota, no machines) or replicas fail to start.",
    )
    yield Alert(
        name="LLMReplicaUnhealthy",
        expression=f"sum by (deployment) ({scope.increase(scope.serve('health_check_failures_total'))}) > 0",
        lasting="0m",
        severity="ticket",
        summary="A replica of {{ $labels.deployment }} fails its health check: its engine died or hangs, and Serve "
        "replaces it. Read its log for the cause.",
    )
    yield Alert(
        name="LLMApplicationFailed",
        expression=f"{scope.serve('application_status')} == 1 or {scope.serve('application_status')} == 2",
        lasting="2m",
        severity="page",
        summary="The application is in state {{ $value }}: 1, its deployment failed; 2, it is unhealthy. Read what "
        "scripts/status says; after a rollout: scripts/rollback.",
    )


def no_metrics(scope: Scope) -> Iterator[Alert]:
    yield Alert(
        name="LLMNoMetrics",
        expression=f"absent({scope.serve('application_status')})",
        lasting="10m",
        severity="page",
        summary="There are no metrics for this service: its cluster is gone, or nothing scrapes it. No other alert "
        "of it can fire. Check whether it answers.",
    )
    answered = scope.increase(scope.serve("num_http_requests_total", 'method="POST"', 'status_code="200"'))
    yield Alert(
        name="LLMNoEngineMetrics",
        expression=f"sum({answered}) > 0\nunless count({scope.engine('num_requests_running')}) > 0",
        lasting="10m",
        severity="ticket",
        summary="Requests are answered and vLLM measures nothing, so no alert on latency, queue or cache can fire. "
        "Look at log_engine_metrics in serve.py.",
    )
