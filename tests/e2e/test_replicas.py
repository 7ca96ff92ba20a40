"""Replicas with GPUs, which Ray counts and vLLM does without: all but the hardware, on one node and over two."""

import os
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import httpx
import psutil
import pytest

from ops.local import preflight
from tests.fixtures.services.large_size_llm import serve as large
from tests.fixtures.services.medium_size_llm import serve as medium
from tests.fixtures.services.small_size_llm import serve as small

RAY_ON_CPUS = Path(__file__).parent / "ray_executor_on_cpus"


@dataclass(frozen=True)
class Kind:
    category: ModuleType
    model: str
    laptop_model: str
    gpus: int
    """The GPUs of each node."""
    nodes: int
    worker: str
    """In the command line of each process that computes."""


KINDS = {
    "one GPU": Kind(small, "llama-3.1-8b", "smollm2-135m", 1, 1, "EngineCore"),
    "two GPUs": Kind(medium, "llama-3.3-70b", "llama-twin", 2, 1, "Worker_TP"),
    "two nodes": Kind(large, "deepseek-r1-0528", "deepseek-twin", 1, 2, "RayWorkerProc"),
}
ON_GPUS = {"accelerator_config": {"kind": "gpu"}, "placement_group_config.bundle_per_worker": {"CPU": 1, "GPU": 1}}


@pytest.fixture(scope="module", params=KINDS)
def kind(request) -> Kind:
    return KINDS[request.param]


@pytest.fixture(scope="module")
def url(kind, root, laptop_packages):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", f"{RAY_ON_CPUS}{os.pathsep}{root}")  # of the replica
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.delenv("RAY_ADDRESS", raising=False)
        import ray

        from laptop.profile import laptop_profile
        from ops.local import serve_app
        from serving.app import ServiceArgs, application
        from serving.llm_server import LLMServer

        config = kind.category.MODELS[kind.model].model_copy(update={"server_cls": LLMServer})
        config = laptop_profile(config, kind.laptop_model, ON_GPUS)
        port = preflight.free_port()
        cluster = serve_app.in_several_attempts(lambda: nodes(kind))
        try:
            context = ray.init(address=cluster.address, logging_level="error")
            serve_app.deploy(application({"llm_configs": [config]}, ServiceArgs()), "gpus", "/", port)
            logs = Path(context.address_info["session_dir"]) / "logs"
            serve_app.wait_until_running("gpus", logs, lambda what: None)
            yield f"http://127.0.0.1:{port}"
        finally:
            serve_app.stop_ray()
            cluster.shutdown()


def nodes(kind: Kind):
    from ray.cluster_utils import Cluster

    cluster = Cluster()
    for _ in range(kind.nodes):
        cluster.add_node(num_cpus=4, num_gpus=kind.gpus, include_dashboard=False)
    return cluster


def test_it_answers_and_computes_where_the_gpus_are(kind, url):
    question = {"role": "user", "content": "What is the capital of France?"}
    body = {"model": kind.model, "messages": [question], "temperature": 0}
    answer = httpx.post(f"{url}/v1/chat/completions", json=body, timeout=120, trust_env=False)
    assert "Paris" in answer.json()["choices"][0]["message"]["content"]
    assert len(workers(kind)) == kind.gpus * kind.nodes


def test_on_one_node_the_replica_has_the_gpus_and_its_engine_computes(kind, url):
    import ray

    if kind.nodes > 1:
        pytest.skip("over several nodes Ray's workers have the GPUs, as vLLM starts no process on another node")
    visible = ",".join(map(str, range(kind.gpus)))
    assert all(process.environ()["CUDA_VISIBLE_DEVICES"] == visible for process in workers(kind))
    assert all(replica() in process.parents() for process in workers(kind))
    assert not named("RayWorkerProc")
    assert ray.available_resources().get("GPU", 0) == 0, "nothing is left to reserve"


def test_it_computes_on_each_node(kind, url):
    assert len({node_of(process) for process in workers(kind)}) == kind.nodes


def test_new_tokens_of_all_requests_are_taken_before_any_is_sent(kind, url):
    assert int(engine().environ()["VLLM_V1_OUTPUT_PROC_CHUNK_SIZE"]) >= 1024  # vLLM's largest batch by default


@pytest.mark.parametrize("dies", ["worker", "engine", "replica"])
def test_where_one_process_dies_all_end_and_another_replica_answers(kind, url, dies):
    if dies == "worker" and workers(kind) == [engine()]:
        pytest.skip("with one GPU the engine computes in its own process, so that there is no worker to kill")
    processes = {replica(), engine(), *workers(kind)}
    # where there is another node, one there: the engine waits for its answer in another way than for those beside it
    far = max(workers(kind), key=lambda process: node_of(process) != node_of(replica()))
    {"replica": replica(), "engine": engine(), "worker": far}[dies].kill()
    body = {"model": kind.model, "prompt": "Paris", "max_tokens": 1}
    first = httpx.post(f"{url}/v1/completions", json=body, timeout=300, trust_env=False)
    assert first.status_code in (200, 500), "answered, or told at once that it cannot be"
    _, left = psutil.wait_procs(processes, timeout=60)
    assert not left, "they hold the memory of the GPUs"
    second = httpx.post(f"{url}/v1/completions", json=body, timeout=300, trust_env=False)
    assert second.is_success, "it waits for the next replica"


def replica() -> psutil.Process:
    return engine().parent()


def engine() -> psutil.Process:
    (found,) = named("EngineCore")
    return found


def workers(kind: Kind) -> list[psutil.Process]:
    return named(kind.worker)


def node_of(process: psutil.Process) -> psutil.Process:
    """The raylet that it descends from."""
    return next(parent for parent in process.parents() if parent.name() == "raylet")


def named(word: str) -> list[psutil.Process]:
    ours = psutil.Process().children(recursive=True)
    return [process for process in ours if word in " ".join(process.cmdline())]
