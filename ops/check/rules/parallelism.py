"""The GPUs of a replica: what Ray reserves for a model is what vLLM takes for its workers."""

from collections.abc import Iterator
from typing import Any, Literal

from ops.check import registry
from ops.check.finding import Finding, make_finding
from ops.project.coercion import mapping, number, sequence
from ops.project.serve_py import Model
from ops.project.service_files import ServiceFiles

PARALLEL_SIZES = ("tensor_parallel_size", "pipeline_parallel_size", "prefill_context_parallel_size")


def findings(files: ServiceFiles) -> Iterator[Finding]:
    for model in files.models.values():
        yield from executor(files, model)
        yield from placement_group(files, model)
        yield from bundles(files, model)
        yield from accelerator(files, model)
        yield from data_parallelism(files, model)


def workers(model: Model) -> float | None:
    """How many workers the engine starts; None where a size is not a number."""
    engine, product = mapping(model.engine), 1
    for name in PARALLEL_SIZES:
        size = number(engine.get(name, 1))
        if size is None:
            return None
        product *= size
    return product


def hardware(model: Model) -> Literal["gpu", "cpu", "tpu"]:
    """What a model runs on, by the rules of LLMConfig._resolve_accelerator_config in Ray 2.59."""
    kind = model.get("accelerator_config", "kind")
    if kind in ("gpu", "cpu", "tpu"):
        return kind
    if reserved := list(bundles_of(model).values()):
        if any(has(bundle, "TPU") for bundle in reserved):
            return "tpu"
        return "gpu" if any(has(bundle, "GPU") for bundle in reserved) else "cpu"
    return "tpu" if str(model.get("accelerator_type")).startswith("TPU") else "gpu"


def bundles_of(model: Model) -> dict[tuple[str | int, ...], dict[str, Any]]:
    """The bundles that are written, by the way to each within `placement_group_config`."""
    group = mapping(model.get("placement_group_config"))
    listed: dict[tuple[str | int, ...], dict[str, Any]] = {
        ("bundles", index): mapping(bundle) for index, bundle in enumerate(sequence(group.get("bundles")))
    }
    repeated = group.get("bundle_per_worker")
    return listed if repeated is None else {("bundle_per_worker",): mapping(repeated)} | listed


def has(bundle: dict[str, Any], resource: str, more_than: float = 0) -> bool:
    return (number(bundle.get(resource)) or 0) > more_than


def executor(files: ServiceFiles, model: Model) -> Iterator[Finding]:
    engine = mapping(model.engine)
    needed = "mp" if hardware(model) == "cpu" else "ray"
    backend = engine.get("distributed_executor_backend")
    if backend not in (None, needed):
        yield make_finding(
            files,
            registry.SETTING_WITHOUT_EFFECT if needed == "mp" else registry.EXECUTOR_REFUSED,
            model.place("engine_kwargs", "distributed_executor_backend"),
            what=f"`distributed_executor_backend` is {backend!r}.",
            why="Ray replaces it without a word by 'mp' on a CPU."
            if needed == "mp"
            else "Ray Serve LLM refuses every other than 'ray' on a GPU, and no replica starts.",
        )
    if (number(engine.get("nnodes")) or 1) > 1:
        yield make_finding(
            files,
            registry.EXECUTOR_REFUSED,
            model.place("engine_kwargs", "nnodes"),
            what=f"`nnodes` is {engine['nnodes']}.",
            why="vLLM refuses more than one beside Ray's executor, and no replica starts.",
            fix="Remove it: Ray places the workers on nodes by `placement_group_config`.",
        )


def placement_group(files: ServiceFiles, model: Model) -> Iterator[Finding]:
    group = mapping(model.get("placement_group_config"))
    if group.get("bundle_per_worker") is not None and group.get("bundles") is not None:
        yield make_finding(
            files,
            registry.PLACEMENT_GROUP_REFUSED,
            model.place("placement_group_config", "bundles"),
            what="`placement_group_config` has both `bundle_per_worker` and `bundles`.",
            why="Ray refuses the configuration, and the application does not start.",
            fix="Keep `bundle_per_worker`: Ray repeats it forevery worker.",
        )


def bundles(files: ServiceFiles, model: Model) -> Iterator[Finding]:
    """Bundles that are not one GPU for each worker. Source: initialize_ray_cluster of vLLM 0.27."""
    if hardware(model) != "gpu":
        return
    reserved, needed = bundles_of(model), workers(model)
    too_large = {way: bundle for way, bundle in reserved.items() if has(bundle, "GPU", more_than=1)}
    for way, bundle in too_large.items():
        yield make_finding(
            files,
            registry.PLACEMENT_GROUP_REFUSED,
            model.place("placement_group_config", *way, "GPU"),
            what=f"A bundle has {bundle['GPU']} GPUs.",
            why="vLLM's executor runs one worker in a bundle and refuses one with more GPUs: no replica starts.",
            fix="Give each worker a bundle of its own: `bundle_per_worker=dict(GPU=1, CPU=1)`.",
        )
    with_gpu = sum(has(bundle, "GPU") for bundle in reserved.values())
    if not reserved or ("bundle_per_worker",) in reserved or too_large or needed in (None, with_gpu):
        return
    yield make_finding(
        files,
        registry.PLACEMENT_GROUP_REFUSED if with_gpu < needed else registry.RESERVED_GPUS_LEFT_IDLE,
        model.place("placement_group_config", "bundles"),
        what=f"There are {with_gpu} bundles with a GPU for {needed} workers, tensor by pipeline parallel.",
    )


def accelerator(files: ServiceFiles, model: Model) -> Iterator[Finding]:
    named = model.get("accelerator_type")
    if named and hardware(model) == "cpu":
        yield make_finding(
            files,
            registry.ACCELERATOR_WITHOUT_GPU,
            model.place("accelerator_type"),
            what=f"`accelerator_type` is {named}, and the model runs on CPUs, by its "
            f"{'accelerator_config' if model.get('accelerator_config', 'kind') else 'placement_group_config'}.",
        )


def data_parallelism(files: ServiceFiles, model: Model) -> Iterator[Finding]:
    """Only the builders for it read `data_parallel_size`; build_openai_app reserves tensor x pipeline parallel GPUs."""
    size = number(mapping(model.engine).get("data_parallel_size"))
    builders = {build.function for build in files.serve.built} | {str(files.application.get("import_path"))}
    if size and size > 1 and any(builder.endswith("build_openai_app") for builder in builders):
        yield make_finding(
            files,
            registry.DATA_PARALLEL_WITHOUT_ITS_BUILDER,
            model.place("engine_kwargs", "data_parallel_size"),
            what=f"`data_parallel_size` is {size} in an application made by build_openai_app.",
        )
