"""Faults in service.yaml, and in the LLMConfigs that it serves, planted one at a time in a copy of a service."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import ray.llm

from ops.check.finding import Finding
from ops.check.rules import known_keys, service_yaml, service_yaml_import
from ops.project.service_files import ServiceFiles, line_with
from tests.planted import Fault, change, places, plant

YAML = "services/small_size_llm/service.yaml"
SERVE = "services/small_size_llm/serve.py"
PROBE = "services/small_size_llm/probe.yaml"
BUILT = "services/large_size_llm/service.yaml"
CONTAINERFILE = "services/large_size_llm/Containerfile"
PACKED = "services/medium_size_llm/serve.py"

GROUP = "      instance_type: g6.2xlarge"
ARGS = "    args:\n"
BEFORE_WORKING_DIR = "working_dir: .\n"
IMPORT_PATH = "import_path: services.small_size_llm.serve:app"
BUILDER = "def app(args: AppArgs) -> Application:"
PHI = 'model_loading_config=dict(model_id="phi-2", model_source="microsoft/phi-2"),'
LIMIT = "    max_ongoing_requests=1024"
POLICY = "ray.serve.autoscaling_policy:default_autoscaling_policy"
TOKEN = "hf_" + "aB3dE5fG7h" * 3  # in two parts, so that no search for secrets stops at this file


READING = [
    Fault("no YAML", YAML, "working_dir: .", "working_dir: a: b", "unreadable-yaml"),
    Fault("probe is no YAML", PROBE, "checks:", "checks: }", "unreadable-yaml"),
    Fault("key twice", YAML, BEFORE_WORKING_DIR, "working_dir: .\nname: other\n", "duplicate-key", "name: other"),
    Fault("key twice below", YAML, GROUP, f"{GROUP}\n      min_nodes: 2", "duplicate-key", "min_nodes: 1"),
    Fault("key twice in the probe", PROBE, "checks:", "model: other\nchecks:", "duplicate-key", "model: other"),
]

UNKNOWN_KEYS = [
    Fault("top level", YAML, "working_dir: .", "workdir: .", "unknown-key"),
    Fault("compute_config", YAML, "  head_node:", "  zone: [a]\n  head_node:", "unknown-key", "zone: [a]"),
    Fault("head_node", YAML, "  head_node:", "  head_node:\n    flag: {}", "unknown-key", "flag: {}"),
    Fault("worker group", YAML, "max_nodes: 4", "max_node: 4", "unknown-key"),
    Fault(
        "required_resources",
        YAML,
        GROUP,
        "      required_resources:\n        {CPU: 8, memory: 32Gi,\n        GPUs: 1}",
        "unknown-key",
        "GPUs: 1",
    ),
    Fault("application", YAML, "route_prefix: /", "route: /", "unknown-key"),
    Fault("runtime_env", YAML, ARGS, f"    runtime_env:\n      env_var: {{}}\n{ARGS}", "unknown-key", "env_var:"),
    Fault(
        "deployment",
        YAML,
        ARGS,
        f"    deployments:\n      - name: LLMServer:phi-2\n        max_ongoing: 8\n{ARGS}",
        "unknown-key",
        "max_ongoing: 8",
    ),
    Fault(
        "autoscaling of a deployment",
        YAML,
        ARGS,
        f"    deployments:\n      - name: LLMServer:phi-2\n        autoscaling_config:\n          min: 1\n{ARGS}",
        "unknown-key",
        "          min: 1",
    ),
    Fault(
        "actor of a deployment",
        YAML,
        ARGS,
        f"    deployments:\n      - name: LLMServer:phi-2\n        ray_actor_options:\n          cpus: 1\n{ARGS}",
        "unknown-key",
        "cpus: 1",
    ),
    Fault(
        "logging", YAML, BEFORE_WORKING_DIR, "logging_config:\n  level: INFO\nworking_dir: .\n", "unknown-key", "level:"
    ),
    Fault(
        "HTTP", YAML, BEFORE_WORKING_DIR, "http_options:\n  timeout: 60\nworking_dir: .\n", "unknown-key", "timeout:"
    ),
    Fault(
        "gRPC", YAML, BEFORE_WORKING_DIR, "grpc_options:\n  services: []\nworking_dir: .\n", "unknown-key", "services:"
    ),
    Fault(
        "tracing", YAML, BEFORE_WORKING_DIR, "tracing_config:\n  ratio: 0.1\nworking_dir: .\n", "unknown-key", "ratio:"
    ),
    Fault("LLMConfig", SERVE, PHI, f"{PHI}\n        resources_per_bundle=dict(GPU=1),", "unknown-key", "per_bundle"),
    Fault("model_loading_config", SERVE, 'model_source="microsoft/phi-2"', 'source="phi-2"', "unknown-key"),
    Fault("lora_config", SERVE, PHI, f"{PHI}\n        lora_config=dict(path='s3://x'),", "unknown-key", "lora_config"),
    Fault("deployment_config", SERVE, "max_ongoing_requests=1024", "max_ongoing=64", "unknown-key"),
    Fault("autoscaling_config", SERVE, "max_replicas=4", "max_replica=4", "unknown-key"),
    Fault("actor options", SERVE, LIMIT, f"    ray_actor_options=dict(cpus=1),\n{LIMIT}", "unknown-key", "cpus=1"),
    Fault(
        "experimental_configs",
        "serving/defaults.py",
        "stream_batching_interval_ms=0",
        "stream_batch_interval_ms=0",
        "unknown-key",
    ),
    Fault(
        "placement_group_config",
        PACKED,
        "=ON_ONE_NODE",
        "=dict(pack=True, bundles=[dict(GPU=1)])",
        "unknown-key",
    ),
]

PATHS_AND_IMAGES = [
    Fault("containerfile", BUILT, "containerfile: services/", "containerfile: ./service/", "no-such-path"),
    Fault("working_dir", YAML, "working_dir: .", "working_dir: src", "no-such-path"),
    Fault("requirements", YAML, BEFORE_WORKING_DIR, "requirements: a.txt\nworking_dir: .\n", "no-such-path", "a.txt"),
    Fault(
        "two images",
        BUILT,
        "containerfile:",
        "image_uri: a/b:1\ncontainerfile:",
        "image-and-containerfile",
        "a/b:1",
    ),
    Fault("no image", YAML, "image_uri:", "# image_uri:", "no-image", "# Deploy it"),
    Fault("tag", YAML, "2.59.0-py312-cu130", "2.59.0-py311-cu130", "unknown-image"),
    Fault(
        "tag in FROM", CONTAINERFILE, "FROM anyscale/ray-llm:2.59.0", "FROM anyscale/ray-llm:2.59.9", "unknown-image"
    ),
]

IMPORT_PATHS = [
    Fault("no import path", YAML, IMPORT_PATH, "import_path:", "malformed-import-path"),
    Fault("no colon", YAML, IMPORT_PATH, "import_path: services.small_size_llm.serve.app", "malformed-import-path"),
    Fault(
        "a path of files", YAML, IMPORT_PATH, "import_path: services/small_size_llm/serve:app", "malformed-import-path"
    ),
    Fault("no module", YAML, IMPORT_PATH, "import_path: services.small_llm.serve:app", "import-fails"),
    Fault("no such name", YAML, IMPORT_PATH, "import_path: services.small_size_llm.serve:application", "not-a-builder"),
    Fault("not callable", YAML, IMPORT_PATH, "import_path: services.small_size_llm.serve:MODELS", "not-a-builder"),
    Fault("a class", YAML, IMPORT_PATH, "import_path: services.small_size_llm.serve:AppArgs", "not-a-builder"),
    Fault("no function of Ray's", YAML, IMPORT_PATH, "import_path: ray.serve.llm:LLMConfig", "not-a-builder"),
    Fault("syntax error", SERVE, BUILDER, "def app(args: AppArgs -> Application:", "import-fails"),
    Fault("error at import", SERVE, "GATED = {", "GATED = TOOLS.gated | {", "import-fails"),
    Fault("error in what it imports", "serving/app.py", "import os\n", "import oss\n", "import-fails", "import oss"),
    Fault("name that Ray lacks", SERVE, "import LLMConfig", "import LLMConfig, LLMConfg", "import-fails"),
    Fault(
        "two parameters",
        SERVE,
        BUILDER,
        "def app(args: AppArgs, model: str) -> Application:",
        "builder-without-one-parameter",
    ),
    Fault("argument that is unknown", YAML, "profile: gpu", "profil: gpu", "args-do-not-fit"),
    Fault("argument of another value", YAML, "profile: gpu", "profile: tpu", "args-do-not-fit"),
    Fault("model that is unknown", YAML, "model: llama-3.1-8b", "model: llama-3.1-80b", "args-do-not-fit"),
    Fault(
        "built at import",
        SERVE,
        BUILDER,
        f"from ray.serve.llm import build_openai_app\napp = build_openai_app({{}})\n\n\n{BUILDER.replace('app', 'x')}",
        "app-built-at-import",
        "app = build",
    ),
]

ENVIRONMENT = [
    Fault("number", YAML, 'MAXCONN: "4096"', "MAXCONN: 4096", "env-var-not-string"),
    Fault("one", YAML, 'ENABLE_HA_PROXY: "1"', "ENABLE_HA_PROXY: 1", "env-var-not-string"),
    Fault("true", YAML, 'VLLM_NO_USAGE_STATS: "1"', "VLLM_NO_USAGE_STATS: true", "env-var-not-string"),
    Fault("null", YAML, 'HF_TOKEN: ""', "HF_TOKEN:", "env-var-not-string"),
    Fault("name", YAML, "HF_HOME:", "HF-HOME:", "invalid-env-var-name"),
    Fault(
        "number for an application",
        YAML,
        ARGS,
        f"    runtime_env:\n      env_vars:\n        HOPS: 1\n{ARGS}",
        "env-var-not-string",
        "HOPS: 1",
    ),
    Fault(
        "number for a model",
        SERVE,
        PHI,
        f"{PHI}\n        runtime_env=dict(\n            env_vars=dict(HOPS=1)),",
        "env-var-not-string",
        "HOPS=1",
    ),
    Fault("token", YAML, 'HF_TOKEN: ""', f"HF_TOKEN: {TOKEN}", "secret-in-env-vars"),
    Fault("password", YAML, 'HF_TOKEN: ""', 'HF_TOKEN: ""\n  DB_PASSWORD: hush', "secret-in-env-vars", "DB_PASSWORD"),
    Fault(
        "random", YAML, 'HF_TOKEN: ""', 'HF_TOKEN: ""\n  SALT: q7Rk2Zp9Xw4Lm8Vt6Bn3Yc5D', "secret-in-env-vars", "SALT"
    ),
    Fault("token in code", SERVE, PHI, f"{PHI}  # {TOKEN}", "secret-in-file"),
    Fault("private key", PROBE, "checks:", "# -----BEGIN PRIVATE" + " KEY-----\nchecks:", "secret-in-file", "-BEGIN"),
]

REFUSED = [
    Fault("name", YAML, "name: small-size-llm", "name: 5", "refused-value"),
    Fault("min and max", YAML, "min_nodes: 1", "min_nodes: 5", "refused-value", "max_nodes: 4"),
    Fault("market", YAML, "ON_DEMAND", "on_demand", "refused-value"),
    Fault("renamed", YAML, GROUP, "      physical_resources: {CPU: 8, memory: 32Gi}", "refused-value"),
    Fault("resources", YAML, GROUP, "      required_resources: {CPU: 8}", "refused-value"),
    Fault("excludes", YAML, "  - /tests\n", "  - 5\n", "refused-value", "excludes:"),
    Fault("port", YAML, BEFORE_WORKING_DIR, "http_options:\n  port: 80\nworking_dir: .\n", "refused-value", "port: 80"),
    Fault("proxies", YAML, "working_dir: .", "proxy_location: Everywhere", "refused-value"),
    Fault(
        "encoding",
        YAML,
        BEFORE_WORKING_DIR,
        "logging_config:\n  encoding: XML\nworking_dir: .\n",
        "refused-value",
        "XML",
    ),
    Fault("route", YAML, "route_prefix: /", "route_prefix: 5", "refused-value"),
    Fault(
        "replicas of a deployment",
        YAML,
        ARGS,
        f"    deployments:\n      - name: LLMServer:phi-2\n        num_replicas: some\n{ARGS}",
        "refused-value",
        "num_replicas: some",
    ),
    Fault("accelerator", SERVE, 'accelerator_type="L4"', 'accelerator_type="L5"', "refused-by-llm-config"),
    Fault("model id", SERVE, 'model_id="phi-2"', "model_id=2", "refused-by-llm-config"),
    Fault("replicas", SERVE, "min_replicas=1", "min_replicas=5", "refused-by-llm-config", "max_replicas=4"),
    Fault("requests", SERVE, "max_ongoing_requests=1024", "max_ongoing_requests=0", "refused-by-llm-config"),
    Fault("timeout", "serving/defaults.py", "timeout_s=10", "timeout_s='10 s'", "refused-by-llm-config"),
    Fault("num_replicas", SERVE, LIMIT, f"    num_replicas=2,\n{LIMIT}", "refused-by-llm-config", "num_replicas=2"),
    Fault(
        "local adapters",
        SERVE,
        PHI,
        f"{PHI}\n        lora_config=dict(dynamic_lora_loading_path='/x'),",
        "refused-by-llm-config",
        "lora_config",
    ),
    Fault("strategy", PACKED, "=ON_ONE_NODE", "=ON_ONE_NODE | dict(strategy='TIGHT')", "refused-by-llm-config"),
    Fault(
        "bundles in the deployment",
        SERVE,
        LIMIT,
        f"    placement_group_strategy='PACK',\n{LIMIT}",
        "refused-by-llm-config",
        "placement_group_strategy",
    ),
]


@pytest.mark.parametrize(
    "fault",
    READING + UNKNOWN_KEYS + PATHS_AND_IMAGES + IMPORT_PATHS + ENVIRONMENT + REFUSED,
    ids=lambda fault: f"{fault.check}: {fault.name}",
)
def test_a_planted_fault_is_told_once_and_where_it_is(fault, copied):
    expected = plant(copied, fault)
    assert places(of_service_yaml(copied, fault.folder)) == [expected]


def of_service_yaml(root: Path, folder: str = "small_size_llm") -> list[Finding]:
    files = ServiceFiles(root, root / "services" / folder)
    checks = (service_yaml.quick_findings, service_yaml.findings, service_yaml_import.findings)
    return [finding for check in checks for finding in check(files)]


def test_all_faults_are_told_at_once(copied):
    change(copied, YAML, "max_nodes: 4", "max_node: 4")
    change(copied, YAML, "ON_DEMAND", "CHEAP")
    change(copied, YAML, 'MAXCONN: "4096"', "MAXCONN: 4096")
    change(copied, YAML, "model: llama-3.1-8b", "model: llama")
    change(copied, SERVE, 'accelerator_type="L4"', 'accelerator_type="L5"')
    change(copied, SERVE, "max_replicas=4", "max_replica=4")
    assert sorted(finding.check for finding in of_service_yaml(copied)) == [
        "args-do-not-fit",
        "env-var-not-string",
        "refused-by-llm-config",
        "refused-value",
        "unknown-key",
        "unknown-key",
    ]


def test_an_unknown_key_comes_with_the_nearest_one(copied):
    change(copied, YAML, "max_nodes: 4", "max_node: 4")
    (finding,) = of_service_yaml(copied)
    assert finding.what == "Nothing reads max_node in compute_config.worker_nodes[0]."
    assert finding.fix == "Write max_nodes."


def test_an_unknown_model_comes_with_the_nearest_one(copied):
    change(copied, YAML, "model: llama-3.1-8b", "model: llama-3.1-80b")
    (finding,) = of_service_yaml(copied)
    assert "Did you mean llama-3.1-8b?" in finding.what


@pytest.mark.parametrize("planted", [f"HF_TOKEN: {TOKEN}", f'HF_TOKEN: ""  # {TOKEN}'])
def test_a_secret_is_not_repeated(planted, copied):
    change(copied, YAML, 'HF_TOKEN: ""', planted)
    (finding,) = of_service_yaml(copied)
    assert TOKEN not in finding.model_dump_json()
    assert "a Hugging Face token" in finding.what


@pytest.mark.parametrize("file", ["service.yaml", "probe.yaml"])
@pytest.mark.parametrize("content", [None, "", "- a list"])
def test_a_file_that_says_nothing(file, content, copied):
    path = copied / "services" / "small_size_llm" / file
    path.unlink() if content is None else path.write_text(content)
    (finding,) = of_service_yaml(copied)
    assert (finding.check, finding.file) == ("unreadable-yaml", str(path.relative_to(copied)))


def test_no_applications(copied):
    text = (copied / YAML).read_text()
    (copied / YAML).write_text(text[: text.index("applications:")])
    (finding,) = of_service_yaml(copied)
    assert finding.check == "no-application"


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        (YAML, "anyscale/ray-llm:2.59.0-py312-cu130", "registry.example.com/team/llm:7"),
        (YAML, "anyscale/ray-llm:2.59.0-py312-cu130", "anyscale/image/team-llm:7"),
        (CONTAINERFILE, "FROM anyscale/ray-llm:2.59.0-py312-cu130", "FROM registry.example.com/team/llm:7"),
        (YAML, "working_dir: .", "working_dir: s3://bucket/code.zip"),
        (YAML, BEFORE_WORKING_DIR, "requirements: [einops]\nworking_dir: .\n"),
        (YAML, 'HF_TOKEN: ""', 'HF_TOKEN: ""  # such as hf_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx'),
        (YAML, 'HF_TOKEN: ""', 'HF_TOKEN: ""\n  REVISION: 5ee4a0f3a7d9b1c2e8f60718293a4b5c6d7e8f90'),
        (YAML, 'HF_TOKEN: ""', 'HF_TOKEN: ""\n  CLUSTER_PASSWORD: /run/secrets/password'),
        (YAML, GROUP, "      required_resources: {cpu: 8, memory: 32Gi, gpu: 1, accelerator: L4}"),
        (YAML, ARGS, f"    runtime_env:\n      working_dir: .\n      config: {{setup_timeout_seconds: 60}}\n{ARGS}"),
        (YAML, BEFORE_WORKING_DIR, "grpc_options:\n  service_names: [llm.Chat]\nworking_dir: .\n"),
        (PACKED, "=ON_ONE_NODE", '=dict(bundle_per_worker={"GPU": 1, "accelerator_type:L40S": 0.001})'),
        (SERVE, LIMIT, f"    request_router_config=dict(request_router_class=LLMConfig),\n{LIMIT}"),
        (SERVE, "min_replicas=1,", f"min_replicas=1,\n        policy=dict(policy_function='{POLICY}'),"),
    ],
)
def test_what_is_right_or_cannot_be_known_is_no_finding(file, old, new, copied):
    change(copied, file, old, new)
    assert of_service_yaml(copied, Path(file).parts[1]) == []


MODEL_IN_YAML = """\
    import_path: ray.serve.llm:build_openai_app
    args:
      llm_configs:
        - model_loading_config:
            model_id: llama-3.1-8b
          accelerator_type: L4
          deployment_config:
            autoscaling_config:
              min_replicas: 1
              max_replicas: 2
          experimental_configs:
            stream_batching_interval_ms: 0
      ingress_deployment_config:
        num_replicas: 2
"""


@pytest.fixture
def in_yaml(copied) -> Path:
    """A service whose LLMConfig is in service.yaml, as in the guide for Ray Serve LLM."""
    text = (copied / YAML).read_text()
    (copied / YAML).write_text(text[: text.index("    import_path:")] + MODEL_IN_YAML)
    return copied


@pytest.mark.parametrize(
    ("old", "new", "check"),
    [
        ("model_id: llama-3.1-8b", "modle_id: llama-3.1-8b", "unknown-key"),
        ("max_replicas: 2", "max_replica: 2", "unknown-key"),
        ("stream_batching_interval_ms: 0", "stream_batching_interval: 0", "unknown-key"),
        ("num_replicas: 2", "num_replica: 2", "unknown-key"),
        ("ingress_deployment_config:", "ingress_config:", "unknown-key"),
        ("accelerator_type: L4", "accelerator_type: L5", "refused-by-llm-config"),
        ("max_replicas: 2", "max_replicas: 0", "refused-by-llm-config"),
        ("build_openai_app", "build_open_ai_app", "not-a-builder"),
    ],
)
def test_a_fault_of_a_model_in_service_yaml(old, new, check, in_yaml):
    change(in_yaml, YAML, old, new)
    line = line_with((in_yaml / YAML).read_text().splitlines(), new)
    assert [(finding.check, finding.line) for finding in of_service_yaml(in_yaml)] == [(check, line)]


def test_two_models_of_one_id_in_service_yaml(in_yaml):
    change(in_yaml, YAML, "      ingress", "        - model_loading_config: {model_id: llama-3.1-8b}\n      ingress")
    (finding,) = of_service_yaml(in_yaml)
    assert "Duplicate models" in finding.what


def test_a_model_in_service_yaml_that_is_right(in_yaml):
    assert of_service_yaml(in_yaml) == []


def test_experimental_configs_are_those_that_the_installed_ray_reads():
    source = "\n".join(file.read_text() for file in Path(ray.llm.__path__[0]).rglob("*.py"))
    constants = dict(re.findall(r'^(\w+) = "(\w+)"', source, re.MULTILINE))
    read = re.findall(r'experimental_configs\.(?:get|setdefault)\(\s*"?(\w+)', source)
    assert {constants.get(name, name) for name in read} == set(known_keys.EXPERIMENTAL)


def test_quick_findings_do_without_ray_and_the_sdk(project):
    program = (
        "import sys\nfrom pathlib import Path\nfrom ops.check.rules import service_yaml, upload\n"
        "from ops.project.service_files import ServiceFiles\n"
        "root = Path.cwd()\n"
        "list(service_yaml.quick_findings(ServiceFiles(root, root / 'services' / 'small_size_llm')))\n"
        "print([name for name in ('ray', 'anyscale', 'vllm') if name in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", program], cwd=project, capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


def test_services_without_a_fault_have_no_finding(service, project):
    assert of_service_yaml(project, service.folder.name) == []
