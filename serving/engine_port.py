"""The TCP port at which the workers of an engine meet."""

from ray._common.network_utils import find_free_port

from serving.llm_config import BaseLLMConfig, engine_of

VARIABLE = "VLLM_DP_MASTER_PORT"


def choose(config: BaseLLMConfig) -> None:
    """Let the engine of this replica look for its port where no other engine of the node does.

    vLLM 0.27 looks upwards from 100 more than this variable, which is 0 unless set. So where a process may listen on
    ports below 1024, as root or in Docker, engines that start in the same moment all choose port 100, and all but one
    of them fail (fixed in vLLM since: https://github.com/vllm-project/vllm/pull/53666).
    """
    engine = engine_of(config)
    runtime_env = engine.runtime_env or {}
    variables = {VARIABLE: str(find_free_port())} | runtime_env.get("env_vars", {})
    engine.runtime_env = runtime_env | {"env_vars": variables}
