"""Faults in a service with LoRA adapters, planted one at a time."""

import pytest

from ops.check import run
from ops.check.rules import engine, ingress, service_yaml_import
from ops.project.service_files import ServiceFiles
from tests.planted import Fault, places, plant

SERVE, YAML = "services/multi_lora/serve.py", "services/multi_lora/service.yaml"
MAX_LORAS = "    max_loras=8,  # of different adapters in one batch; requests for a ninth wait\n"
CPU_LORAS = "max_cpu_loras=32,"
HAPROXY = '  RAY_SERVE_ENABLE_HA_PROXY: "1"\n'
DIRECT = '  RAY_SERVE_LLM_ENABLE_DIRECT_STREAMING: "1"\n'
INGRESS_REPLICAS = """    autoscaling_config=dict(
        min_replicas=2,
        max_replicas=8,  # two for each replica of the model
        target_ongoing_requests=8,  # guess: half of what a replica of the model aims at, as there are two
    ),
    health_check"""

FAULTS = [
    Fault("one at a time", SERVE, "max_loras=8,", "max_loras=1,", "adapters-one-at-a-time"),
    Fault("one at a time by default", SERVE, MAX_LORAS, "", "adapters-one-at-a-time", "engine_kwargs=ENGINE"),
    Fault("fewer in memory than loaded", SERVE, CPU_LORAS, "max_cpu_loras=16,", "adapters-read-again"),
    Fault(
        "more at once than loaded",
        SERVE,
        "max_num_adapters_per_replica=32,",
        "max_num_adapters_per_replica=4,",
        "adapter-slots-never-used",
        "max_loras=8,",
    ),
    Fault("more at once than in memory", SERVE, CPU_LORAS, "max_cpu_loras=4,", "size-above-its-limit", "max_loras=8,"),
    Fault(
        "no LoRA in the engine", SERVE, "enable_lora=True", "enable_lora=False", "needs-another-setting", "lora_config="
    ),
    Fault("rank", SERVE, "max_lora_rank=16", "max_lora_rank=24", "invalid-engine-argument"),
    Fault("colon", SERVE, 'model_id="llama-3.1-8b"', 'model_id="llama-3.1:8b"', "model-id-with-a-meaning"),
    Fault(
        "one ingress",
        SERVE,
        INGRESS_REPLICAS,
        "    health_check",
        "one-ingress-replica",
        "return build(",
    ),
    Fault("direct streaming", YAML, HAPROXY, HAPROXY + DIRECT, "direct-streaming-refused", f"{SERVE}: lora_config="),
    Fault(
        "adapters that are in no cloud",
        YAML,
        "      profile: gpu\n",
        "      profile: gpu\n      adapters: /mnt/adapters\n",
        "args-do-not-fit",
        "adapters: /mnt",
    ),
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_fault_is_told_where_it_is(fault, copied):
    expected = plant(copied, fault)
    checks = [engine.quick_findings, engine.findings, ingress.findings, service_yaml_import.quick_findings]
    found = list(run.run(checks, ServiceFiles(copied, copied / "services" / "multi_lora")))
    assert expected in places(found)
