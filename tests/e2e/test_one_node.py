"""Replicas with GPUs, which Ray counts and vLLM does without: all but the hardware."""

from pathlib import Path

import httpx
import psutil
import pytest

from ops import preflight
from services.medium_size_llm import serve as medium
from services.small_size_llm import serve as small

REPLICAS = {
    "one GPU": (small, "llama-3.1-8b", "smollm2-135m", 1),
    "two GPUs": (medium, "llama-3.3-70b", "llama-twin", 2),
}
ON_GPUS = {"accelerator_config": {"kind": "gpu"}, "placement_group_config.bundle_per_worker": {"CPU": 1, "GPU": 1}}


@pytest.fixture(scope="module", params=REPLICAS)
def replica(request, root, laptop_packages):
    """A URL, the name of the model there, and how many GPUs it has."""
    category, name, laptop_model, gpus = REPLICAS[request.param]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(root))  # of the replica
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.delenv("RAY_ADDRESS", raising=False)
        import ray

        from laptop.profile import laptop_profile
        from ops import local_serve
        from serving.app import ServiceArgs, application
        from serving.llm_server import LLMServer

        config = category.MODELS[name].model_copy(update={"server_cls": LLMServer})
        config = laptop_profile(config, laptop_model, ON_GPUS)
        port = preflight.free_port()
        try:
            context = ray.init(
                address="local", num_gpus=gpus, num_cpus=4, include_dashboard=False, logging_level="error"
            )
            local_serve.deploy(application({"llm_configs": [config]}, ServiceArgs()), "gpus", "/", port)
            logs = Path(context.address_info["session_dir"]) / "logs"
            local_serve.wait_until_running("gpus", logs, lambda what: None)
            yield f"http://127.0.0.1:{port}", name, gpus
        finally:
            local_serve.stop_ray()


def test_it_answers_from_processes_of_its_own_that_have_the_gpus(replica):
    url, name, gpus = replica
    question = {"role": "user", "content": "What is the capital of France?"}
    body = {"model": name, "messages": [question], "temperature": 0}
    answer = httpx.post(f"{url}/v1/chat/completions", json=body, timeout=120, trust_env=False)
    assert "Paris" in answer.json()["choices"][0]["message"]["content"]
    assert "ServeReplica" in " ".join(engine().parent().cmdline())
    computing = workers() if gpus > 1 else [engine()]
    assert len(computing) == gpus
    visible = ",".join(map(str, range(gpus)))
    assert all(process.environ()["CUDA_VISIBLE_DEVICES"] == visible for process in computing)


def test_no_process_of_ray_computes_and_nothing_is_left_to_reserve(replica):
    import ray

    assert not [process for process in ours() if "ray::RayWorkerProc" in " ".join(process.cmdline())]
    assert ray.available_resources().get("GPU", 0) == 0


def test_new_tokens_of_all_requests_are_taken_before_any_is_sent(replica):
    assert int(engine().environ()["VLLM_V1_OUTPUT_PROC_CHUNK_SIZE"]) >= 1024  # vLLM's largest batch by default


@pytest.mark.parametrize("parallel", ["tensor_parallel_size", "pipeline_parallel_size"])
def test_the_gpus_of_a_replica_over_several_nodes_are_left_to_workers_there(replica, parallel):
    from ray.serve.llm import LLMConfig

    from serving.llm_server import LLMServer

    config = LLMConfig(model_loading_config=dict(model_id="two"), accelerator_type="L4", engine_kwargs={parallel: 2})
    placed = LLMServer.get_deployment_options(config)
    assert [bundle["GPU"] for bundle in placed["placement_group_bundles"]] == [1, 1]
    assert "num_gpus" not in placed["ray_actor_options"]


@pytest.mark.parametrize("dies", ["worker", "engine", "replica"])
def test_where_one_process_dies_all_end_and_another_replica_answers(replica, dies):
    url, name, gpus = replica
    if dies == "worker" and gpus == 1:
        pytest.skip("with one GPU the engine computes in its own process")
    computing = [engine().parent(), engine(), *workers()]
    {"replica": computing[0], "engine": computing[1], "worker": computing[-1]}[dies].kill()
    _, left = psutil.wait_procs(computing, timeout=60)
    assert not left, "they hold the memory of the GPUs"
    body = {"model": name, "prompt": "Paris", "max_tokens": 1}
    answer = httpx.post(f"{url}/v1/completions", json=body, timeout=300, trust_env=False)
    assert answer.is_success, "it waits at Serve's own proxy"


def engine() -> psutil.Process:
    (found,) = named("EngineCore")
    return found


def workers() -> list[psutil.Process]:
    return named("Worker_TP")


def named(word: str) -> list[psutil.Process]:
    return [process for process in ours() if word in " ".join(process.cmdline())]


def ours() -> list[psutil.Process]:
    return psutil.Process().children(recursive=True)
