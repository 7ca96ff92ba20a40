"""Limits in seconds that are shorter than what they limit."""

import math
from collections.abc import Iterator
from typing import Any

from ops.check import registry
from ops.check.finding import Finding, make_finding
from ops.project.serve_py import Model
from ops.project.service_files import ServiceFiles
from ops.sizing import cold_start

GRACEFUL_SHUTDOWN_S = 20  # Ray Serve's default
HARD_STOP_S = 120  # Ray Serve's default for HAProxy
READY_S = 600  # vLLM's default
ENGINE_START_S = 3600  # Ray Serve LLM's default
COMPILE_AND_CAPTURE_S = 300  # measured on H200 with vLLM 0.26.0: 75 to 200 s; the rest is a reserve
IMPATIENT_S = 3  # guess: a replica that tokenises a long prompt does not answer its health check for about a second


def findings(files: ServiceFiles) -> Iterator[Finding]:
    for model in files.models.values():
        yield from shutdown(files, model)
        yield from proxy(files, model)
        yield from health(files, model)
        yield from start(files, model)


def number(value: Any) -> float | None:
    """The number that an environment variable or a field holds; None where it holds none."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def seconds(model: Model, name: str, default: float) -> float:
    found = number(model.deployment.get(name, default))
    return default if found is None else found


def longest_answer_s(files: ServiceFiles) -> float | None:
    """How long the longest answer that the probe asks for may take, at the least speed that the SLO allows."""
    checks = files.probe.get("checks", default=[])
    requests = [check.get("request") for check in checks if isinstance(check, dict)] if isinstance(checks, list) else []
    asked = [number(request.get("max_tokens")) for request in requests if isinstance(request, dict)]
    speed = number(str(files.slo.get("objectives", "tokens_per_second", default="")).removesuffix("tokens/s"))
    tokens = [count for count in asked if count]
    return max(tokens) / speed if tokens and speed else None


def shutdown(files: ServiceFiles, model: Model) -> Iterator[Finding]:
    given = seconds(model, "graceful_shutdown_timeout_s", GRACEFUL_SHUTDOWN_S)
    longest = longest_answer_s(files)
    if longest and given < longest:
        yield make_finding(
            files,
            registry.SHUTDOWN_CUTS_ANSWERS,
            model.place("deployment_config", "graceful_shutdown_timeout_s"),
            what=f"A stopping replica of {model.id} gets {given:g} s, and the longest answer that probe.yaml asks for "
            f"takes {longest:.0f} s at the speed that its SLO allows.",
            fix=f"Set graceful_shutdown_timeout_s to at least {math.ceil(longest)}; real answers may be longer still.",
        )


def proxy(files: ServiceFiles, model: Model) -> Iterator[Finding]:
    if files.env_vars.get("RAY_SERVE_ENABLE_HA_PROXY") != "1":
        return
    name = "RAY_SERVE_HAPROXY_HARD_STOP_AFTER_S"
    given, needed = number(files.env_vars.get(name, HARD_STOP_S)), seconds(model, "graceful_shutdown_timeout_s", 20)
    if given is not None and given < needed:
        yield make_finding(
            files,
            registry.PROXY_CUTS_STREAMS,
            files.yaml.place("env_vars", name),
            what=f"{name} is {given:g}, and a stopping replica of {model.id} gets {needed:g} s.",
            fix=f'Set {name}: "{needed:g}" in env_vars, as long as graceful_shutdown_timeout_s.',
        )


def health(files: ServiceFiles, model: Model) -> Iterator[Finding]:
    given = number(model.deployment.get("health_check_timeout_s"))
    if given is not None and given < IMPATIENT_S:
        yield make_finding(
            files,
            registry.HEALTH_CHECK_TOO_IMPATIENT,
            model.place("deployment_config", "health_check_timeout_s"),
            what=f"A health check of {model.id} fails after {given:g} s.",
        )


def start(files: ServiceFiles, model: Model) -> Iterator[Finding]:
    facts = files.facts.get(model.source)
    if facts is None:
        return
    size, speed = cold_start.checkpoint_bytes(facts), cold_start.DOWNLOAD_BYTES_PER_S
    needed = size / speed + COMPILE_AND_CAPTURE_S
    for name, default in (("VLLM_ENGINE_READY_TIMEOUT_S", READY_S), ("RAYLLM_ENGINE_START_TIMEOUT_S", ENGINE_START_S)):
        given = number(files.env_vars.get(name, default))
        if given is not None and given < needed:
            yield make_finding(
                files,
                registry.START_TIMEOUT_TOO_SHORT,
                files.yaml.place("env_vars", name),
                what=f"{name} is {given:g}, and {model.id} takes about {needed:.0f} s to start.",
                why=f"{size / 1e9:.0f} GB of weights come from the hub at some {speed / 1e6:.0f} MB/s "
                f"(a guess), and compilation takes up to {COMPILE_AND_CAPTURE_S} s. A start that takes longer than the "
                "limit is given up, and begun again from nothing.",
                fix=f'Set {name}: "{round_up(needed * 1.5)}" in env_vars.',
            )


def round_up(duration_s: float) -> int:
    """The next multiple of ten minutes."""
    return math.ceil(duration_s / 600) * 600
