"""Faults in prefill-decode and data-parallel layouts of large-size-llm, planted one at a time."""

from pathlib import Path

import pytest

from ops.check import run
from ops.check.finding import Finding
from ops.project.service_files import ServiceFiles
from tests.planted import Fault, change, findings, places, plant

YAML, SERVE = "services/large_size_llm/service.yaml", "services/large_size_llm/serve.py"
LAYOUTS, CONTAINERFILE = "serving/layouts.py", "services/large_size_llm/Containerfile"
MODELS = "services/large_size_llm/models.yaml"
RANKS = "data_parallel_size=8"
PREFILL, DECODE = "**SENDS_KV_CACHE, ", "**FETCHES_KV_CACHE, "
ON_H200 = 'ON_H200 = dict(accelerator_type="H200", '


def layout(name: str, nodes: int = 2) -> tuple[tuple[str, str, str], ...]:
    """What README.md says to change in service.yaml."""
    return (
        (YAML, "      profile: gpu", f"      profile: gpu\n      layout: {name}"),
        (YAML, "p5.48xlarge", "p5en.48xlarge"),
        (YAML, "max_nodes: 4", f"max_nodes: {nodes}"),
    )


FAULTS_OF_BOTH_SIDES = [
    Fault(
        "no transfer for decode",
        SERVE,
        DECODE,
        "",
        "no-kv-transfer",
        "engine_kwargs=dict(**ENGINE, **THINKING, **TOOLS",
    ),
    Fault("wrong role", LAYOUTS, 'role="kv_producer"', 'role="kv_consumer"', "wrong-kv-role", "SENDS_KV_CACHE = dict("),
    Fault(
        "no role", LAYOUTS, ', kv_role="kv_producer"', "", "wrong-kv-role", f"{SERVE}: engine_kwargs=dict(**ENGINE, **T"
    ),
    Fault("another connector", LAYOUTS, '"NixlConnector"', '"NixlPushConnector"', "unsupported-kv-connector"),
    Fault("connectors differ", LAYOUTS, '"NixlConnector"', '"LMCacheConnectorV1"', "prefill-decode-differ"),
    Fault("contexts differ", SERVE, PREFILL, f"{PREFILL}max_model_len=32768, ", "prefill-decode-differ"),
    Fault("KV caches differ", SERVE, PREFILL, f'{PREFILL}kv_cache_dtype="fp8", ', "prefill-decode-differ"),
    Fault(
        "models differ",
        SERVE,
        "PREFILL = dict(",
        'PREFILL = dict(model_loading_config=dict(model_id="deepseek-r1", model_source="deepseek-ai/DeepSeek-R1"), ',
        "prefill-decode-differ",
        "PREFILL = dict(",
    ),
    Fault(
        "ports overlap",
        SERVE,
        "DECODE = dict(",
        "DECODE = dict(experimental_configs=dict(NIXL_SIDE_CHANNEL_PORT_BASE=20001), ",
        "nixl-addresses-collide",
    ),
    Fault(
        "one port for all",
        YAML,
        "env_vars:\n",
        "env_vars:\n  VLLM_NIXL_SIDE_CHANNEL_PORT: '20000'\n",
        "nixl-addresses-collide",
        "_PORT:",
    ),
    Fault(
        "one host for all",
        YAML,
        "env_vars:\n",
        "env_vars:\n  VLLM_NIXL_SIDE_CHANNEL_HOST: a\n",
        "nixl-addresses-collide",
        "_HOST:",
    ),
    Fault(
        "two groups on a node",
        SERVE,
        RANKS,
        "data_parallel_size=4",
        "nixl-addresses-collide",
        also=((SERVE, "num_replicas=1", "num_replicas=2"),),
    ),
    Fault("two stages", SERVE, "pipeline_parallel_size=1", "pipeline_parallel_size=2", "nixl-with-pipeline-stages"),
    Fault(
        "another image",
        CONTAINERFILE,
        "anyscale/ray-llm:2.59.0-py312-cu130",
        "example.com/ray:1",
        "nixl-not-in-image",
    ),
    Fault("nodes for one side", YAML, "max_nodes: 2", "max_nodes: 1", "too-few-nodes"),
    Fault(
        "two of each on two nodes", SERVE, "num_replicas=1", "num_replicas=2", "too-few-nodes", f"{YAML}: max_nodes:"
    ),
    Fault(
        "nodes of the pipeline", YAML, "p5en.48xlarge", "p5.48xlarge", "no-node-with-that-gpu", f"{SERVE}: {ON_H200}"
    ),
]
FAULTS_OF_RANKS = [
    Fault("one rank", SERVE, RANKS, "data_parallel_size=1", "data-parallel-of-one-rank"),
    Fault("uneven", SERVE, RANKS, "data_parallel_size=6", "experts-not-shared-evenly"),
    Fault(
        "sliced experts",
        SERVE,
        "enable_expert_parallel=True",
        "enable_expert_parallel=False",
        "data-parallel-slices-experts",
    ),
    Fault("more ranks than GPUs", SERVE, RANKS, "data_parallel_size=32", "too-few-nodes", f"{YAML}: max_nodes:"),
    Fault(
        "placed by hand",
        SERVE,
        ON_H200,
        f'{ON_H200}placement_group_config=dict(bundle_per_worker=dict(GPU=1), strategy="SPREAD"), ',
        "setting-without-effect",
    ),
    Fault(
        "an ingress with direct streaming",
        LAYOUTS,
        'build_dp_openai_app({"llm_config"',
        'build_dp_openai_app({"ingress_deployment_config": {"num_replicas": 2}, "llm_config"',
        "direct-streaming-refused",
    ),
    Fault("batches too large", SERVE, "tokens=2048", "tokens=16384", "does-not-fit", "RANKS = dict("),
    Fault("unknown layout", YAML, "layout: data-parallel", "layout: data-paralel", "args-do-not-fit"),
    Fault("a model without experts", YAML, "model: deepseek-r1-0528", "model: nemotron-ultra-253b", "args-do-not-fit"),
]


def quick(root: Path) -> list[Finding]:
    return run.once(run.run(run.QUICK, ServiceFiles(root, root / "services/large_size_llm")))


@pytest.mark.parametrize("fault", FAULTS_OF_BOTH_SIDES, ids=lambda fault: fault.name)
def test_fault_of_prefill_and_decode(fault, copied):
    arrange(copied, "prefill-decode")
    assert plant(copied, fault) in places(quick(copied))


@pytest.mark.parametrize("fault", FAULTS_OF_RANKS, ids=lambda fault: fault.name)
def test_fault_of_data_parallel_ranks(fault, copied):
    arrange(copied, "data-parallel")
    assert plant(copied, fault) in places(quick(copied))


def arrange(root: Path, name: str) -> None:
    for file, old, new in layout(name):
        change(root, file, old, new)


@pytest.mark.parametrize("name", ["prefill-decode", "data-parallel"])
def test_layouts_as_the_readme_says_have_no_findings(name, copied):
    arrange(copied, name)
    assert findings(copied, "large_size_llm") == []


def test_experts_that_the_model_does_not_have(copied):
    arrange(copied, "data-parallel")
    experts = "  experts: {count: 256, per_token: 8, intermediate_size: 2048, shared: 1, dense_layers: 3}\n"
    change(copied, MODELS, experts, "")
    (finding,) = [one for one in quick(copied) if one.check == "data-parallel-without-experts"]
    assert "has no experts" in finding.what


def test_image_with_nixl_on_top(copied):
    arrange(copied, "prefill-decode")
    change(
        copied, CONTAINERFILE, "anyscale/ray-llm:2.59.0-py312-cu130", "example.com/ray:1\nRUN pip install nixl[cu13]"
    )
    assert "nixl-not-in-image" not in [one.check for one in quick(copied)]
