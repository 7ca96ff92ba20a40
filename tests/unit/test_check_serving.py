"""Faults in scaling, timeouts, ingress and placement, and in what several files say of one thing, planted singly."""

import pytest

from ops.check import run
from tests.planted import Fault, change, findings, places, plant

SMALL, SMALL_YAML = "services/small_size_llm/serve.py", "services/small_size_llm/service.yaml"
MEDIUM, MEDIUM_YAML = "services/medium_size_llm/serve.py", "services/medium_size_llm/service.yaml"
LARGE_YAML, LARGE = "services/large_size_llm/service.yaml", "services/large_size_llm/serve.py"
GPT_OSS = "services/gpt_oss/serve.py"
VISION, VISION_YAML = "services/vision_llm/serve.py", "services/vision_llm/service.yaml"
README, PROBE = "services/small_size_llm/README.md", "services/small_size_llm/probe.yaml"
CONTAINERFILE = "services/small_size_llm/Containerfile"
DIRECT = '  RAY_SERVE_LLM_ENABLE_DIRECT_STREAMING: "1"  # from HAProxy straight to the replica\n'
MULTI, MULTI_YAML = "services/multi_model/serve.py", "services/multi_model/service.yaml"
MULTI_PROBE = "services/multi_model/probe.yaml"
HA_PROXY = '  RAY_SERVE_ENABLE_HA_PROXY: "1"\n'
BUILD = 'return application({"llm_configs": [prepared(chosen, args, laptop_model)]}, args)'
ONE_INGRESS = (
    "config = prepared(chosen, args, laptop_model)\n"
    '    return build_openai_app({"llm_configs": [config], "ingress_deployment_config": {"num_replicas": 8}})'
)
TARGET = "        target_ongoing_requests=16,  # without a target"
ARGS = "      profile: gpu\n"
TOOLS_OF_LLAMA = '**TOOLS, tool_call_parser="llama3_json"'
COMMON = "COMMON = dict("
MOST = "        max_replicas=4,  # as many as service.yaml has nodes for\n"
ENGINE_POLICY = '        policy=dict(policy_function="serving.autoscaling:EnginePolicy"),\n'
OVER_GRPC = '  RAY_SERVE_USE_GRPC_BY_DEFAULT: "1"\n'
NO_STATS = '  VLLM_NO_USAGE_STATS: "1"\n'

SCALING = [
    Fault(
        "no target", SMALL, TARGET, "        # without a target", "no-autoscaling-target", "autoscaling_config=dict("
    ),
    Fault("limit below", SMALL, "max_ongoing_requests=1024", "max_ongoing_requests=8", "limit-below-target"),
    Fault(
        "queue without a limit",
        SMALL,
        "max_ongoing_requests=1024,",
        "max_queued_requests=64,",
        "queue-limit-without-effect",
    ),
    Fault(
        "fixed and scaled",
        SMALL,
        "    max_ongoing_requests=1024",
        "    num_replicas=2,\n    max_ongoing_requests=1024",
        "replicas-fixed-and-scaled",
        "num_replicas=2",
    ),
    Fault(
        "policy without numbers",
        SMALL_YAML,
        ARGS,
        f"{ARGS}      autoscaling: engine\n",
        "engine-policy-without-statistics",
        "autoscaling: engine",
        also=(
            (SMALL, TOOLS_OF_LLAMA, f"disable_log_stats=True, {TOOLS_OF_LLAMA}"),
            (SMALL, COMMON, f"{COMMON}log_engine_metrics=False, "),
        ),
    ),
    Fault(
        "policy in serve.py without numbers",
        SMALL,
        TOOLS_OF_LLAMA,
        f"disable_log_stats=True, {TOOLS_OF_LLAMA}",
        "engine-policy-without-statistics",
        also=((SMALL, MOST, f"{MOST}{ENGINE_POLICY}"), (SMALL, COMMON, f"{COMMON}log_engine_metrics=False, ")),
    ),
    Fault(
        "policy that is not there",
        SMALL,
        MOST,
        MOST + ENGINE_POLICY.replace("EnginePolicy", "Policy"),
        "router-or-policy-not-importable",
        "COMMON = dict(",
    ),
    Fault(
        "router that is not there",
        SMALL,
        "    **HEALTH_CHECKS,\n",
        "    **HEALTH_CHECKS,\n    request_router_config="
        'dict(request_router_class="serving.routing.session_router:Router"),\n',
        "router-or-policy-not-importable",
        "COMMON = dict(",
    ),
    Fault(
        "unknown routing",
        SMALL_YAML,
        ARGS,
        f"{ARGS}      routing: sticky\n",
        "args-do-not-fit",
        "routing: sticky",
    ),
    Fault(
        "to zero",
        SMALL,
        "min_replicas=1",
        "min_replicas=0",
        "scale-to-zero-without-a-note",
        also=((SMALL_YAML, "min_nodes: 1", "min_nodes: 0"),),
    ),
    Fault(
        "to zero replicas on a node",
        SMALL,
        "min_replicas=1",
        "min_replicas=0",
        "scale-to-zero-keeps-nodes",
        f"{SMALL_YAML}: min_nodes: 1",
        also=((README, "## Limits", "## Scale to zero\n\n## Limits"),),
    ),
]
TIMEOUTS = [
    Fault(
        "short shutdown",
        SMALL,
        "graceful_shutdown_timeout_s=600",
        "graceful_shutdown_timeout_s=15",
        "shutdown-cuts-answers",
    ),
    Fault("short proxy", SMALL_YAML, 'HARD_STOP_AFTER_S: "600"', 'HARD_STOP_AFTER_S: "60"', "proxy-cuts-streams"),
    Fault(
        "proxy at its default",
        SMALL_YAML,
        '  RAY_SERVE_HAPROXY_HARD_STOP_AFTER_S: "600"  # as long as a stopping replica may take, not 120\n',
        "",
        "proxy-cuts-streams",
        "env_vars:",
    ),
    Fault(
        "impatient check",
        SMALL,
        "    **HEALTH_CHECKS,\n",
        "    health_check_timeout_s=1,\n",
        "health-check-too-impatient",
        "health_check_timeout_s=1",
    ),
    Fault("short start", MEDIUM_YAML, 'READY_TIMEOUT_S: "3600"', 'READY_TIMEOUT_S: "300"', "start-timeout-too-short"),
    Fault(
        "start at Ray's default",
        LARGE_YAML,
        "  RAYLLM_ENGINE_START_TIMEOUT_S: ",
        "  RAYLLM_ENGINE_START_TIMEOUT_S: '600' #",
        "start-timeout-too-short",
        "RAYLLM_ENGINE_START_TIMEOUT_S",
    ),
]
INGRESS = [
    Fault(
        "one ingress replica",
        SMALL_YAML,
        DIRECT,
        "",
        "one-ingress-replica",
        f"{SMALL}: return build(",
    ),
    Fault(
        "one ingress replica for all", MULTI, "    num_replicas=8,", "   ", "one-ingress-replica", "return build_all("
    ),
    Fault("one of its own", MULTI, "num_replicas=8", "num_replicas=1", "one-ingress-replica", "return build_all("),
    Fault(
        "ingress that never scales",
        MULTI,
        "num_replicas=8",
        "autoscaling_config=dict(min_replicas=1, max_replicas=8)",
        "one-ingress-replica",
        "return build_all(",
    ),
    Fault(
        "several models streamed directly",
        MULTI_YAML,
        HA_PROXY,
        HA_PROXY + DIRECT,
        "direct-streaming-refused",
        DIRECT.strip(),
    ),
    Fault(
        "tokens held back",
        "serving/defaults.py",
        "STREAM_AT_ONCE = dict(stream_batching_interval_ms=0)",
        "STREAM_AT_ONCE = dict(stream_batching_interval_ms=50)",
        "tokens-held-back",
        also=((SMALL_YAML, DIRECT, ""), ("serving/app.py", BUILD, ONE_INGRESS)),
    ),
    Fault(
        "images over gRPC",
        VISION_YAML,
        NO_STATS,
        NO_STATS + OVER_GRPC,
        "messages-too-large",
        "env_vars:",
        also=((VISION_YAML, DIRECT, ""), ("serving/app.py", BUILD, ONE_INGRESS)),
    ),
]
PLACEMENT = [
    Fault("another GPU", SMALL, 'accelerator_type="L4"', 'accelerator_type="A10G"', "no-node-with-that-gpu"),
    Fault("fewer nodes", SMALL_YAML, "max_nodes: 4", "max_nodes: 2", "too-few-nodes-at-peak"),
    Fault(
        "more replicas",
        MEDIUM,
        "max_replicas=2",
        "max_replicas=3",
        "too-few-nodes-at-peak",
        f"{MEDIUM_YAML}: max_nodes: 2",
    ),
    Fault(
        "no group for one of two models",
        MULTI_YAML,
        "instance_type: g6e.12xlarge",
        "instance_type: g6.12xlarge",
        "no-node-with-that-gpu",
        f'{MULTI}: accelerator_type="L40S"',
    ),
    Fault(
        "two models on the nodes of one",
        MULTI,
        'accelerator_type="L4"',
        'accelerator_type="L40S"',
        "too-few-nodes-for-all",
        f"{MULTI_YAML}: max_nodes: 2",
    ),
    Fault(
        "packed loosely",
        "services/hybrid_reasoning_llm/serve.py",
        "    placement_group_config=ON_ONE_NODE,\n",
        "",
        "tensor-parallel-may-be-split",
        "tensor_parallel_size=4",
    ),
    Fault(
        "smaller nodes",
        MEDIUM_YAML,
        "g6e.48xlarge",
        "g6e.12xlarge",
        "tensor-parallel-larger-than-a-node",
        f"{MEDIUM}: tensor_parallel_size=8",
    ),
]
CONTRACT = [
    Fault(
        "another image",
        SMALL_YAML,
        "image_uri: anyscale/ray-llm:2.59.0-py312-cu130",
        "image_uri: anyscale/ray-llm:2.58.0-py312-cu130",
        "image-of-other-versions",
    ),
    Fault(
        "another FROM",
        CONTAINERFILE,
        "ray-llm:2.59.0-py312-cu130",
        "ray-llm:2.58.0-py312-cu130",
        "image-of-other-versions",
    ),
    Fault(
        "vllm in the image",
        "services/gpt_oss/Containerfile",
        "RUN pip install --quiet",
        "RUN pip install vllm==0.26.0\nRUN pip install --quiet",
        "ray-or-vllm-pinned-apart",
        "vllm==0.26.0",
    ),
    Fault(
        "vllm in a runtime_env",
        SMALL,
        'COMMON = dict(accelerator_type="L4",',
        'COMMON = dict(runtime_env=dict(pip=["vllm==0.26.0"]), accelerator_type="L4",',
        "ray-or-vllm-pinned-apart",
        "vllm==0.26.0",
    ),
    Fault("service name", SMALL_YAML, "name: small-size-llm", "name: small-llm", "name-differs-from-folder"),
    Fault(
        "application name", SMALL_YAML, "  - name: small-size-llm", "  - name: small-llm", "name-differs-from-folder"
    ),
    Fault("no such model", SMALL_YAML, "model: llama-3.1-8b", "model: llama-3.1-80b", "no-such-model"),
    Fault(
        "probed model",
        PROBE,
        "model: llama-3.1-8b",
        "model: phi-2",
        "probe-of-another-model",
        also=((SMALL_YAML, "model: llama-3.1-8b", "autoscaling: requests"),),  # a model there would be probed
    ),
    Fault("probed model of a check", MULTI_PROBE, "model: qwen3-32b", "model: qwen3-8b", "probe-of-another-model"),
    Fault(
        "one of two chosen",
        MULTI_YAML,
        "    args:\n",
        "    args:\n      model: qwen3-32b\n",
        "model-chosen-where-all-are-served",
        "model: q",
    ),
    Fault("same id", SMALL, 'model_id="mistral-7b"', 'model_id="llama-3.1-8b"', "model-id-twice", "mistralai"),
    Fault(
        "another id",
        SMALL,
        'model_id="phi-2"',
        'model_id="phi-2b"',
        "model-name-differs-from-its-id",
        also=((README, "| `phi-2` |", "| `phi-2b` |"),),
    ),
    Fault("gated", SMALL_YAML, "  HF_TOKEN:", "  TOKEN_OF_HF:", "gated-without-a-token", "env_vars:"),
    Fault(
        "gated choice",
        SMALL_YAML,
        "  HF_TOKEN:",
        "  TOKEN_OF_HF:",
        "gated-choice-without-a-token",
        "env_vars:",
        also=(
            (SMALL_YAML, "model: llama-3.1-8b", "model: phi-4-mini"),
            (PROBE, "model: llama-3.1-8b", "model: phi-4-mini"),
        ),
    ),
    Fault("laptop profile", SMALL_YAML, "profile: gpu", "profile: laptop", "laptop-profile-deployed"),
]
READMES = [
    Fault("model left out", README, "| `phi-2` |", "| `phi-3` |", "readme-without-the-model", "`model=`"),
    Fault("other weights", README, "microsoft/phi-2,", "microsoft/phi-1,", "readme-without-the-model"),
    Fault("context", README, "Mistral-7B-Instruct-v0.3 | 8192", "Mistral-7B-Instruct-v0.3 | 32768", "readme-differs"),
    Fault(
        "context in serve.py",
        SMALL,
        'tokenizer_mode="mistral", max_model_len=8192',
        'tokenizer_mode="mistral", max_model_len=4096',
        "readme-differs",
        f"{README}: | `mistral-7b`",
    ),
    Fault("knob", README, "| `max_replicas` | 4", "| `max_replicas` | 8", "readme-differs"),
    Fault(
        "service of a command",
        README,
        "scripts/deploy small-size-llm",
        "scripts/deploy small-llm",
        "readme-command-fails",
    ),
    Fault("script of a command", README, "scripts/deploy small", "scripts/install small", "readme-command-fails"),
    Fault(
        "model of a request",
        README,
        '"model": "llama-3.1-8b"',
        '"model": "llama3"',
        "readme-names-no-model-of-the-service",
    ),
]


FOLLOWS = {
    "readme-differs": "a knob that is turned",
    "engine-metrics-off": "statistics that are turned off, as some faults of scaling need",
    "alert-rules-of-another-slo": "another name of the application, which alerts ask for",
}
"""Findings that planted faults of other checks have too, and which."""


@pytest.mark.parametrize(
    "fault",
    SCALING + TIMEOUTS + INGRESS + PLACEMENT + CONTRACT + READMES,
    ids=lambda fault: f"{fault.check}: {fault.name}",
)
def test_a_planted_fault_is_told_once_and_where_it_is(fault, copied):
    expected = plant(copied, fault)
    found = places(findings(copied, fault.folder))
    assert [one for one in found if one[0] == fault.check or one[0] not in FOLLOWS] == [expected]


def test_a_probe_that_asks_for_one_of_two_models(copied):
    text = (copied / MULTI_PROBE).read_text()
    (copied / MULTI_PROBE).write_text(text.replace("model: qwen3-32b", "model: llama-3.1-8b"))
    (finding,) = findings(copied, "multi_model")
    assert finding.check == "probe-leaves-a-model-out"
    assert "No check of probe.yaml asks qwen3-32b, which is served beside llama-3.1-8b" in finding.what


def test_a_probe_may_ask_for_an_adapter_of_the_model(copied):
    change(copied, MULTI_PROBE, "model: qwen3-32b", "model: qwen3-32b:my-adapter")
    assert findings(copied, "multi_model") == []


def test_the_import_path_of_another_service(copied):
    change(copied, SMALL_YAML, "services.small_size_llm.serve:app", "services.gpt_oss.serve:app")
    (line,) = [finding.line for finding in findings(copied) if finding.check == "import-path-of-another-service"]
    assert "services.gpt_oss" in (copied / SMALL_YAML).read_text().splitlines()[line - 1]


def test_a_service_without_an_slo(copied):
    (copied / "services/small_size_llm/slo.yaml").unlink()
    (finding,) = findings(copied)
    assert finding.check == "no-slo"


def test_the_untouched_services_have_no_findings(service, project):
    assert findings(project, service.folder.name) == []


def test_facts_that_cannot_be_read_end_no_other_check(copied):
    change(copied, "services/gpt_oss/models.yaml", "layers: 24", "layers: many")
    change(copied, GPT_OSS, "max_ongoing_requests=1024", "max_ongoing_requests=8")
    assert {"unreadable-model-facts", "limit-below-target"} <= {
        finding.check for finding in findings(copied, "gpt_oss")
    }


def test_scaling_to_zero_with_a_note(copied):
    change(copied, SMALL, "min_replicas=1", "min_replicas=0")
    change(copied, SMALL_YAML, "min_nodes: 1", "min_nodes: 0")
    change(copied, README, "## Limits", "## Scale to zero\n\nThe first request waits for a node.\n\n## Limits")
    assert findings(copied) == []


QUICKSTART_SERVE = """\
import os

from ray.serve.llm import LLMConfig, build_openai_app

llm_config = LLMConfig(
    model_loading_config=dict(model_id="my-llama-3.1-70b", model_source="meta-llama/Llama-3.1-70B-Instruct"),
    accelerator_type="L40S",
    deployment_config=dict(autoscaling_config=dict(min_replicas=1, max_replicas=4)),
    runtime_env=dict(env_vars={"HF_TOKEN": os.environ.get("HF_TOKEN", "")}),
    engine_kwargs=dict(max_model_len=32768, tensor_parallel_size=8),
)
app = build_openai_app({"llm_configs": [llm_config]})
"""
QUICKSTART_YAML = """\
name: llama-70b
containerfile: services/llama_70b/Containerfile
compute_config:
  worker_nodes:
    - instance_type: g6e.48xlarge
      min_nodes: 1
      max_nodes: 4
working_dir: .
applications:
  - name: llama-70b
    import_path: services.llama_70b.serve:app
"""
QUICKSTART_IMAGE = "FROM anyscale/ray-llm:2.58.0-py312-cu130\nRUN pip install vllm==0.26.0\n"


def test_the_quickstart_of_ray_serve_llm_typed_in_as_a_service(copied):
    """The settings of the upstream guides: replicas without a target, one default ingress, vLLM pinned by itself."""
    folder = copied / "services" / "llama_70b"
    folder.mkdir()
    for name, text in (
        ("serve.py", QUICKSTART_SERVE),
        ("service.yaml", QUICKSTART_YAML),
        ("Containerfile", QUICKSTART_IMAGE),
        ("models.yaml", (copied / "services/medium_size_llm/models.yaml").read_text()),
    ):
        (folder / name).write_text(text)
    found = {finding.check: (finding.file, finding.line) for finding in findings(copied, "llama_70b")}
    serve, yaml, image = (f"services/llama_70b/{name}" for name in ("serve.py", "service.yaml", "Containerfile"))
    assert found == {
        "app-built-at-import": (serve, 12),
        "one-ingress-replica": (serve, 12),
        "no-autoscaling-target": (serve, 8),
        "tensor-parallel-may-be-split": (serve, 10),
        "tokens-held-back": (serve, 5),
        "image-of-other-versions": (image, 1),
        "ray-or-vllm-pinned-apart": (image, 2),
        "start-timeout-too-short": (yaml, 1),
        "no-slo": (yaml, 1),
        "unreadable-yaml": ("services/llama_70b/probe.yaml", 1),
    }


def test_fast_leaves_out_what_has_to_be_imported_and_says_so(project, service):
    result = run.check(project, [service.files], fast=True)
    assert result.findings == []
    assert any("--fast" in unknown.what for unknown in result.not_checked)
