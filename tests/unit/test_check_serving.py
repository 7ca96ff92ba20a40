"""Faults in scaling, timeouts, ingress and placement, and in what several files say of one thing, planted singly."""

import pytest

from ops.catalogue import ROOT
from ops.check import run
from ops.check.service_files import line_with
from tests.planted import Fault, change, findings, places, plant

SMALL, SMALL_YAML = "services/small_size_llm/serve.py", "services/small_size_llm/service.yaml"
MEDIUM, MEDIUM_YAML = "services/medium_size_llm/serve.py", "services/medium_size_llm/service.yaml"
LARGE_YAML, LARGE = "services/large_size_llm/service.yaml", "services/large_size_llm/serve.py"
GPT_OSS = "services/gpt_oss/serve.py"
VISION, VISION_YAML = "services/vision_llm/serve.py", "services/vision_llm/service.yaml"
README, PROBE = "services/small_size_llm/README.md", "services/small_size_llm/probe.yaml"
CONTAINERFILE = "services/small_size_llm/Containerfile"
DIRECT = '  RAY_SERVE_LLM_ENABLE_DIRECT_STREAMING: "1"  # from HAProxy straight to the replica\n'
BUILD = 'build_openai_app({"llm_configs": [config]})'
ONE_INGRESS = 'build_openai_app({"llm_configs": [config], "ingress_deployment_config": {"num_replicas": 8}})'
TARGET = "        target_ongoing_requests=16,  # without a target"
OVER_GRPC = '  RAY_SERVE_USE_GRPC_BY_DEFAULT: "1"\n'
NO_STATS = '  VLLM_NO_USAGE_STATS: "1"\n'

SCALING = [
    Fault(
        "no target", SMALL, TARGET, "        # without a target", "no-autoscaling-target", "autoscaling_config=dict("
    ),
    Fault("limit below", SMALL, "max_ongoing_requests=64", "max_ongoing_requests=8", "limit-below-target"),
    Fault(
        "queue without a limit",
        SMALL,
        "max_ongoing_requests=64,",
        "max_queued_requests=64,",
        "queue-limit-without-effect",
    ),
    Fault(
        "fixed and scaled",
        SMALL,
        "    max_ongoing_requests=64",
        "    num_replicas=2,\n    max_ongoing_requests=64",
        "replicas-fixed-and-scaled",
        "num_replicas=2",
    ),
    Fault("to zero", SMALL, "min_replicas=1", "min_replicas=0", "scale-to-zero-without-a-note"),
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
        f"serving/app.py: {BUILD}",
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
    Fault("fewer nodes", SMALL_YAML, "max_nodes: 4", "max_nodes: 2", "too-few-nodes"),
    Fault(
        "more replicas",
        MEDIUM,
        "max_replicas=2",
        "max_replicas=3",
        "too-few-nodes",
        f"{MEDIUM_YAML}: max_nodes: 2",
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
        "another-image",
    ),
    Fault("another FROM", CONTAINERFILE, "ray-llm:2.59.0-py312-cu130", "ray-llm:2.58.0-py312-cu130", "another-image"),
    Fault(
        "vllm in the image",
        "services/gpt_oss/Containerfile",
        "RUN pip install --quiet",
        "RUN pip install vllm==0.26.0\nRUN pip install --quiet",
        "version-pinned-apart",
        "vllm==0.26.0",
    ),
    Fault(
        "vllm in a runtime_env",
        SMALL,
        'COMMON = dict(accelerator_type="L4",',
        'COMMON = dict(runtime_env=dict(pip=["vllm==0.26.0"]), accelerator_type="L4",',
        "version-pinned-apart",
        "vllm==0.26.0",
    ),
    Fault("service name", SMALL_YAML, "name: small-size-llm", "name: small-llm", "another-name"),
    Fault("application name", SMALL_YAML, "  - name: small-size-llm", "  - name: small-llm", "another-name"),
    Fault("no such model", SMALL_YAML, "model: llama-3.1-8b", "model: llama-3.1-80b", "no-such-model"),
    Fault("probed model", PROBE, "model: llama-3.1-8b", "model: phi-2", "probe-of-another-model"),
    Fault("gated", SMALL_YAML, "  HF_TOKEN:", "  TOKEN_OF_HF:", "gated-without-a-token", "env_vars:"),
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
        "service of a command", README, "scripts/deploy small-size-llm", "scripts/deploy small-llm", "readme-command"
    ),
    Fault("script of a command", README, "scripts/deploy small", "scripts/install small", "readme-command"),
    Fault("model of a request", README, '"model": "llama-3.1-8b"', '"model": "llama3"', "readme-command"),
    Fault("not in the table", "README.md", "[small-size-llm](", "[small](", "not-in-the-readme", "| service |"),
]


@pytest.mark.parametrize(
    "fault",
    SCALING + TIMEOUTS + INGRESS + PLACEMENT + CONTRACT + READMES,
    ids=lambda fault: f"{fault.check}: {fault.name}",
)
def test_a_planted_fault_is_told_once_and_where_it_is(fault, copied):
    expected = plant(copied, fault)
    found = places(findings(copied, fault.folder))
    # A knob that is turned differs from the README too.
    assert [one for one in found if one[0] == fault.check or one[0] != "readme-differs"] == [expected]


def test_the_import_path_of_another_service(copied):
    change(copied, SMALL_YAML, "services.small_size_llm.serve:app", "services.gpt_oss.serve:app")
    (line,) = [finding.line for finding in findings(copied) if finding.check == "another-name"]
    assert "services.gpt_oss" in (copied / SMALL_YAML).read_text().splitlines()[line - 1]


def test_a_service_without_an_slo(copied):
    (copied / "observability/slo/small-size-llm.yaml").unlink()
    (finding,) = findings(copied)
    assert finding.check == "no-slo"


def test_the_untouched_services_have_no_findings(service, root):
    assert findings(root, service.folder.name) == []


def test_scaling_to_zero_with_a_note(copied):
    change(copied, SMALL, "min_replicas=1", "min_replicas=0")
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


README_TABLE = line_with((ROOT / "README.md").read_text().splitlines(), "| service |")


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
        "another-image": (image, 1),
        "version-pinned-apart": (image, 2),
        "start-timeout-too-short": (yaml, 1),
        "no-slo": (yaml, 1),
        "unreadable-yaml": ("services/llama_70b/probe.yaml", 1),
        "not-in-the-readme": ("README.md", README_TABLE),
    }


def test_fast_leaves_out_what_has_to_be_imported_and_says_so(root, service):
    result = run.check(root, [service.folder], fast=True)
    assert result.findings == []
    assert any("--fast" in unknown.what for unknown in result.not_checked)
