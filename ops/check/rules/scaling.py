"""How many replicas a service gets: autoscaling that can work, and limits that have an effect."""

from collections.abc import Iterator

from ops.check import registry
from ops.check.finding import Finding, make_finding
from ops.project.serve_py import Model
from ops.project.service_files import ServiceFiles

AUTOSCALING = ("deployment_config", "autoscaling_config")


def findings(files: ServiceFiles) -> Iterator[Finding]:
    for model in files.models.values():
        yield from target(files, model)
        yield from limit(files, model)
        yield from queue(files, model)
        yield from fixed_and_scaled(files, model)
        yield from to_zero(files, model)
        yield from kept_nodes(files, model)
        yield from silent_engine(files, model)


def autoscaling(model: Model) -> dict:
    settings = model.get(*AUTOSCALING)
    return settings if isinstance(settings, dict) else {}


def most_replicas(model: Model) -> int:
    """The replicas that a model may have; 1 where nothing is said, which is Serve's default."""
    if settings := autoscaling(model):
        return whole(settings.get("max_replicas"), 1)
    return whole(model.deployment.get("num_replicas"), 1)


def least_replicas(model: Model) -> int:
    """The replicas that a model starts with, all of which must run before the service does."""
    if settings := autoscaling(model):
        return whole(settings.get("initial_replicas"), whole(settings.get("min_replicas"), 1))
    return whole(model.deployment.get("num_replicas"), 1)


def whole(value: object, default: int) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else default


def target(files: ServiceFiles, model: Model) -> Iterator[Finding]:
    settings = autoscaling(model)
    if not settings or "target_ongoing_requests" in settings or "policy" in settings:
        return
    if most_replicas(model) > whole(settings.get("min_replicas"), 1):
        yield make_finding(
            files,
            registry.NO_AUTOSCALING_TARGET,
            model.place(*AUTOSCALING),
            what=f"The autoscaling of {model.id} has no target_ongoing_requests.",
        )


def limit(files: ServiceFiles, model: Model) -> Iterator[Finding]:
    wanted = autoscaling(model).get("target_ongoing_requests")
    most = model.deployment.get("max_ongoing_requests")
    if isinstance(wanted, int | float) and isinstance(most, int | float) and most < wanted:
        yield make_finding(
            files,
            registry.LIMIT_BELOW_TARGET,
            model.place("deployment_config", "max_ongoing_requests"),
            what=f"{model.id} takes at most {most} requests a replica, and its autoscaling aims at {wanted}.",
            fix=f"Set max_ongoing_requests above {wanted}, with room for bursts.",
        )


def queue(files: ServiceFiles, model: Model) -> Iterator[Finding]:
    for name in ("max_queued_requests", "backpressure_config"):
        if name in model.deployment and "max_ongoing_requests" not in model.deployment:
            yield make_finding(
                files,
                registry.QUEUE_LIMIT_WITHOUT_EFFECT,
                model.place("deployment_config", name),
                what=f"{model.id} has {name} and no max_ongoing_requests.",
            )


def fixed_and_scaled(files: ServiceFiles, model: Model) -> Iterator[Finding]:
    if autoscaling(model) and isinstance(model.deployment.get("num_replicas"), int):
        yield make_finding(
            files,
            registry.REPLICAS_FIXED_AND_SCALED,
            model.place("deployment_config", "num_replicas"),
            what=f"{model.id} has both num_replicas and autoscaling_config.",
        )


def to_zero(files: ServiceFiles, model: Model) -> Iterator[Finding]:
    settings = autoscaling(model)
    if settings.get("min_replicas") == 0 and not any("to zero" in line.lower() for line in files.readme):
        yield make_finding(
            files,
            registry.SCALE_TO_ZERO_WITHOUT_A_NOTE,
            model.place(*AUTOSCALING, "min_replicas"),
            what=f"{model.id} scales to zero, and the README does not say what that means for its users.",
        )


def kept_nodes(files: ServiceFiles, model: Model) -> Iterator[Finding]:
    if autoscaling(model).get("min_replicas") != 0 or model is not files.model:
        return
    for index, group in enumerate(files.worker_groups):
        if whole(group.get("min_nodes"), 0) > 0:
            yield make_finding(
                files,
                registry.SCALE_TO_ZERO_KEEPS_NODES,
                files.yaml.place("compute_config", "worker_nodes", index, "min_nodes"),
                what=f"{model.id} scales to zero replicas, and {group.get('name', 'a worker group')} keeps "
                f"{group['min_nodes']} nodes.",
            )


def silent_engine(files: ServiceFiles, model: Model) -> Iterator[Finding]:
    """The policy that follows the engine, of a model whose engine makes no statistics."""
    chosen = files.arguments.get("autoscaling") == "engine" and model is files.model
    policy = autoscaling(model).get("policy")
    named = isinstance(policy, dict) and str(policy.get("policy_function")).endswith("EnginePolicy")
    if (chosen or named) and model.engine.get("disable_log_stats"):
        yield make_finding(
            files,
            registry.ENGINE_POLICY_WITHOUT_STATISTICS,
            files.yaml.place("applications", 0, "args", "autoscaling")
            if chosen
            else model.place("engine_kwargs", "disable_log_stats"),
            what=f"The number of replicas of {model.id} follows its engine's statistics, and `disable_log_stats` turns "
            "them off.",
        )
