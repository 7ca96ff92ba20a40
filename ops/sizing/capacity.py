"""How many replicas a load needs: an estimate (roofline), held against the SLO file and what service.yaml allows."""

import math

from ops.project.slo import Objectives
from ops.project.strict_model import StrictModel
from ops.sizing import throughput
from ops.sizing.cost import Cost
from ops.sizing.throughput import Replica, Speed

ESTIMATE = "estimate (roofline)"
HEADROOM = 0.8  # guess: of what a replica can do at most, as requests do not come evenly


class RequestSize(StrictModel):
    input_tokens: int
    output_tokens: int

    def __str__(self) -> str:
        return f"{self.input_tokens:,} tokens in and {self.output_tokens:,} out"


class Held(StrictModel):
    """One objective of the SLO file, beside the estimate."""

    name: str
    limit: float
    estimate: float
    """The estimate at as many requests at a time as a replica gets."""
    unit: str
    kept: bool


class Capacity(StrictModel):
    basis: str = ESTIMATE
    """What all its figures rest on."""
    requests_per_s: float
    request: RequestSize
    fits_at_a_time: int
    """Requests that one replica has room for, and accepts."""
    within_slo: Speed | None
    """The speed at the most requests at a time that meet the SLO; None where not even one does."""
    replicas: int | None
    """Enough replicas to meet the SLO, with some headroom."""
    autoscaled: Speed | None
    """The speed at target_ongoing_requests at a time; None without autoscaling."""
    autoscaled_replicas: int | None
    """The replicas that Ray Serve starts for this load, if max_replicas lets it."""
    usd_per_hour: float | None
    """The cost of as many replicas as both ask for."""
    objectives: list[Held]
    problems: list[str]


def needed(
    engine: Replica,
    cost: Cost,
    model: str,
    request: RequestSize,
    requests_per_s: float,
    objectives: Objectives | None,
    target_ongoing_requests: float | None,
) -> Capacity:
    """What a model of a service needs for so many requests each second.

    Args:
        model: of the service; the load is its own.
        objectives: of the SLO file; None where there is none.
        target_ongoing_requests: that autoscaling aims at; None where it is off.
    """
    most = throughput.most_at_a_time(engine, request.input_tokens, request.output_tokens)

    def speed(requests: int) -> Speed:
        return throughput.speed(engine, requests, request.input_tokens, request.output_tokens)

    within = [one for one in map(speed, range(1, most + 1)) if all(held.kept for held in hold(one, objectives))]
    best = max(within, key=lambda one: one.requests_per_s, default=None)
    target = min(max(1, int(target_ongoing_requests)), most) if target_ongoing_requests and most else None
    autoscaled = speed(target) if target else None
    replicas = math.ceil(requests_per_s / (best.requests_per_s * HEADROOM)) if best else None
    autoscaled_replicas = math.ceil(requests_per_s / autoscaled.requests_per_s) if autoscaled else None
    shown = autoscaled or best
    asked = max(replicas or 0, autoscaled_replicas or 0, cost.replicas_of(model).least)
    load = Capacity(
        requests_per_s=requests_per_s,
        request=request,
        fits_at_a_time=most,
        within_slo=best,
        replicas=replicas,
        autoscaled=autoscaled,
        autoscaled_replicas=autoscaled_replicas,
        usd_per_hour=cost.usd_per_hour(model, asked) if best else None,
        objectives=hold(shown, objectives) if shown else [],
        problems=[],
    )
    load.problems += problems(engine, load, cost.replicas_of(model).most, asked, hold(speed(1), objectives))
    return load


def hold(speed: Speed, objectives: Objectives | None) -> list[Held]:
    """The objectives that an estimate can be held against: of the median, as a roofline knows no other."""
    if objectives is None:
        return []
    milliseconds = {"TTFT p50": (objectives.ttft_p50, speed.ttft_s)}
    milliseconds["inter-token p50"] = (objectives.inter_token_p50, speed.tpot_s)
    held = [
        Held(name=name, limit=limit * 1000, estimate=estimate * 1000, unit="ms", kept=estimate <= limit)
        for name, (limit, estimate) in milliseconds.items()
        if limit is not None
    ]
    if (least := objectives.tokens_per_second) is not None:
        of_answer = 1 / speed.tpot_s
        held.append(Held(name="speed", limit=least, estimate=of_answer, unit="tokens/s", kept=of_answer >= least))
    return held


def problems(engine: Replica, load: Capacity, max_replicas: int, asked: int, alone: list[Held]) -> list[str]:
    tokens = load.request.input_tokens + load.request.output_tokens
    if tokens > engine.memory.max_model_len:
        return [f"A request of {tokens:,} tokens is longer than max_model_len, {engine.memory.max_model_len:,}."]
    if not load.fits_at_a_time:
        return [f"The KV cache of a replica has no room for a request of {tokens:,} tokens."]
    if load.within_slo is None:
        missed = ", ".join(f"{one.name} {one.estimate:.0f} {one.unit}" for one in alone if not one.kept)
        return [
            f"By this estimate not even one request at a time meets the SLO ({missed}). A faster GPU, more of them "
            "(tensor_parallel_size) or a smaller model would; or the SLO asks for too much."
        ]
    found = []
    if load.autoscaled and load.autoscaled.requests > load.within_slo.requests:
        found.append(
            f"Autoscaling gives each replica {load.autoscaled.requests} requests at a time "
            f"(target_ongoing_requests), and by this estimate {load.within_slo.requests} meet the SLO. Lower it."
        )
    if asked > max_replicas:
        found.append(
            f"The load needs {asked} replicas by this estimate, and service.yaml and serve.py allow "
            f"{max_replicas} (max_replicas). Raise max_replicas, and max_nodes with it."
        )
    return found
