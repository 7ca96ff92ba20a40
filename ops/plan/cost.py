"""The machines that a service takes: how many, of which quota, at what price."""

import math
from typing import Any

from pydantic import BaseModel, ConfigDict

from ops import hardware
from ops.check.serve_py import Model
from ops.check.service_files import ServiceFiles
from ops.hardware import Instance

AUTO_REPLICAS = (1, 100)  # what Ray Serve 2.59 makes of num_replicas: auto, where no autoscaling_config says more
NOT_SAID = "not said"


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Replicas(Strict):
    least: int
    most: int
    gpus: int
    """Of one replica: tensor_parallel_size x pipeline_parallel_size."""


class Machines(Strict):
    """The head node, or a group of worker nodes."""

    name: str
    instance_type: str
    accelerator: str | None
    """None where it has no GPU, or the instance type is not known."""
    has_replicas: bool
    nodes_at_least: int
    """With as many replicas as there always are, or min_nodes where those are more."""
    nodes_at_most: int
    """With max_replicas, or as many of them as max_nodes has room for."""
    gpus_at_least: int
    gpus_at_most: int
    usd_per_hour: float | None
    """Of one node; None where it is not known."""
    price_source: str | None


class QuotaNeed(Strict):
    name: str
    amount: int
    unit: str
    """vCPUs or GPUs"""
    machines: list[str]
    """Such as `4 x g6.2xlarge (4 L4)`."""


class Cost(Strict):
    """What a service takes, at min and max replicas."""

    replicas: Replicas
    machines: list[Machines]
    usd_per_hour_at_least: float | None
    """None where a price is not known."""
    usd_per_hour_at_most: float | None
    quotas: list[QuotaNeed]
    problems: list[str]
    unknown: list[str]

    @property
    def with_replicas(self) -> Machines | None:
        return next((group for group in self.machines if group.has_replicas), None)

    def usd_per_hour(self, replicas: int) -> float | None:
        """Of all machines with so many replicas, more than max_replicas too; None where a price is not known."""
        group = self.with_replicas
        per_node = gpus_per_node(group.instance_type) if group else 0
        if not per_node or group.usd_per_hour is None or self.usd_per_hour_at_least is None:
            return None
        more = max(0, nodes_for(replicas, self.replicas.gpus, per_node) - group.nodes_at_least)
        return self.usd_per_hour_at_least + more * group.usd_per_hour


def of(files: ServiceFiles, model: Model, own_prices: dict[str, float]) -> Cost:
    """The machines of service.yaml, with the replicas of one model on them.

    Args:
        own_prices: USD per hour by instance type, which go before the price lists.
    """
    problems, unknown = [], []
    replicas = replicas_of(model)
    chosen = group_of(model, files.worker_groups)
    machines = [head(files, own_prices)]
    machines += [workers(group, replicas, group is chosen, own_prices) for group in files.worker_groups]
    if not files.worker_groups:
        unknown.append(
            f"{files.name} names no worker_nodes in service.yaml (compute_config), so its machines, their price and "
            "quota are unknown. Write head_node and worker_nodes there."
        )
    elif chosen is None:
        problems.append(
            f"No worker group of service.yaml has the {model.get('accelerator_type')} that {model.id} asks for."
        )
    else:
        problems += too_small(chosen, replicas)
    unknown += [sentence for group in machines for sentence in not_known(group)]
    return Cost(
        replicas=replicas,
        machines=machines,
        usd_per_hour_at_least=total(machines, [group.nodes_at_least for group in machines]) if chosen else None,
        usd_per_hour_at_most=total(machines, [group.nodes_at_most for group in machines]) if chosen else None,
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
        return [f"{what} of {group.instance_type} are unknown. Add it to ops/hardware.yaml."]
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
    gpus = (model.engine.get("tensor_parallel_size") or 1) * (model.engine.get("pipeline_parallel_size") or 1)
    return Replicas(least=least, most=most, gpus=gpus)


def group_of(model: Model, groups: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The worker group that replicas of a model run on: the first with the accelerator that it asks for.

    An instance type that is not known may have it, so such a group is taken where no other has.
    """
    wanted = model.get("accelerator_type")
    known = [(group, hardware.instance(group.get("instance_type", ""))) for group in groups]
    fitting = [group for group, instance in known if instance and instance.gpus and offers(instance, wanted)]
    return next(iter([*fitting, *(group for group, instance in known if instance is None)]), None)


def offers(instance: Instance, wanted: str | None) -> bool:
    gpu = hardware.accelerator(instance.accelerator)
    return wanted in (None, gpu.name, gpu.ray_name)


def head(files: ServiceFiles, own_prices: dict[str, float]) -> Machines:
    node = files.yaml.get("compute_config", "head_node", default={})
    return machines("head", node if isinstance(node, dict) else {}, (1, 1), False, own_prices)


def workers(group: dict[str, Any], replicas: Replicas, has_replicas: bool, own_prices: dict[str, float]) -> Machines:
    least, most = group.get("min_nodes") or 0, group.get("max_nodes")
    nodes = (least, least)
    per_node = gpus_per_node(group.get("instance_type", ""))
    if has_replicas and per_node:
        needed = [nodes_for(number, replicas.gpus, per_node) for number in (replicas.least, replicas.most)]
        nodes = tuple(max(least, min(number, most if most is not None else number)) for number in needed)
    elif has_replicas:  # how many GPUs a node has is not known
        nodes = (least, most or least)
    return machines(str(group.get("name") or group.get("instance_type")), group, nodes, has_replicas, own_prices)


def machines(
    name: str, node: dict[str, Any], nodes: tuple[int, int], has_replicas: bool, own_prices: dict[str, float]
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
        has_replicas=has_replicas,
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


def nodes_for(replicas: int, gpus_of_replica: int, gpus_of_node: int) -> int:
    """As Ray packs them: several small replicas share a node, a large one takes whole nodes."""
    if gpus_of_replica <= gpus_of_node:
        return math.ceil(replicas / (gpus_of_node // gpus_of_replica))
    return replicas * math.ceil(gpus_of_replica / gpus_of_node)


def too_small(group: dict[str, Any], replicas: Replicas) -> list[str]:
    """What is wrong where max_nodes does not hold max_replicas."""
    per_node, most = gpus_per_node(group.get("instance_type", "")), group.get("max_nodes")
    if not per_node or most is None:
        return []
    needed = nodes_for(replicas.most, replicas.gpus, per_node)
    if needed <= most:
        return []
    return [
        f"max_replicas: {replicas.most} needs {needed} nodes of {group.get('instance_type')}, and service.yaml allows "
        f"{most} (max_nodes). Make the two agree."
    ]


def total(groups: list[Machines], nodes: list[int]) -> float | None:
    """USD per hour; None where a group that has nodes has no price."""
    paid = [(group.usd_per_hour, number) for group, number in zip(groups, nodes, strict=True) if number]
    return None if any(price is None for price, _ in paid) else sum(price * number for price, number in paid)


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
