"""A replica with one GPU, which Ray counts and vLLM does without: all but the hardware."""

from pathlib import Path

import httpx
import psutil
import pytest

from ops import preflight

MODEL = "llama-3.1-8b"


@pytest.fixture(scope="module")
def url(root, laptop_packages):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(root))  # of the replica
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.delenv("RAY_ADDRESS", raising=False)
        import ray
        from ray.serve.llm import build_openai_app

        from laptop.profile import laptop_profile
        from ops import local_serve
        from services.small_size_llm.serve import MODELS
        from serving.llm_server import LLMServer

        config = MODELS[MODEL].model_copy(update={"server_cls": LLMServer})
        config = laptop_profile(config, "smollm2-135m", {"accelerator_config": {"kind": "gpu"}})
        port = preflight.free_port()
        try:
            context = ray.init(address="local", num_gpus=1, num_cpus=4, include_dashboard=False, logging_level="error")
            local_serve.deploy(build_openai_app({"llm_configs": [config]}), "one-gpu", "/", port)
            logs = Path(context.address_info["session_dir"]) / "logs"
            local_serve.wait_until_running("one-gpu", logs, lambda what: None)
            yield f"http://127.0.0.1:{port}"
        finally:
            local_serve.stop_ray()


def test_it_answers_from_a_process_that_has_the_gpu(url):
    question = {"role": "user", "content": "What is the capital of France?"}
    body = {"model": MODEL, "messages": [question], "temperature": 0}
    answer = httpx.post(f"{url}/v1/chat/completions", json=body, timeout=120, trust_env=False)
    assert "Paris" in answer.json()["choices"][0]["message"]["content"]
    assert "ServeReplica" in " ".join(engine().parent().cmdline())
    assert engine().environ()["CUDA_VISIBLE_DEVICES"] == "0"


def test_no_other_process_computes_and_nothing_is_left_to_reserve(url):
    import ray

    assert not [process for process in ours() if "ray::RayWorkerProc" in " ".join(process.cmdline())]
    assert ray.available_resources().get("GPU", 0) == 0


def test_new_tokens_of_all_requests_are_taken_before_any_is_sent(url):
    assert int(engine().environ()["VLLM_V1_OUTPUT_PROC_CHUNK_SIZE"]) >= 1024  # vLLM's largest batch by default


@pytest.mark.parametrize("parallel", ["tensor_parallel_size", "pipeline_parallel_size"])
def test_the_gpus_of_a_replica_with_several_are_left_to_workers(url, parallel):
    from ray.serve.llm import LLMConfig

    from serving.llm_server import LLMServer

    config = LLMConfig(model_loading_config=dict(model_id="two"), accelerator_type="L4", engine_kwargs={parallel: 2})
    placed = LLMServer.get_deployment_options(config)
    assert [bundle["GPU"] for bundle in placed["placement_group_bundles"]] == [1, 1]
    assert "num_gpus" not in placed["ray_actor_options"]


def engine() -> psutil.Process:
    (found,) = [process for process in ours() if "EngineCore" in " ".join(process.cmdline())]
    return found


def ours() -> list[psutil.Process]:
    return psutil.Process().children(recursive=True)
