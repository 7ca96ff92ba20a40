"""Everything that scripts/plan tells of a service, computed from its files."""

import math
from dataclasses import dataclass, field

from ops.console.cli import CommandError
from ops.plan.config_diff import ConfigDiff
from ops.project import slo
from ops.project.catalogue import Service
from ops.project.model_facts import ModelFacts
from ops.project.serve_py import Model
from ops.project.service_files import ServiceFiles
from ops.project.strict_model import StrictModel
from ops.sizing import capacity as plan_load
from ops.sizing import cold_start, cost, fit, hardware, memory, throughput
from ops.sizing.capacity import ESTIMATE, Capacity, RequestSize
from ops.sizing.cold_start import ColdStart
from ops.sizing.cost import Cost
from ops.sizing.hardware import Accelerator, Instance
from ops.sizing.memory import Estimate
from ops.sizing.memory.engine_settings import GIB
from ops.sizing.throughput import Replica, Speed

COMPARED = RequestSize(input_tokens=512, output_tokens=128)  # what the roofline was compared with a measurement at


class MemoryFit(StrictModel):
    """The memory of one GPU, in bytes, and what its KV cache holds. Computed by ops/sizing/memory."""

    accelerator: str
    memory: int
    weights: int
    activations: int
    graphs: int
    other: int
    kv_cache: int
    fits: bool
    """Whether a replica starts."""
    kv_tokens: int
    max_model_len: int
    max_concurrency: float
    """Requests of max_model_len tokens at once."""
    largest_context: int
    """The longest request that fits alone, up to what the model was made for."""
    target_ongoing_requests: int | None
    context_at_target: int | None
    """Tokens that each may have when there are target_ongoing_requests at once."""


class SpeedAt(StrictModel):
    basis: str = ESTIMATE
    why: str
    """What makes it so many requests at a time."""
    speed: Speed
    usd_per_million_output_tokens: tuple[float, float] | None
    """The cost of all machines but those of other models, at min and at max replicas; None where a price is not
    known."""


class ModelSummary(StrictModel):
    """The plan of one model that the service serves."""

    model: str
    source: str
    accelerator: str | None
    fit: MemoryFit | None
    """None where the model or the GPU is not known."""
    speeds: list[SpeedAt]
    cold_start: ColdStart
    load: Capacity | None
    """None where no rate is given."""


class Summary(StrictModel):
    service: str
    models: list[ModelSummary]
    """The models that are served at once; most services serve one."""
    cost: Cost
    request: RequestSize
    """The size of request that the speeds are about."""
    changes: ConfigDiff
    problems: list[str]
    unknown: list[str]


@dataclass
class Known:
    """What is known of one replica; None is what is not, and `unknown` says what to do about it."""

    instance: Instance | None
    facts: ModelFacts | None
    gpu: Accelerator | None
    estimate: Estimate | None = None
    engine: Replica | None = None
    unknown: list[str] = field(default_factory=list)


def of(
    service: Service, changes: ConfigDiff, own_prices: dict[str, float], request: RequestSize | None, rate: float | None
) -> Summary:
    """The plan of a service.

    Args:
        own_prices: USD per hour by instance type.
        request: the size of a request; None for the one that the roofline was compared with a measurement at.
        rate: requests each second, for each model; None leaves out what a load needs.

    Raises:
        CommandError: serve.py, models.yaml or the SLO file cannot be read.
    """
    files = service.files
    costs = cost.of(files, models_of(files), own_prices)
    models, problems, unknown = [], [*costs.problems], [*costs.unknown]
    for model in files.served:
        known = look_up(files, model, costs)
        load = load_of(service, known, costs, model, request, rate) if request and rate else None
        models.append(model_summary(model, known, costs, request or COMPARED, load))
        problems += [*does_not_fit(known, model), *(load.problems if load else [])]
        unknown += known.unknown
    return Summary(
        service=service.name,
        models=models,
        cost=costs,
        request=request or COMPARED,
        changes=changes,
        problems=problems,
        unknown=unknown,
    )


def models_of(files: ServiceFiles) -> list[Model]:
    """The models that service.yaml deploys. Raises CommandError: its serve.py does not say."""
    if fault := files.serve.error or files.serve.build_error or ("" if files.served else "it has no LLMConfig"):
        raise CommandError(f"{files.folder / 'serve.py'} cannot be planned with: {fault}")
    return files.served


def model_summary(model: Model, known: Known, costs: Cost, request: RequestSize, load: Capacity | None) -> ModelSummary:
    return ModelSummary(
        model=model.id,
        source=model.source,
        accelerator=known.gpu.name if known.gpu else model.get("accelerator_type"),
        fit=fit_of(known, model),
        speeds=speeds_of(known, costs, model, request),
        cold_start=cold_start.of(model, known.facts, known.instance),
        load=load,
    )


def look_up(files: ServiceFiles, model: Model, costs: Cost) -> Known:
    group = costs.machines_of(model.id)
    instance = hardware.instance(group.instance_type) if group else None
    asked = model.get("accelerator_type")
    gpu = hardware.accelerator((instance.accelerator if instance else asked) or "")
    if files.facts_fault:
        raise CommandError(files.facts_fault)
    known = Known(instance, files.facts.get(model.source), gpu)
    if known.facts is None:
        known.unknown.append(
            f"{model.source} is unknown: what fits, its speed and its cold start. Add its facts to "
            f"services/{files.folder.name}/models.yaml; ops/project/model_facts.py says what each means."
        )
    if gpu is None:
        known.unknown.append(
            f"The GPU{f' {asked}' if asked else ''} is unknown: what fits, and the speed. Add it to "
            "ops/sizing/hardware.yaml."
        )
    if known.facts and gpu:
        estimate(files, model, known, known.facts, gpu)
    return known


def estimate(files: ServiceFiles, model: Model, known: Known, facts: ModelFacts, gpu: Accelerator) -> None:
    """Adds memory and speed to what is known."""
    try:
        known.estimate = fit.estimate_of(files, model, facts, gpu)
    except memory.NotKnown as error:
        known.unknown.append(f"What fits is unknown, and the speed. {error}")
        return
    if model.engine.get("data_parallel_size", 1) != 1 or model.engine.get("kv_transfer_config"):
        known.unknown.append("The speed is unknown: it is estimated for replicas that share no work with others.")
        return
    most = model.deployment.get("max_ongoing_requests", math.inf)
    engine = throughput.engine(facts, model.engine, gpu, known.estimate, most)
    if engine is None:
        known.unknown.append(f"The speed is unknown: ops/sizing/hardware.yaml has no bf16_tflops of the {gpu.name}.")
    elif known.estimate.fits:
        known.engine = engine


def target_of(model: Model) -> int | None:
    """target_ongoing_requests; None where it is not given."""
    scaling = model.deployment.get("autoscaling_config")
    target = scaling.get("target_ongoing_requests") if isinstance(scaling, dict) else None
    return max(1, int(target)) if target else None


def fit_of(known: Known, model: Model) -> MemoryFit | None:
    if known.estimate is None or known.gpu is None:
        return None
    one, target = known.estimate, target_of(model)
    return MemoryFit(
        accelerator=known.gpu.name,
        memory=one.gpu_memory,
        weights=one.weights,
        activations=one.activations,
        graphs=one.graphs,
        other=one.other,
        kv_cache=one.kv_cache,
        fits=one.fits,
        kv_tokens=one.kv_tokens,
        max_model_len=one.max_model_len,
        max_concurrency=one.max_concurrency,
        largest_context=one.largest_context,
        target_ongoing_requests=target,
        context_at_target=min(one.largest_context_of(target), one.max_model_len) if target else None,
    )


def does_not_fit(known: Known, model: Model) -> list[str]:
    one = known.estimate
    if one is None or known.gpu is None or one.fits:
        return []
    has = f"each {known.gpu.name} has {one.gpu_memory / GIB:.1f} GiB"
    if one.kv_cache <= 0 or not one.largest_context:
        return [
            f"{model.id} does not fit: {has}, and the weights alone take {one.weights / GIB:.1f} GiB of each. Take "
            "GPUs with more memory, or more of them (tensor_parallel_size)."
        ]
    if one.room < 0:
        return [f"{model.id} does not fit: {has}, and {-one.room / GIB:.1f} are missing. Lower gpu_memory_utilization."]
    return [
        f"{model.id} does not fit: max_model_len is {one.max_model_len:,}, {has}, and its KV cache holds "
        f"{one.largest_context:,} tokens. vLLM would not start. Lower max_model_len."
    ]


def speeds_of(known: Known, costs: Cost, model: Model, request: RequestSize) -> list[SpeedAt]:
    """The speeds at one request at a time, at as many as autoscaling aims at, and at the most."""
    engine, target = known.engine, target_of(model)
    if engine is None:
        return []
    most = throughput.most_at_a_time(engine, request.input_tokens, request.output_tokens)
    limit = engine.limited_by if most == engine.most_requests else "as many as the KV cache holds"
    why = {1: "alone", target: "target_ongoing_requests", most: limit}
    found = []
    for requests in sorted(number for number in why if number and number <= most):
        speed = throughput.speed(engine, requests, request.input_tokens, request.output_tokens)
        found.append(
            SpeedAt(why=why[requests], speed=speed, usd_per_million_output_tokens=per_million(speed, costs, model.id))
        )
    return found


def per_million(speed: Speed, costs: Cost, model: str) -> tuple[float, float] | None:
    """USD for a million output tokens, at min and at max replicas; with none at all, they cost what one does."""
    replicas = costs.replicas_of(model)
    least = max(1, replicas.least)
    hourly_least, hourly_most = costs.usd_per_hour(model, least), costs.usd_per_hour(model, replicas.most)
    if hourly_least is None or hourly_most is None:
        return None
    millions_an_hour = speed.output_tokens_per_s * 3600 / 1e6
    return hourly_least / least / millions_an_hour, hourly_most / replicas.most / millions_an_hour


def load_of(
    service: Service, known: Known, costs: Cost, model: Model, request: RequestSize, rate: float
) -> Capacity | None:
    if known.engine is None:
        known.unknown.append("How many replicas the load needs is unknown, as the speed is.")
        return None
    file = service.slo_file
    objectives = slo.load(file).objectives if file.is_file() else None
    return plan_load.needed(known.engine, costs, model.id, request, rate, objectives, target_of(model))
