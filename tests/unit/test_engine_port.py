"""Engines that start on one node in the same moment, by Ray's own configuration and vLLM's own choice of a port."""

from ray.serve.llm import LLMConfig
from vllm.v1.executor.ray_executor_v2 import RayExecutorV2

from serving import engine_port


def chosen_port(config: LLMConfig) -> int:
    env_vars = config.get_engine_config().get_runtime_env_with_local_env_vars()["env_vars"]
    return RayExecutorV2._select_tcpstore_port(0, int(env_vars[engine_port.VARIABLE]))


def config(**fields) -> LLMConfig:
    return LLMConfig(model_loading_config=dict(model_id="tiny", model_source="tiny"), **fields)


def test_each_engine_has_a_port_of_its_own():
    engines = [config() for _ in range(4)]
    for engine in engines:
        engine_port.choose(engine)
    assert len({chosen_port(engine) for engine in engines}) == 4


def test_what_a_service_sets_stays():
    chosen = config(runtime_env={"env_vars": {engine_port.VARIABLE: "30000", "OTHER": "1"}})
    engine_port.choose(chosen)
    assert chosen_port(chosen) >= 30100
    assert chosen.get_engine_config().runtime_env["env_vars"]["OTHER"] == "1"
