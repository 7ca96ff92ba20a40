"""What a deploy or a rollout is going to do, before it does it."""

from typing import Any

from ops.cloud import upload, version_spec
from ops.cloud.service_state import ServiceState
from ops.cloud.target import again
from ops.cloud.version_spec import Previous, VersionSpec
from ops.console.cli import CommandError
from ops.monitoring import alerts
from ops.project.catalogue import Service
from ops.rollouts.journal import Plan

GONE = "TERMINATED"


def make(
    kind: str,
    service: Service,
    new: VersionSpec,
    running: ServiceState | None,
    start_timeout_s: float,
    steps: list[int],
    bake_s: float = 0,
    slo: str | None = None,
) -> Plan:
    """The plan, with all that it takes to go back.

    Raises:
        CommandError: a rollout of the service is under way.
    """
    if running and running.canary:
        raise CommandError(
            f"A rollout of {running.name} is under way: {running.canary.name} has {running.canary.weight}% of the "
            f"traffic. Cancel it first: {again('rollback', service, new.target)}"
        )
    return Plan(
        kind=kind,
        service=service.name,
        name=new.target.name,
        cloud=new.target.cloud,
        project=new.target.project,
        version=new.version,
        steps=steps,
        bake_s=bake_s,
        start_timeout_s=start_timeout_s,
        slo=slo,
        previous=previous(service, new, running),
    )


def previous(service: Service, new: VersionSpec, running: ServiceState | None) -> Previous | None:
    if running is None or running.state == GONE:
        return None
    return version_spec.previous_of(running.primary, new.target, service.env_vars)


def text(plan: Plan, service: Service, new: VersionSpec, running: ServiceState | None) -> str:
    """The plan in lines of a name and what it is."""
    config, uploaded = new.config, upload.upload(new.config)
    lines = {
        "service": str(new.target),
        "version": plan.version,
        "image": config.get("image_uri") or f"built from {config['containerfile']}",
        "compute": compute(config.get("compute_config")),
        "upload": f"{uploaded.files} files, {uploaded.size_bytes / 1e6:.1f} MB"
        if uploaded
        else "nothing: it is there already",
        "environment": ", ".join(name for name in config.get("env_vars", {}) if name not in new.secrets),
        "secrets": ", ".join(new.secrets) or "none",
        "updates": f"{running.primary.name}, {running.state}"
        if running and plan.previous
        else "nothing: it starts a new service",
        "goes back to": goes_back_to(plan),
    }
    lines["alerts"] = alerts.in_a_plan(service)
    if len(plan.steps) > 1:
        lines["steps"] = f"{', '.join(f'{step}%' for step in plan.steps)}, {plan.bake_s:g} s each, judged by {plan.slo}"
    return "\n".join(f"{name:>12}  {value}" for name, value in lines.items())


def goes_back_to(plan: Plan) -> str:
    """The version that a rollback deploys again: this one, where the plan is a rollback."""
    if plan.kind == "rollback":
        return version_spec.name_before(plan.version)
    return plan.previous.version if plan.previous else "nothing: there is no version before"


def compute(config: Any) -> str:
    if not isinstance(config, dict):
        return config or "the cloud's default"
    nodes = config.get("worker_nodes") or []
    groups = [f"{node.get('min_nodes', 0)} to {node['max_nodes']} x {machine(node)}" for node in nodes]
    return ", ".join([f"head {machine(config.get('head_node') or {})}", *groups])


def machine(node: dict[str, Any]) -> str:
    return node.get("instance_type") or str(node.get("required_resources", "default"))
