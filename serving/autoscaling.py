"""How many replicas a model gets: `args: autoscaling=...` of every service.

`requests` is Serve's own policy, the number of requests; `engine` follows vLLM's queue and KV cache.
docs/routing-and-autoscaling.md says when to choose which. Serve's controller gets the policy pickled by value, so it
needs nothing that the controller could not import.
"""

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ray.serve.llm import LLMConfig

Autoscaling = Literal["requests", "engine"]
POLICY = "serving.autoscaling:EnginePolicy"

RUNNING, WAITING = "num_requests_running", "num_requests_waiting"  # as vLLM's metrics of these names
KV_CACHE = "kv_cache_usage"
SEATS = "seats"


@dataclass(frozen=True)
class Load:
    """What one replica's engine has to do; means over the time that autoscaling looks back."""

    running: float
    """Requests in its batch."""
    waiting: float
    """Requests in its queue."""
    kv_cache: float
    """The part of the KV cache that running requests hold, 0 to 1."""
    seats: float
    """How many requests it may have in its batch."""

    @property
    def demand(self) -> float:
        """The part of a replica that its requests would take if none had to wait; above 1 where it is too small."""
        requests = self.running + self.waiting
        kv_cache = self.kv_cache * requests / self.running if self.running else self.kv_cache
        return max(requests / self.seats, kv_cache)


@dataclass(frozen=True)
class Thresholds:
    """Parts of a replica. Guesses: they leave room for bursts while a replica starts, and cannot make it swing."""

    full: float = 0.9
    """Demand from which on there are too few replicas."""
    aim: float = 0.7
    """Demand that new replicas are to bring about."""
    spare: float = 0.6
    """Demand up to which one replica fewer would do; below `aim`, so that a replica just added is not taken away."""


def wanted(loads: Sequence[Load], queued: float, replicas: int, thresholds: Thresholds) -> int:
    """How many replicas to have, without regard to the least and most that are allowed.

    Args:
        loads: of the replicas that report one.
        queued: requests that wait at Serve, before any replica.
        replicas: that run; those that report nothing yet are taken to be as busy as the others.
    """
    if not loads:
        return replicas
    demand = sum(load.demand for load in loads) * replicas / len(loads)
    waiting = sum(load.waiting for load in loads) + queued
    if waiting >= replicas or demand > thresholds.full * replicas:
        demand += queued / (sum(load.seats for load in loads) / len(loads))
        return max(replicas + 1, math.ceil(demand / thresholds.aim))
    all_known = len(loads) >= replicas
    if all_known and waiting < 0.5 and demand <= thresholds.spare * (replicas - 1):
        return replicas - 1
    if all_known and replicas == 1 and waiting == 0 and demand == 0:
        return 0
    return replicas


def loads_of(metrics: Mapping[str, Mapping[Any, float]]) -> list[Load]:
    """The loads of the replicas that report all of it."""
    names = (RUNNING, WAITING, KV_CACHE, SEATS)
    reporting = set.intersection(*(set(metrics.get(name, {})) for name in names))
    found = [Load(*(metrics[name][replica] for name in names)) for replica in sorted(reporting, key=str)]
    return [load for load in found if load.seats > 0]


class EnginePolicy:
    """What Serve's controller asks, about ten times a second. Serve itself applies delays and factors afterwards."""

    def __init__(self, **thresholds: float) -> None:
        self.thresholds = Thresholds(**thresholds)
        self.said = False

    def __call__(self, ctx: Any) -> tuple[float, dict[str, Any]]:
        replicas, target = ctx.current_num_replicas, ctx.target_num_replicas
        if replicas == 0:
            return target, {}
        loads = loads_of(ctx.aggregated_metrics or {})
        if loads:
            number: float = wanted(loads, ctx.total_queued_requests or 0, replicas, self.thresholds)
        else:
            self.say_once(ctx)
            number = ctx.total_num_requests / ctx.config.get_target_ongoing_requests()  # as Serve's own policy
        return min(max(number, ctx.capacity_adjusted_min_replicas), ctx.capacity_adjusted_max_replicas), {}

    def say_once(self, ctx: Any) -> None:
        """Log that there is nothing to follow; not in the first moments of a replica, which has not reported yet."""
        if not self.said and ctx.total_num_requests > 0:
            self.said = True
            logging.getLogger("ray.serve").warning(
                f"No replica of {ctx.deployment_name} reports its engine's queue and KV cache, so its number of "
                "replicas follows the number of requests until one does. Is disable_log_stats set, or the server_cls "
                "another than serving.llm_server:LLMServer?"
            )


def scaled(config: LLMConfig, autoscaling: Autoscaling) -> LLMConfig:
    """A copy of `config` with the policy that `autoscaling` names.

    Raises:
        ValueError: the model has nothing that a policy could decide, or reports nothing that it could follow.
    """
    if autoscaling == "requests":
        return config
    deployment = config.deployment_config or {}
    if "autoscaling_config" not in deployment:
        raise ValueError(
            f"autoscaling=engine has nothing to decide: {config.model_id} has no autoscaling_config in its "
            "deployment_config. Give it one with min_replicas and max_replicas."
        )
    if (config.engine_kwargs or {}).get("disable_log_stats"):
        raise ValueError(
            f"autoscaling=engine follows the engine's statistics, and {config.model_id} has disable_log_stats in its "
            "engine_kwargs. Take it away, or use autoscaling=requests."
        )
    settings = deployment["autoscaling_config"] | {"policy": {"policy_function": POLICY}}
    return config.model_copy(update={"deployment_config": deployment | {"autoscaling_config": settings}})
