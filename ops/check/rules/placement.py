"""Whether the nodes of service.yaml can hold the replicas of serve.py."""

from collections.abc import Callable, Iterator
from typing import Any

from ops.check import registry
from ops.check.finding import Finding, make_finding
from ops.check.rules.scaling import least_replicas, most_replicas, whole
from ops.project.serve_py import Model
from ops.project.service_files import ServiceFiles
from ops.sizing import hardware
from ops.sizing.cost import nodes_for


def findings(files: ServiceFiles) -> Iterator[Finding]:
    for model in files.models.values():
        yield from split_over_nodes(files, model)
        groups = matching(files, model)
        if groups is None:
            continue
        yield from no_such_gpu(files, model, groups)
        if groups:
            yield from larger_than_a_node(files, model, groups)
            yield from too_few_nodes(files, model, groups)
    yield from too_few_nodes_together(files)


def not_checked(files: ServiceFiles) -> Iterator[str]:
    for group in files.worker_groups:
        kind = group.get("instance_type")
        if kind and hardware.instance(str(kind)) is None:
            yield f"Whether nodes of {kind} hold the replicas: ops/sizing/hardware.yaml has no such instance type."


def parallel(model: Model) -> tuple[int, int]:
    """Tensor and pipeline parallel size."""
    sizes = [whole(model.engine.get(name), 1) for name in ("tensor_parallel_size", "pipeline_parallel_size")]
    return sizes[0], sizes[1]


def data_parallel(model: Model) -> int:
    """Ranks of a group, each a replica for Ray Serve; `num_replicas` and autoscaling count groups."""
    return whole(model.engine.get("data_parallel_size"), 1)


def matching(files: ServiceFiles, model: Model) -> list[tuple[int, dict[str, Any], int]] | None:
    """The worker groups whose nodes have the model's GPU: index, group and GPUs a node. None where that is unknown."""
    groups = []
    for index, group in enumerate(files.worker_groups):
        instance = hardware.instance(str(group.get("instance_type")))
        if instance is None:
            return None
        if has_gpu(instance, model.config.get("accelerator_type")):
            groups.append((index, group, instance.gpus))
    return groups if files.worker_groups else None


def has_gpu(instance: hardware.Instance, accelerator_type: str | None) -> bool:
    """Whether Ray finds a node of that kind for an accelerator_type; without one any GPU will do."""
    if instance.accelerator is None:
        return False
    gpu = hardware.accelerator(instance.accelerator)
    names = {instance.accelerator, gpu.ray_name if gpu else instance.accelerator}
    return accelerator_type is None or accelerator_type in names


def no_such_gpu(files: ServiceFiles, model: Model, groups: list) -> Iterator[Finding]:
    if groups or model.config.get("accelerator_config"):
        return
    wanted = model.config.get("accelerator_type") or "GPU"
    kinds = ", ".join(str(group.get("instance_type")) for group in files.worker_groups)
    yield make_finding(
        files,
        registry.NO_NODE_WITH_THAT_GPU,
        model.place("accelerator_type"),
        what=f"{model.id} asks for {wanted}, and no worker group of service.yaml has one ({kinds}).",
    )


def larger_than_a_node(files: ServiceFiles, model: Model, groups: list) -> Iterator[Finding]:
    tensor, _ = parallel(model)
    largest = max(gpus for _, _, gpus in groups)
    if tensor > largest:
        packed = model.get("placement_group_config", "strategy") == "STRICT_PACK"
        yield make_finding(
            files,
            registry.TENSOR_PARALLEL_LARGER_THAN_A_NODE if packed else registry.TENSOR_PARALLEL_OVER_NODES,
            model.place("engine_kwargs", "tensor_parallel_size"),
            what=f"{model.id} is tensor parallel over {tensor} GPUs, and the largest node for it has {largest}.",
            fix=f"Set tensor_parallel_size={largest} and the rest as pipeline_parallel_size, or take larger nodes.",
        )


def too_few_nodes(files: ServiceFiles, model: Model, groups: list) -> Iterator[Finding]:
    tensor, pipeline = parallel(model)
    stages = sum(whole(group.get("max_nodes"), 10) * (gpus // tensor) for _, group, gpus in groups if gpus >= tensor)
    sides = [one for one in files.models.values() if one.id == model.id]  # of the same nodes: prefill and decode
    least, most = (sum(of(one) * data_parallel(one) for one in sides) for of in (least_replicas, most_replicas))
    held = stages // pipeline
    if stages and held < most:
        index, group, _ = groups[0]
        ranks = " (data-parallel ranks)" if data_parallel(model) > 1 else ""
        starts = f"starts with {least}" if held < least else f"may have {most}"
        yield make_finding(
            files,
            registry.TOO_FEW_NODES if held < least else registry.TOO_FEW_NODES_AT_PEAK,
            files.yaml.place("compute_config", "worker_nodes", index, "max_nodes"),
            what=f"{model.id} {starts} replicas{ranks} of {tensor * pipeline} GPUs, and the nodes hold {held} "
            f"(max_nodes {group.get('max_nodes')} of {group.get('instance_type')}).",
        )


def too_few_nodes_together(files: ServiceFiles) -> Iterator[Finding]:
    """Models that are served at once and share worker groups, each of which would fit there alone."""
    sharing: dict[tuple[int, ...], list[Model]] = {}
    for model in files.served:
        if (groups := matching(files, model)) and not list(too_few_nodes(files, model, groups)):
            sharing.setdefault(tuple(index for index, _, _ in groups), []).append(model)
    for indexes, models in sharing.items():
        groups = [group for group in matching(files, models[0]) or [] if group[0] in indexes]
        if len(models) < 2 or hold_all(groups, models, most_replicas):
            continue
        at_start = not hold_all(groups, models, least_replicas)
        replicas_of = least_replicas if at_start else most_replicas
        wanted = [f"{replicas_of(model)} of {model.id} with {gpus_of(model)} GPUs each" for model in models]
        index, group, _ = groups[0]
        yield make_finding(
            files,
            registry.TOO_FEW_NODES if at_start else registry.TOO_FEW_NODES_FOR_ALL,
            files.yaml.place("compute_config", "worker_nodes", index, "max_nodes"),
            what=f"There {'are' if at_start else 'may be'} replicas, {' and '.join(wanted)}, and the nodes that they "
            f"share do not hold all (max_nodes {group.get('max_nodes')} of {group.get('instance_type')}).",
        )


def gpus_of(model: Model) -> int:
    tensor, pipeline = parallel(model)
    return tensor * pipeline


def hold_all(
    groups: list[tuple[int, dict[str, Any], int]], models: list[Model], replicas_of: Callable[[Model], int]
) -> bool:
    """Whether all stages of so many replicas fit on the nodes of these groups, each as large as the largest of them."""
    stages = [(replicas_of(model) * pipeline, tensor) for model in models for tensor, pipeline in [parallel(model)]]
    nodes = sum(whole(group.get("max_nodes"), 10) for _, group, _ in groups)
    return nodes_for(stages, max(gpus for _, _, gpus in groups)) <= nodes


def split_over_nodes(files: ServiceFiles, model: Model) -> Iterator[Finding]:
    tensor, pipeline = parallel(model)
    strategy = model.get("placement_group_config", "strategy")
    if tensor > 1 and pipeline == 1 and strategy != "STRICT_PACK" and data_parallel(model) == 1:
        yield make_finding(
            files,
            registry.TENSOR_PARALLEL_MAY_BE_SPLIT,
            model.place("placement_group_config", "strategy")
            if strategy
            else model.place("engine_kwargs", "tensor_parallel_size"),
            what=f"{model.id} is tensor parallel over {tensor} GPUs, placed with "
            f"{strategy or 'PACK, the default of Ray Serve LLM'}.",
        )
