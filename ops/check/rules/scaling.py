"""How many replicas a service gets: autoscaling that can work, and limits that have an effect."""

from collections.abc import Iterator

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


def whole(value: object, default: int) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else default


def target(files: ServiceFiles, model: Model) -> Iterator[Finding]:
    settings = autoscaling(model)
    if not settings or "target_ongoing_requests" in settings or "policy" in settings:
        return
    if most_replicas(model) > whole(settings.get("min_replicas"), 1):
        yield make_finding(
            files,
            "no-autoscaling-target",
            model.place(*AUTOSCALING),
            what=f"The autoscaling of {model.id} has no target_ongoing_requests.",
            why="Ray Serve LLM then takes 1,000,000,000 requests a replica as its target: it never adds a replica.",
            fix="Give it the requests that one replica is to have at a time, such as target_ongoing_requests=16.",
        )


def limit(files: ServiceFiles, model: Model) -> Iterator[Finding]:
    wanted = autoscaling(model).get("target_ongoing_requests")
    most = model.deployment.get("max_ongoing_requests")
    if isinstance(wanted, int | float) and isinstance(most, int | float) and most < wanted:
        yield make_finding(
            files,
            "limit-below-target",
            model.place("deployment_config", "max_ongoing_requests"),
            what=f"{model.id} takes at most {most} requests a replica, and its autoscaling aims at {wanted}.",
            why="A replica never has as many requests as autoscaling waits for, so none is ever added.",
            fix=f"Set max_ongoing_requests above {wanted}, with room for bursts.",
        )


def queue(files: ServiceFiles, model: Model) -> Iterator[Finding]:
    for name in ("max_queued_requests", "backpressure_config"):
        if name in model.deployment and "max_ongoing_requests" not in model.deployment:
            yield make_finding(
                files,
                "queue-limit-without-effect",
                model.place("deployment_config", name),
                what=f"{model.id} has {name} and no max_ongoing_requests.",
                why="Without it a replica takes 1,000,000,000 requests at a time, so none ever waits in a queue.",
                fix="Set max_ongoing_requests, or take the limit of the queue away.",
            )


def fixed_and_scaled(files: ServiceFiles, model: Model) -> Iterator[Finding]:
    if autoscaling(model) and isinstance(model.deployment.get("num_replicas"), int):
        yield make_finding(
            files,
            "replicas-fixed-and-scaled",
            model.place("deployment_config", "num_replicas"),
            what=f"{model.id} has both num_replicas and autoscaling_config.",
            why="Ray Serve refuses a deployment that has both, after the image is built and the nodes are there.",
            fix="Keep one of them.",
        )


def to_zero(files: ServiceFiles, model: Model) -> Iterator[Finding]:
    settings = autoscaling(model)
    if settings.get("min_replicas") == 0 and not any("to zero" in line.lower() for line in files.readme):
        yield make_finding(
            files,
            "scale-to-zero-without-a-note",
            model.place(*AUTOSCALING, "min_replicas"),
            what=f"{model.id} scales to zero, and the README does not say what that means for its users.",
            why="The first request after a pause waits for a node, the image, the weights and compilation: minutes. "
            "Clients give up sooner than that.",
            fix='Say under a heading with "scale to zero" in README.md how long it takes and how to warm it up, or '
            "set min_replicas=1.",
        )


def kept_nodes(files: ServiceFiles, model: Model) -> Iterator[Finding]:
    if autoscaling(model).get("min_replicas") != 0 or model is not files.model:
        return
    for index, group in enumerate(files.worker_groups):
        if whole(group.get("min_nodes"), 0) > 0:
            yield make_finding(
                files,
                "scale-to-zero-keeps-nodes",
                files.yaml.place("compute_config", "worker_nodes", index, "min_nodes"),
                what=f"{model.id} scales to zero replicas, and {group.get('name', 'a worker group')} keeps "
                f"{group['min_nodes']} nodes.",
                why="The nodes are paid for while nothing runs on them.",
                fix="Set min_nodes: 0, or min_replicas=1 where the wait for a node would be too long.",
            )


def silent_engine(files: ServiceFiles, model: Model) -> Iterator[Finding]:
    """The policy that follows the engine, of a model whose engine makes no statistics."""
    chosen = files.arguments.get("autoscaling") == "engine" and model is files.model
    policy = autoscaling(model).get("policy")
    named = isinstance(policy, dict) and str(policy.get("policy_function")).endswith("EnginePolicy")
    if (chosen or named) and model.engine.get("disable_log_stats"):
        yield make_finding(
            files,
            "engine-policy-without-numbers",
            files.yaml.place("applications", 0, "args", "autoscaling")
            if chosen
            else model.place("engine_kwargs", "disable_log_stats"),
            what=f"The number of replicas of {model.id} follows its engine's statistics, and `disable_log_stats` turns "
            "them off.",
            why="There is nothing to follow: serving/autoscaling.py refuses to build the application, or the number of "
            "requests is followed instead.",
            fix="Take disable_log_stats away, or write `autoscaling: requests`.",
        )
