"""The machines that a service takes: how many, of which quota, at what price."""

import math
from fractions import Fraction
from typing import Any

from ops.project.serve_py import Model
from ops.project.service_files import ServiceFiles
from ops.project.strict_model import StrictModel
from ops.sizing import hardware
from ops.sizing.hardware import Instance

AUTO_REPLICAS = (1, 100)  # what Ray Serve 2.59 makes of num_replicas: auto, where no autoscaling_config says more
NOT_SAID = "not said"


class Replicas(StrictModel):
    """The replicas of one model."""

    model: str
    least: int
    most: int
    gpus: int
    """The GPUs of one replica: tensor_parallel_size x pipeline_parallel_size; of a whole group of data-parallel ranks.
    Where prefill and decode have replicas of their own, of all of both."""


class Machines(StrictModel):
    """The head node, or a group of worker nodes."""

    name: str
    instance_type: str
    accelerator: str | None
    """None where it has no GPU, or the instance type is not known."""
    models: list[str]
    """Whose replicas run there; empty where none do."""
    nodes_at_least: int
    """The nodes of as many replicas as there always are, or min_nodes where those are more."""
    nodes_at_most: int
    """The nodes of max_replicas, or of as many of them as max_nodes has room for."""
    gpus_at_least: int
    gpus_at_most: int
    usd_per_hour: float | None
    """The price of one node; None where it is not known."""
    price_source: str | None


class QuotaNeed(StrictModel):
    name: str
    amount: int
    unit: str
    """vCPUs or GPUs"""
    machines: list[str]
    """Each as in `4 x g6.2xlarge (4 L4)`."""


class Cost(StrictModel):
    """What a service takes, at min and max replicas of all models that it serves at once."""

    replicas: list[Replicas]
    machines: list[Machines]
    usd_per_hour_at_least: float | None
    """None where a price is not known."""
    usd_per_hour_at_most: float | None
    quotas: list[QuotaNeed]
    problems: list[str]
    unknown: list[str]

    def replicas_of(self, model: str) -> Replicas:
        return next(replicas for replicas in self.replicas if replicas.model == model)

    def machines_of(self, model: str) -> Machines | None:
        """The group that replicas of a model run on."""
        return next((group for group in self.machines if model in group.models), None)

    def usd_per_hour(self, model: str, replicas: int) -> float | None:
        """The price of all machines but those that only other models run on, at so many replicas, beyond max_replicas
        too.

        Other models that share its group have as few as they may. None where a price is not known.
        """
        group = self.machines_of(model)
        if group is None or group.usd_per_hour is None or not (per_node := gpus_per_node(group.instance_type)):
            return None
        own = [one for one in self.machines if not one.models or model in one.models]
        least = total(own, [one.nodes_at_least for one in own])
        if least is None:
            return None
        sharing = [self.replicas_of(name) for name in group.models]
        placed = [(replicas if one.model == model else one.least, one.gpus) for one in sharing]
        return least + max(0, nodes_for(placed, per_node) - group.nodes_at_least) * group.usd_per_hour


def of(files: ServiceFiles, models: list[Model], own_prices: dict[str, float]) -> Cost:
    """The machines of service.yaml, with the replicas of all these models on them.

    Args:
        models: those that are served at once.
        own_prices: USD per hour by instance type, which go before the price lists.
    """
    problems, unknown = [], []
    replicas = [replicas_of(model) for model in models]
    chosen = [group_of(model, files.worker_groups) for model in models]
    machines = [head(files, own_prices)]
    for group in files.worker_groups:
        placed = [one for one, own in zip(replicas, chosen, strict=True) if own is group]
        machines.append(workers(group, placed, own_prices))
        problems += too_small(group, placed)
    if not files.worker_groups:
        unknown.append(
            f"{files.name} names no worker_nodes in service.yaml (compute_config), so its machines, their price and "
            "quota are unknown. Write head_node and worker_nodes there."
        )
    else:
        problems += [
            f"No worker group of service.yaml has the {model.get('accelerator_type')} that {model.id} asks for."
            for model, group in zip(models, chosen, strict=True)
            if group is None
        ]
    placed_all = all(group is not None for group in chosen)
    unknown += [sentence for group in machines for sentence in not_known(group)]
    return Cost(
        replicas=replicas,
        machines=machines,
        usd_per_hour_at_least=total(machines, [group.nodes_at_least for group in machines]) if placed_all else None,
        usd_per_hour_at_most=total(machines, [group.nodes_at_most for group in machines]) if placed_all else None,
        quotas=quotas(machines),
        problems=problems,
        unknown=list(dict.fromkeys(unknown)),
    )


def not_known(group: Machines) -> list[str]:
    """What is not known of these machines, and where to say it."""
    if group.instance_type == NOT_SAID:
        return [f"service.yaml does not say which machines {group.name} has, so GPUs, quota and price are unknown."]
    if hardware.instance(group.instance_type) is None:
        what = "GPUs and quota" if group.usd_per_hour else "GPUs, quota and price"
        return [f"{what} of {group.instance_type} are unknown. Add it to ops/sizing/hardware.yaml."]
    if group.usd_per_hour is None:
        return [f"The price of {group.instance_type} is unknown. Give yours in a file, with --prices."]
    return []


def replicas_of(model: Model) -> Replicas:
    """How many replicas Ray Serve may run of a model, and what each takes."""
    number = model.deployment.get("num_replicas") or 1
    least, most = AUTO_REPLICAS if number == "auto" else (number, number)
    scaling = model.deployment.get("autoscaling_config")
    if isinstance(scaling, dict):
        least = scaling.get("min_replicas", 1)
        most = scaling.get("max_replicas", AUTO_REPLICAS[1] if number == "auto" else 1)
    sizes = ("tensor_parallel_size", "pipeline_parallel_size", "data_parallel_size")
    gpus = math.prod(model.engine.get(size) or 1 for size in sizes)
    return Replicas(model=model.id, least=least, most=most, gpus=gpus)


def group_of(model: Model, groups: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The worker group that replicas of a model run on: the first with the accelerator that it asks for.

    An instance type that is not known may have it, so such a group is taken where no other has.
    """
    wanted = model.get("accelerator_type")
    known = [(group, hardware.instance(group.get("instance_type", ""))) for group in groups]
    fitting = [group for group, instance in known if instance and offers(instance, wanted)]
    return next(iter([*fitting, *(group for group, instance in known if instance is None)]), None)


def offers(instance: Instance, wanted: str | None) -> bool:
    gpu = hardware.accelerator(instance.accelerator or "")
    return gpu is not None and wanted in (None, gpu.name, gpu.ray_name)


def head(files: ServiceFiles, own_prices: dict[str, float]) -> Machines:
    node = files.yaml.get("compute_config", "head_node", default={})
    return machines("head", node if isinstance(node, dict) else {}, (1, 1), [], own_prices)


def workers(group: dict[str, Any], replicas: list[Replicas], own_prices: dict[str, float]) -> Machines:
    least: int = group.get("min_nodes") or 0
    most: int | None = group.get("max_nodes")
    nodes = (least, least)
    per_node = gpus_per_node(group.get("instance_type", ""))
    if replicas and per_node:
        needed = nodes_for([(one.least, one.gpus) for one in replicas], per_node), nodes_at_most(replicas, per_node)
        allowed = [max(least, number if most is None else min(number, most)) for number in needed]
        nodes = (allowed[0], allowed[1])
    elif replicas:  # how many GPUs a node has is not known
        nodes = (least, most or least)
    return machines(
        str(group.get("name") or group.get("instance_type")), group, nodes, [one.model for one in replicas], own_prices
    )


def machines(
    name: str, node: dict[str, Any], nodes: tuple[int, int], models: list[str], own_prices: dict[str, float]
) -> Machines:
    instance_type = str(node.get("instance_type") or NOT_SAID)
    known, price = hardware.instance(instance_type), hardware.price(instance_type, own_prices)
    gpus = known.gpus if known else 0
    source = price.source if price else None
    if source and "SPOT" in str(node.get("market_type")):
        source += f"; {name} may have spot machines, which cost less"
    return Machines(
        name=name,
        instance_type=instance_type,
        accelerator=known.accelerator if known else None,
        models=models,
        nodes_at_least=nodes[0],
        nodes_at_most=nodes[1],
        gpus_at_least=nodes[0] * gpus,
        gpus_at_most=nodes[1] * gpus,
        usd_per_hour=price.usd_per_hour if price else None,
        price_source=source,
    )


def gpus_per_node(instance_type: str) -> int:
    """0 where the instance type is not known."""
    known = hardware.instance(instance_type)
    return known.gpus if known else 0


def nodes_for(replicas: list[tuple[int, int]], gpus_of_node: int) -> int:
    """The nodes that replicas take as Ray packs them: several small replicas share a node, a large one takes whole
    nodes.

    Args:
        replicas: how many, and the GPUs of each; of one model or several.
    """
    return math.ceil(sum(number * nodes_of_one(gpus, gpus_of_node) for number, gpus in replicas))


def nodes_of_one(gpus: int, gpus_of_node: int) -> Fraction:
    if gpus <= gpus_of_node:
        return Fraction(1, gpus_of_node // gpus)
    return Fraction(math.ceil(gpus / gpus_of_node))


def nodes_at_most(replicas: list[Replicas], gpus_of_node: int) -> int:
    return nodes_for([(one.most, one.gpus) for one in replicas], gpus_of_node)


def too_small(group: dict[str, Any], replicas: list[Replicas]) -> list[str]:
    """What is wrong where max_nodes does not hold max_replicas."""
    per_node, most = gpus_per_node(group.get("instance_type", "")), group.get("max_nodes")
    if not replicas or not per_node or most is None or nodes_at_most(replicas, per_node) <= most:
        return []
    wanted = " and ".join(f"{one.most}{f' of {one.model}' if len(replicas) > 1 else ''}" for one in replicas)
    return [
        f"max_replicas: {wanted} needs {nodes_at_most(replicas, per_node)} nodes of {group.get('instance_type')}, and "
        f"service.yaml allows {most} (max_nodes). Make the two agree."
    ]


def total(groups: list[Machines], nodes: list[int]) -> float | None:
    """USD per hour; None where a group that has nodes has no price."""
    paid = [(group.usd_per_hour, number) for group, number in zip(groups, nodes, strict=True) if number]
    known = [price * number for price, number in paid if price is not None]
    return sum(known) if len(known) == len(paid) else None


def quotas(groups: list[Machines]) -> list[QuotaNeed]:
    """What all machines together take of each quota, at max replicas."""
    needs: dict[str, QuotaNeed] = {}
    for group in groups:
        instance = hardware.instance(group.instance_type)
        if instance is None or not group.nodes_at_most:
            continue
        quota = hardware.quota(instance)
        unit = {"vcpus": "vCPUs", "gpus": "GPUs"}[quota.counts]
        need = needs.setdefault(quota.name, QuotaNeed(name=quota.name, amount=0, unit=unit, machines=[]))
        need.amount += group.nodes_at_most * getattr(instance, quota.counts)
        gpus = f" ({group.gpus_at_most} {instance.accelerator})" if instance.gpus else ""
        need.machines.append(f"{group.nodes_at_most} x {group.instance_type}{gpus}")
    return list(needs.values())
