"""Faults in the settings of the engine, planted one at a time in a copy of the services."""

import inspect
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace

import pytest
import ray
from ray import serve
from ray.llm._internal.common.utils.lora_utils import get_base_model_id
from ray.llm._internal.serve.core.ingress import builder
from ray.llm._internal.serve.utils.server_utils import replace_prefix
from ray.serve._private import build_app
from ray.serve._private.utils import _callable_uses_multiplexing
from ray.serve.exceptions import RayServeException
from ray.serve.llm import LLMConfig
from ray.serve.llm.deployment import LLMServer
from ray.serve.llm.request_router import PrefixCacheAffinityRouter
from vllm import envs, platforms
from vllm.config import LoadConfig
from vllm.engine.arg_utils import AsyncEngineArgs
from vllm.entrypoints.generate import api_router as generate_router
from vllm.entrypoints.openai import api_server
from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionRequest
from vllm.entrypoints.openai.cli_args import FrontendArgs
from vllm.model_executor.model_loader import get_model_loader
from vllm.model_executor.models import registry
from vllm.parser import ParserManager
from vllm.v1.executor import ray_utils

from ops.check.finding import Finding
from ops.check.registry import REFUSED_SETTING
from ops.check.rules import engine
from ops.check.rules.dead_settings import SETTINGS
from ops.check.rules.engine_combinations import COMPILED, SAME_SETTING
from ops.project.catalogue import ROOT
from ops.project.service_files import ServiceFiles, line_with
from tests.planted import Fault, change, places, plant

SHAPE = ROOT / "tests/fixtures/model_configs/microsoft__phi-2.json"
SMALL = "services/small_size_llm/serve.py"
SMALL_YAML = "services/small_size_llm/service.yaml"
SMALL_PROBE = "services/small_size_llm/probe.yaml"
MEDIUM = "services/medium_size_llm/serve.py"
REASONING_YAML = "services/reasoning_llm/service.yaml"
REASONING_PROBE = "services/reasoning_llm/probe.yaml"
APP = "serving/app.py"

PHI = 'tool_call_parser="phi4_mini_json", max_model_len=8192'
"""Engine arguments of phi-4-mini, a line of its own."""
EXPERIMENTS = "experimental_configs=STREAM_AT_ONCE"
PLACEMENT = "placement_group_config=ON_ONE_NODE,"
HEALTH = "    **HEALTH_CHECKS,\n"
BUILD = 'return application({"llm_configs": [prepared(chosen, args, laptop_model)]}, args)'
BUILT = "config = prepared(chosen, args, laptop_model)\n    return build_openai_app("
NO_STATS = 'VLLM_NO_USAGE_STATS: "1"'
HAPROXY = '  RAY_SERVE_ENABLE_HA_PROXY: "1"\n'
DIRECT = '  RAY_SERVE_LLM_ENABLE_DIRECT_STREAMING: "1"  # from HAProxy straight to the replica\n'
STREAMING_OFF = (SMALL_YAML, DIRECT, "")
ROUTE = "    route_prefix: /\n"
RAYS_PREFIX_ROUTER = 'request_router_class="ray.serve.llm.request_router.PrefixCacheAffinityRouter"'
PREFIX_ROUTER = 'request_router_class="serving.routing.prefix_router:PrefixRouter"'
BOUNDED = "request_router_kwargs=dict(imbalanced_threshold=5, do_eviction=True)"
ARGS = "      profile: gpu\n"


def argument(name: str, given: str, check: str, at: str = "", also: tuple[tuple[str, str, str], ...] = ()) -> Fault:
    """An engine argument of phi-4-mini, on a line of its own."""
    written = f"{PHI},\n            {given}"
    return Fault(name, SMALL, PHI, written, check, at or given.split("\n")[0], also)


def variable(name: str, check: str, value: str = "1", also: tuple[tuple[str, str, str], ...] = ()) -> Fault:
    return Fault(name, SMALL_YAML, NO_STATS, f'{NO_STATS}\n  {name}: "{value}"', check, f"  {name}:", also)


def request(field: str, check: str, file: str = SMALL_PROBE) -> Fault:
    first = "      max_tokens: "
    return Fault(field, file, first, f"      {field}\n{first}", check, field)


def placement(name: str, given: str, at: str = "") -> Fault:
    return Fault(name, MEDIUM, PLACEMENT, f"placement_group_config={given},", "placement-group-refused", at)


def router(name: str, given: str, check: str, at: str = "", also: tuple[tuple[str, str, str], ...] = ()) -> Fault:
    return Fault(name, SMALL, HEALTH, f"{HEALTH}    request_router_config=dict({given}),\n", check, at, also)


ARGUMENTS = [
    argument("misspelt argument", "max_model_length=8192", "unknown-engine-argument"),
    argument("argument of the command line", '**{"max-num-seqs": 8}', "unknown-engine-argument"),
    argument("argument of another version", "num_scheduler_steps=8", "unknown-engine-argument"),
    argument("number in quotes", 'max_num_seqs="64"', "invalid-engine-argument"),
    argument("size as on the command line", 'max_num_batched_tokens="8k"', "invalid-engine-argument"),
    argument("true in quotes", 'enforce_eager="true"', "invalid-engine-argument"),
    argument("number for true", "trust_remote_code=1", "invalid-engine-argument"),
    argument("text for a list", 'allowed_media_domains="example.com"', "invalid-engine-argument"),
    argument("per cent for a share", "gpu_memory_utilization=92", "invalid-engine-argument"),
    argument("less than one", "max_num_seqs=0", "invalid-engine-argument"),
    argument("dtype", 'dtype="bf16"', "invalid-engine-argument"),
    argument("dtype of the KV cache", 'kv_cache_dtype="fp8_e4m4"', "invalid-engine-argument"),
    argument("quantisation", 'quantization="auto-awq-v2"', "invalid-engine-argument"),
    argument("load format", 'load_format="runai"', "invalid-engine-argument"),
    argument("tokenizer mode", 'tokenizer_mode="mistal"', "invalid-engine-argument"),
    argument("attention backend", 'attention_backend="FLASH_ATN"', "invalid-engine-argument"),
    argument("LoRA rank", "enable_lora=True, max_lora_rank=20", "invalid-engine-argument"),
    argument("within a dict", 'limit_mm_per_prompt=dict(image="8")', "invalid-engine-argument"),
    argument(
        "field of a structured argument",
        "compilation_config=dict(\n                cudagraph_capture_size=[1, 2],\n            )",
        "unknown-engine-argument",
        "cudagraph_capture_size=",
    ),
    argument(
        "value in a structured argument",
        'structured_outputs_config=dict(\n                backend="xgramar",\n            )',
        "invalid-engine-argument",
        'backend="xgramar"',
    ),
    argument("structure that refuses", 'kv_transfer_config=dict(kv_connector="Nixl")', "invalid-engine-argument"),
    argument("field of speculative_config", "speculative_config=dict(num_tokens=3)", "unknown-engine-argument"),
    argument("method of speculation", 'speculative_config=dict(method="ngrams")', "invalid-engine-argument"),
    Fault("tool call parser", SMALL, '"phi4_mini_json"', '"phi4_mini"', "unknown-parser"),
    Fault("reasoning parser", MEDIUM, 'reasoning_parser="qwen3"', 'reasoning_parser="qwen_3"', "unknown-parser"),
    Fault(
        "parser shared by models",
        "services/hybrid_reasoning_llm/serve.py",
        'reasoning_parser="qwen3"',
        'reasoning_parser="deepseek_qwen3"',
        "unknown-parser",
    ),
]

COMBINATIONS = [
    Fault(
        "colon in a model id",
        SMALL,
        'model_id="phi-2"',
        'model_id="phi-2:latest"',
        "model-id-for-direct-streaming-only",
    ),
    Fault(
        "two hyphens in a model id",
        SMALL,
        'model_id="phi-2"',
        'model_id="microsoft--phi-2"',
        "model-id-for-direct-streaming-only",
    ),
    Fault("tool choice without a parser", SMALL, PHI, "max_model_len=8192", "needs-another-setting", "TOOLS = "),
    Fault(
        "parser without tool choice",
        SMALL,
        f"**TOOLS, {PHI}",
        PHI,
        "needs-another-setting",
    ),
    argument("output logs without request logs", "enable_log_outputs=True", "setting-without-effect"),
    argument("LoRA rank without LoRA", "max_lora_rank=16", "setting-without-effect"),
    argument("EPLB without expert parallelism", "enable_eplb=True", "needs-another-setting"),
    argument(
        "capture sizes twice",
        "cudagraph_capture_sizes=[1], compilation_config=dict(cudagraph_capture_sizes=[1])",
        "argument-set-twice",
    ),
    argument("eager, and captured", "enforce_eager=True, max_cudagraph_capture_size=64", "overridden-setting"),
    argument(
        "eager, and compiled",
        "enforce_eager=True,\n            compilation_config=dict(mode=3)",
        "overridden-setting",
        "compilation_config=",
    ),
    argument("memory twice", "kv_cache_memory_bytes=2**30, gpu_memory_utilization=0.9", "overridden-setting"),
    argument("no statistics for the metrics", "disable_log_stats=True", "metrics-without-statistics"),
    argument("more sequences than tokens", "max_num_seqs=512, max_num_batched_tokens=256", "size-above-its-limit"),
    Fault(
        "no chunks, and a batch shorter than the context",
        SMALL,
        PHI,
        f"{PHI}, enable_chunked_prefill=False, max_num_batched_tokens=4096",
        "size-above-its-limit",
    ),
    argument(
        "more adapters than fit the CPU", "enable_lora=True, max_loras=8, max_cpu_loras=4", "size-above-its-limit"
    ),
]

PARALLELISM = [
    argument("executor", 'distributed_executor_backend="mp"', "executor-refused"),
    argument("nodes", "nnodes=2", "executor-refused"),
    argument("data parallelism", "data_parallel_size=2", "data-parallel-without-its-builder"),
    placement("bundles twice", "dict(\n        bundle_per_worker=dict(GPU=1),\n        bundles=[])", "bundles=[]"),
    placement("a bundle of eight GPUs", "dict(bundle_per_worker=dict(GPU=8))"),
    placement("one bundle of eight GPUs", 'dict(bundles=[{"GPU": 8}])'),
    Fault(
        "fewer bundles than workers",
        "services/large_size_llm/serve.py",
        'COMMON = dict(accelerator_type="H100"',
        'COMMON = dict(placement_group_config=dict(bundles=[dict(GPU=1)] * 8), accelerator_type="H100"',
        "placement-group-refused",
    ),
    Fault(
        "bundles without a GPU",
        MEDIUM,
        PLACEMENT,
        "placement_group_config=dict(bundle_per_worker=dict(CPU=1)),",
        "accelerator-without-gpu",
        'accelerator_type="L40S"',
    ),
    Fault(
        "GPU type on CPUs",
        SMALL,
        'COMMON = dict(accelerator_type="L4"',
        'COMMON = dict(accelerator_config=dict(kind="cpu"), accelerator_type="L4"',
        "accelerator-without-gpu",
    ),
]

ROUTING = [
    Fault("direct streaming without HAProxy", SMALL_YAML, HAPROXY, "", "direct-streaming-refused", DIRECT.strip()),
    Fault(
        "replicas of an ingress that is not there",
        APP,
        BUILD,
        f'{BUILT}\n        {{\n            "llm_configs": [config],\n'
        '            "ingress_deployment_config": {"num_replicas": 2},\n        }\n    )',
        "direct-streaming-refused",
        '"ingress_deployment_config"',
    ),
    Fault(
        "class of an ingress that is not there",
        APP,
        BUILD,
        f'{BUILT}\n        dict(llm_configs=[config], ingress_cls_config=dict(ingress_cls="a:B"))\n    )',
        "direct-streaming-refused",
        "ingress_cls_config=",
    ),
    Fault(
        "two models",
        APP,
        BUILD,
        f'{BUILT}{{"llm_configs": [config, config]}})',
        "direct-streaming-refused",
        f"{SMALL_YAML}: {DIRECT.strip()}",
    ),
    Fault(
        "router of an ingress behind HAProxy",
        APP,
        BUILD,
        f'{BUILT}{{"llm_configs": [config], "ingress_deployment_config": '
        '{"request_router_config": {"request_router_class": "a.B"}}})',
        "router-refused",
        "ingress_deployment_config",
        also=(STREAMING_OFF,),
    ),
    Fault(
        "adapters",
        SMALL,
        f"{PHI}),",
        f"enable_lora=True, max_loras=16, {PHI}),\n"
        '        lora_config=dict(dynamic_lora_loading_path="s3://bucket/adapters"),',
        "direct-streaming-refused",
        "lora_config=",
    ),
    Fault(
        "adapters that vLLM cannot load",
        SMALL,
        f"{PHI}),",
        f'{PHI}),\n        lora_config=dict(dynamic_lora_loading_path="s3://bucket/adapters"),',
        "needs-another-setting",
        "lora_config=",
        also=(STREAMING_OFF,),
    ),
    router(
        "router that sees no prompt",
        f"{PREFIX_ROUTER}, {BOUNDED}",
        "router-without-prompts",
        PREFIX_ROUTER,
    ),
    Fault(
        "routing by a prompt that is not seen",
        SMALL_YAML,
        ARGS,
        f"{ARGS}      routing: prefix\n",
        "router-refused",
        "routing: prefix",
    ),
    router(
        "router that gets nothing to read",
        f"{RAYS_PREFIX_ROUTER}, {BOUNDED}",
        "prefix-router-remembers-nothing",
        RAYS_PREFIX_ROUTER,
    ),
    router(
        "KV router without direct streaming",
        'request_router_class="ray.serve.llm.request_router:KVAwareRouter"',
        "router-without-prompts",
        "KVAwareRouter",
        also=(STREAMING_OFF,),
    ),
    router(
        "prefixes before load",
        f"{PREFIX_ROUTER}, request_router_kwargs=dict(do_eviction=True)",
        "prefix-router-ignores-load",
        "do_eviction=True",
        also=(STREAMING_OFF,),
    ),
    router(
        "prefixes kept for ever",
        f"{RAYS_PREFIX_ROUTER}, request_router_kwargs=dict(imbalanced_threshold=5)",
        "prefix-router-never-forgets",
        "imbalanced_threshold=5",
        also=(STREAMING_OFF,),
    ),
]

DEAD = [
    Fault(
        "replicas of the ingress",
        SMALL,
        EXPERIMENTS,
        "experimental_configs=dict(num_ingress_replicas=2)",
        "setting-without-effect",
    ),
    Fault(
        "replicas of the router",
        SMALL,
        EXPERIMENTS,
        "experimental_configs=dict(num_router_replicas=2)",
        "refused-setting",
    ),
    Fault(
        "source of the tokenizer",
        SMALL,
        'model_id="phi-2",',
        'model_id="phi-2", tokenizer_source="microsoft/phi-2",',
        "ignored-setting",
    ),
    argument("name of the model", 'model="microsoft/Phi-4-mini-instruct"', "refused-setting"),
    argument("port", "port=8080", "setting-without-effect"),
    argument("plugin of a parser", 'tool_parser_plugin="parsers.py"', "ignored-setting"),
    argument("keys without direct streaming", 'api_key=["secret"]', "protection-without-effect", also=(STREAMING_OFF,)),
    argument("CORS without direct streaming", 'allowed_origins=["a"]', "setting-without-effect", also=(STREAMING_OFF,)),
    variable("VLLM_API_KEY", "protection-without-effect", also=(STREAMING_OFF,)),
    variable("VLLM_USE_V1", "setting-without-effect"),
    variable("VLLM_ATTENTION_BACKEND", "setting-without-effect", "FLASHINFER"),
    variable("RAY_SERVE_LLM_ROUTER_MIN_REPLICAS", "setting-without-effect"),
    variable("RAY_SERVE_LLM_ROUTER_HTTP_TIMEOUT", "setting-without-effect"),
    variable("RAYLLM_GUIDED_DECODING_BACKEND", "setting-without-effect", "xgrammar"),
]

VARIABLES = [
    variable("VLLM_ENGINE_READY_TIMEOUT", "unknown-variable"),
    variable("RAY_SERVE_HAPROXY_MAXCON", "unknown-variable"),
    variable("RAYLLM_ENGINE_START_TIMEOUT", "unknown-variable"),
    variable("RAY_health_check_perod_ms", "unknown-variable"),
    Fault(
        "Serve's own, of an application",
        SMALL_YAML,
        ROUTE,
        f'{ROUTE}    runtime_env:\n      env_vars:\n        RAY_SERVE_THROUGHPUT_OPTIMIZED: "1"\n',
        "serve-variable-in-runtime-env",
        "RAY_SERVE_THROUGHPUT_OPTIMIZED",
    ),
    Fault(
        "Serve's own, of a model",
        SMALL,
        EXPERIMENTS,
        f'{EXPERIMENTS}, runtime_env=dict(env_vars=dict(RAY_SERVE_THROUGHPUT_OPTIMIZED="1"))',
        "serve-variable-in-runtime-env",
    ),
    Fault(
        "of the application, lost beside the model's",
        SMALL,
        EXPERIMENTS,
        f'{EXPERIMENTS}, runtime_env=dict(env_vars=dict(HF_HUB_OFFLINE="1"))',
        "runtime-env-replaced",
        also=((SMALL_YAML, ROUTE, f'{ROUTE}    runtime_env: {{env_vars: {{OMP_NUM_THREADS: "8"}}}}\n'),),
    ),
]

REQUESTS = [
    request("guided_json: {type: object}", "unknown-request-field"),
    request("guided_choice: [yes, no]", "unknown-request-field"),
    request("max_new_tokens: 5", "unknown-request-field"),
    request("enable_thinking: false", "unknown-request-field"),
    request("thinking_token_budget: 5", "thinking-budget-refused"),
    Fault(
        "budget of thinking tokens with the wrong runner",
        REASONING_YAML,
        "VLLM_USE_V2_MODEL_RUNNER",
        "VLLM_NO_USAGE_STATS",
        "thinking-budget-refused",
        at=f"{REASONING_PROBE}: thinking_token_budget",
    ),
]

FAULTS = ARGUMENTS + COMBINATIONS + PARALLELISM + ROUTING + DEAD + VARIABLES + REQUESTS


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_fault_is_told_where_it_is_and_nothing_else(fault, copied):
    expected = plant(copied, fault)
    assert places(of_the_engine(copied, fault.folder)) == [expected]


def test_quick_findings_import_neither_ray_nor_vllm_nor_the_sdk(project):
    program = """
import sys
from pathlib import Path
from ops.check.rules import engine
from ops.project.service_files import ServiceFiles
root = Path.cwd()
list(engine.quick_findings(ServiceFiles(root, root / "services/small_size_llm")))
sys.exit(", ".join({"ray", "vllm", "anyscale"} & set(sys.modules)) or 0)
"""
    subprocess.run([sys.executable, "-c", program], cwd=project, check=True)


def of_the_engine(root: Path, folder: str = "small_size_llm") -> list[Finding]:
    files = ServiceFiles(root, root / "services" / folder)
    return [*engine.quick_findings(files), *engine.findings(files)]


def test_models_in_service_yaml_are_looked_at_too(copied):
    file = copied / SMALL_YAML
    head = file.read_text().partition("    import_path:")[0]
    file.write_text(
        f"""{head}    import_path: ray.serve.llm:build_openai_app
    args:
      ingress_deployment_config: {{num_replicas: 2}}
      llm_configs:
        - model_loading_config: {{model_id: phi-2}}
          accelerator_type: L4
          placement_group_config:
            bundles:
              - GPU: 4
          engine_kwargs:
            data_parallel_size: 2
            max_model_length: 2048
"""
    )
    lines = file.read_text().splitlines()
    expected = {
        ("direct-streaming-refused", line_with(lines, "ingress_deployment_config")),
        ("placement-group-refused", line_with(lines, "- GPU: 4")),
        ("data-parallel-without-its-builder", line_with(lines, "data_parallel_size")),
        ("unknown-engine-argument", line_with(lines, "max_model_length")),
    }
    assert {(finding.check, finding.line) for finding in of_the_engine(copied)} == expected


@pytest.mark.parametrize(
    "edit",
    [
        (SMALL, f"engine_kwargs=dict(**TOOLS, {PHI})", 'engine_kwargs="max_model_len: 8192"'),
        (SMALL, f"engine_kwargs=dict(**TOOLS, {PHI})", "engine_kwargs=None"),
        (SMALL, EXPERIMENTS, "experimental_configs=[1], placement_group_config=[2], runtime_env=3, lora_config=4"),
        (SMALL, HEALTH, f"{HEALTH}    request_router_config=5,\n"),
        (SMALL_YAML, "env_vars:", "env_vars: []\nothers:"),
        (SMALL_YAML, ROUTE, f"{ROUTE}    runtime_env: [1]\n"),
        (SMALL_PROBE, "checks:", "checks: 5\nothers:"),
        (SMALL_PROBE, "    request:", "    request: [1]\n    others:"),
    ],
    ids=lambda edit: edit[2].split("\n")[-2 if edit[2].endswith("\n") else 0].strip(),
)
def test_strange_input_is_no_error(edit, copied):
    change(copied, *edit)
    of_the_engine(copied)


# What the findings say, by the installed Ray and vLLM themselves.


def config(**fields) -> LLMConfig:
    loading = dict(model_id="phi-2", model_source="microsoft/phi-2")
    return LLMConfig(**{"model_loading_config": loading, "accelerator_type": "L4", **fields})


@pytest.fixture(scope="module")
def shape(tmp_path_factory) -> Path:
    """A folder with the configuration of a small dense model, and no weights."""
    folder = tmp_path_factory.mktemp("shape")
    shutil.copy(SHAPE, folder / "config.json")
    return folder


@pytest.fixture
def engine_config(shape, monkeypatch) -> Callable:
    """vLLM's whole configuration, made of engine arguments."""
    # vLLM looks at a model's class in a new process, to keep CUDA out of its own: 15 s on two cores.
    monkeypatch.setattr(registry, "_run_in_subprocess", lambda look: look())

    def make(**arguments):
        return AsyncEngineArgs(model=str(shape), skip_tokenizer_init=True, **arguments).create_engine_config()

    return make


@pytest.mark.parametrize("name", [s.name for s in SETTINGS if s.where == "engine_kwargs" and s.rule is REFUSED_SETTING])
def test_ray_refuses_what_is_said_to_be_refused(name):
    with pytest.raises(ValueError, match=name):
        config(engine_kwargs={name: "x"}).get_engine_config().get_initialization_kwargs()


@pytest.mark.parametrize(
    "name", [s.name for s in SETTINGS if s.where == "experimental_configs" and s.rule is REFUSED_SETTING]
)
def test_ray_refuses_experiments_that_are_said_to_be_refused(name):
    with pytest.raises(ValueError, match=name):
        config(experimental_configs={name: 2})


def test_ray_refuses_unknown_arguments_when_it_builds():
    with pytest.raises(ValueError, match="max_model_length"):
        config(engine_kwargs=dict(max_model_length=8192)).get_engine_config()


def test_ray_counts_with_sizes_as_they_are_given():
    with pytest.raises(TypeError):
        _ = config(engine_kwargs=dict(tensor_parallel_size="8")).get_engine_config().placement_bundles


def test_ray_reserves_one_data_parallel_rank():
    assert len(config(engine_kwargs=dict(data_parallel_size=4)).get_engine_config().placement_bundles) == 1


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (dict(engine_kwargs=dict(disable_log_stats=True)), "disable_log_stats"),
        (dict(placement_group_config=dict(bundle_per_worker=dict(GPU=1), bundles=[dict(GPU=1)])), "both"),
        (dict(placement_group_config=dict(bundle_per_worker=dict(CPU=1))), "CPU-only"),
        (dict(accelerator_config=dict(kind="cpu")), "CPU-only"),
    ],
    ids=str,
)
def test_ray_refuses_the_two_together(fields, message):
    with pytest.raises(ValueError, match=message):
        config(**fields).get_engine_config()


def test_ray_refuses_other_executors_on_a_gpu_and_replaces_them_on_a_cpu():
    on_gpu = config(engine_kwargs=dict(distributed_executor_backend="mp")).get_engine_config()
    with pytest.raises(ValueError, match="distributed_executor_backend"):
        on_gpu.get_initialization_kwargs()
    on_cpu = dict(accelerator_type=None, accelerator_config=dict(kind="cpu"))
    arguments = dict(distributed_executor_backend="ray")
    taken = config(engine_kwargs=arguments, **on_cpu).get_engine_config().get_initialization_kwargs()
    assert taken["distributed_executor_backend"] == "mp"


@pytest.mark.parametrize(
    ("bundles", "message"), [([{"GPU": 8}], "more than 1 GPU"), ([{"GPU": 1}], "exceeds the total number")]
)
def test_vllm_refuses_bundles_that_are_not_one_gpu_for_each_worker(bundles, message, monkeypatch):
    monkeypatch.setattr(ray_utils.ray, "is_initialized", lambda: True)
    monkeypatch.setattr(platforms.current_platform, "ray_device_key", "GPU")
    group = SimpleNamespace(bundle_specs=bundles)
    with pytest.raises(ValueError, match=message):
        ray_utils.initialize_ray_cluster(SimpleNamespace(placement_group=group, world_size=8))


def test_ray_gives_colons_and_two_hyphens_in_a_model_id_a_meaning():
    assert get_base_model_id("phi-2:latest") == "phi-2"
    assert replace_prefix("microsoft--phi-2") == "microsoft/phi-2"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (dict(ingress_deployment_config=dict(num_replicas=2)), "ingress_deployment_config"),
        (dict(ingress_cls_config=dict(ingress_extra_kwargs=dict(a=1))), "ingress_cls_config"),
        (dict(llm_configs=2), "one LLM config"),
    ],
    ids=lambda value: str(value),
)
def test_ray_refuses_with_direct_streaming(settings, message, monkeypatch):
    monkeypatch.setattr(builder, "RAY_SERVE_LLM_ENABLE_DIRECT_STREAMING", True)
    number = settings.pop("llm_configs", 1)
    configs = [config(model_loading_config=dict(model_id=f"model-{index}")) for index in range(number)]
    with pytest.raises(ValueError, match=message):
        builder.build_openai_app({"llm_configs": configs, **settings})


@pytest.mark.parametrize("haproxy", [False, True])
def test_serve_refuses_routers_that_haproxy_would_bypass_and_direct_streaming_without_it(haproxy, monkeypatch):
    class Ingress:
        pass

    monkeypatch.setattr(build_app, "RAY_SERVE_ENABLE_HA_PROXY", haproxy)
    router = dict(request_router_class="ray.serve.llm.request_router.PrefixCacheAffinityRouter")
    app = serve.deployment(Ingress, request_router_config=router).bind()
    if not haproxy:
        app = app._with_ingress_request_router(serve.deployment(Ingress, name="router").bind())
    with pytest.raises(RayServeException, match="HAProxy"):
        build_app.build_app(app, name="app")


def test_adapters_are_what_serve_refuses_in_a_replica_that_requests_reach_directly():
    for lora_config, refused in ((dict(dynamic_lora_loading_path="s3://bucket/adapters"), True), (None, False)):
        replica = SimpleNamespace(_llm_config=config(lora_config=lora_config))
        LLMServer._init_multiplex_loader(replica)  # what LLMServer does when it is made
        assert _callable_uses_multiplexing(replica) is refused


def test_prefix_router_never_yields_to_load_and_never_forgets_by_default():
    defaults = inspect.signature(PrefixCacheAffinityRouter.initialize_state).parameters
    assert defaults["imbalanced_threshold"].default == float("inf")
    assert defaults["do_eviction"].default is False


@pytest.mark.parametrize("name", SAME_SETTING)
def test_vllm_refuses_a_setting_given_twice(name, engine_config):
    config, key = SAME_SETTING[name]
    value = {"attention_backend": "FLASH_ATTN", "cudagraph_capture_sizes": [1], "spec_method": "ngram"}.get(name, 1)
    with pytest.raises(ValueError, match="mutually exclusive"):
        engine_config(**{name: value, config: {key: value}})


@pytest.mark.parametrize("way", COMPILED, ids=".".join)
def test_eager_overrides(way, engine_config):
    values = {"mode": 3, "cudagraph_mode": "FULL", "cudagraph_capture_sizes": [1], "max_cudagraph_capture_size": 1}
    given = {way[-1]: values[way[-1]]}
    compilation = engine_config(enforce_eager=True, **(given if len(way) == 1 else {way[0]: given})).compilation_config
    assert compilation.mode == compilation.cudagraph_mode.value == 0


def test_without_enable_lora_there_is_no_lora(engine_config):
    assert engine_config(max_lora_rank=64, max_loras=4).lora_config is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(max_num_seqs=512, max_num_batched_tokens=256, max_model_len=2048), "max_num_batched_tokens"),
        (dict(max_model_len=2048, max_num_batched_tokens=1024, enable_chunked_prefill=False), "max_model_len"),
        (dict(long_prefill_token_threshold=4096, max_model_len=2048), "long_prefill_token_threshold"),
        (dict(enable_lora=True, max_loras=8, max_cpu_loras=4), "max_cpu_loras"),
        (dict(gpu_memory_utilization=92), "gpu_memory_utilization"),
        (dict(dtype="bf16"), "dtype"),
        (dict(attention_backend="FLASH_ATN"), "FLASH_ATN"),
        (dict(quantization="auto-awq-v2"), "auto-awq-v2"),
        (dict(enable_lora=True, max_lora_rank=20), "max_lora_rank"),
        (dict(speculative_config=dict(num_tokens=3)), "num_tokens"),
        (dict(nnodes=2, tensor_parallel_size=2, distributed_executor_backend="ray"), "nnodes > 1"),
    ],
    ids=str,
)
def test_vllm_refuses(arguments, message, engine_config):
    with pytest.raises(Exception, match=message):  # a ValueError, a KeyError or pydantic's
        engine_config(**arguments)


def test_vllm_refuses_load_formats_that_it_does_not_have():
    with pytest.raises(ValueError, match="not supported"):
        get_model_loader(LoadConfig(load_format="runai"))


def test_vllm_takes_no_tool_parser_unless_tools_may_be_chosen():
    assert ParserManager.get_tool_parser("hermes", enable_auto_tools=False) is None
    assert ParserManager.get_tool_parser(None, enable_auto_tools=True) is None
    with pytest.raises(TypeError, match="not been registered"):
        ParserManager.get_tool_parser("phi4_mini", enable_auto_tools=True)


# The table of settings without an effect, looked for in the installed sources.


def sources(*folders: str) -> dict[Path, str]:
    packages = Path(ray.__file__).parents[1]
    return {file: file.read_text() for folder in folders for file in (packages / folder).rglob("*.py")}


@pytest.fixture(scope="module")
def ray_llm() -> dict[Path, str]:
    return sources("ray/llm", "ray/serve")


@pytest.fixture(scope="module")
def vllm_app() -> str:
    """What Ray runs of vLLM's server: its app, which only direct streaming uses, and the state of it."""
    return inspect.getsource(api_server.build_app) + vllm_state()


def vllm_state() -> str:
    return inspect.getsource(api_server.init_app_state) + inspect.getsource(generate_router.init_generate_state)


def named(where: str, only: str = "always") -> list[str]:
    return [setting.name for setting in SETTINGS if (setting.where, setting.only) == (where, only)]


@pytest.mark.parametrize("name", [name for name in named("env_vars") if name.startswith("RAY")])
def test_nothing_uses_the_constant_that_a_dead_variable_becomes(name, ray_llm):
    (constants,) = [text for file, text in ray_llm.items() if file.match("llm/_internal/serve/constants.py")]
    constant = re.search(rf'^(\w+) = [^=]*?"{name}"', constants, re.MULTILINE).group(1)
    used = re.compile(rf'(?<!")\b{constant}\b')
    assert len(used.findall(constants)) == 1
    assert not any(used.search(text) for file, text in ray_llm.items() if not file.match("serve/constants.py"))


@pytest.mark.parametrize("name", [name for name in named("env_vars") if name.startswith("VLLM")])
def test_vllm_does_not_know_a_dead_variable(name, monkeypatch):
    monkeypatch.setenv(name, "1")
    with pytest.raises(ValueError, match=name):
        envs.validate_environ(hard_fail=True)


@pytest.mark.parametrize("name", named("experimental_configs"))
def test_no_code_reads_a_dead_experiment(name, ray_llm):
    code = [text for file, text in ray_llm.items() if "_internal" in file.parts]
    assert not any(f'get("{name}"' in text or f'["{name}"]' in text for text in code)


def test_no_code_reads_the_source_of_the_tokenizer(ray_llm):
    assert not any(".tokenizer_source" in text for text in ray_llm.values())


@pytest.mark.parametrize("name", sorted(set(named("engine_kwargs")) & {field.name for field in fields(FrontendArgs)}))
def test_the_app_does_not_read_arguments_of_vllms_own_server(name, vllm_app):
    assert not re.search(rf"\bargs\.{name}\b", vllm_app)


@pytest.mark.parametrize("name", sorted(set(named("engine_kwargs", "without direct streaming")) - {"lora_modules"}))
def test_only_the_app_of_direct_streaming_reads(name):
    assert not re.search(rf"\bargs\.{name}\b", vllm_state())


@pytest.mark.parametrize("name", named("request"))
def test_vllm_ignores_a_field_that_it_no_longer_has(name):
    asked = ChatCompletionRequest(messages=[], **{name: "x"})
    assert name not in ChatCompletionRequest.model_fields
    assert asked.structured_outputs is None


def test_every_dead_argument_is_one_that_could_be_given():
    known = {field.name for holder in (AsyncEngineArgs, FrontendArgs) for field in fields(holder)}
    assert {setting.name for setting in SETTINGS if setting.where == "engine_kwargs"} <= known
