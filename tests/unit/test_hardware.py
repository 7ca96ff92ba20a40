"""What is known of GPUs and machines, and what they cost."""

import re

import pytest
from pydantic import ValidationError
from ray.util.accelerators import accelerators

from ops.console.cli import CommandError
from ops.project import yaml_models
from ops.project.service_files import ServiceFiles
from ops.sizing import hardware
from ops.sizing.hardware import Hardware


@pytest.fixture
def files(service, project):
    return ServiceFiles(project, service.folder)


def test_machines_of_every_service_are_known_with_their_price(files):
    nodes = [files.yaml.get("compute_config", "head_node"), *files.worker_groups]
    assert [node["instance_type"] for node in nodes if hardware.price(node["instance_type"], {}) is None] == []


def test_machines_of_another_cloud_that_a_service_names_are_known(service):
    named = re.findall(r"GCP: ([a-z0-9-]+)", (service.folder / "service.yaml").read_text())
    assert named
    assert [name for name in named if hardware.instance(name) is None] == []


def test_gpus_of_every_service_are_known(files):
    asked = {model.get("accelerator_type") for model in files.models.values()}
    assert {name for name in asked if hardware.accelerator(name) is None} == set()


def test_ray_knows_every_gpu_by_its_name():
    known = {value for name, value in vars(accelerators).items() if name.startswith("NVIDIA")}
    assert {gpu.ray_name for gpu in hardware.load().accelerators.values()} <= known


@pytest.mark.parametrize("gpu", hardware.load().accelerators.values(), ids=lambda gpu: gpu.name)
def test_vllm_sees_a_little_less_of_a_gpu_than_nvidia_smi(gpu):
    assert 0.94 < gpu.memory_bytes / (gpu.memory_mib * 2**20) < 1


def test_fp8_is_twice_as_fast_as_bf16_where_there_is_any():
    both = [gpu for gpu in hardware.load().accelerators.values() if gpu.fp8_flops]
    assert [gpu.fp8_flops / gpu.bf16_flops for gpu in both] == pytest.approx([2] * len(both), rel=0.02)


def test_a100_is_the_smaller_of_the_two():
    assert hardware.accelerator("A100").name == "A100-40G"
    assert hardware.accelerator("A100-80G").memory_mib == 81920


def test_what_is_not_known_is_none():
    assert hardware.accelerator("H900") is None
    assert hardware.instance("p9.large") is None
    assert hardware.price("p9.large", {}) is None
    assert hardware.price("a3-highgpu-1g", {}) is None  # not sold on demand


def test_price_says_where_and_when_it_is_from():
    price = hardware.price("g6.2xlarge", {})
    assert price.usd_per_hour == 0.9776
    assert price.source == "AWS EC2 price list, us-east-1, on demand, 2026-09-25"


def test_own_price_goes_first(tmp_path):
    file = tmp_path / "prices.yaml"
    file.write_text("g6.2xlarge: 0.5\np9.large: 7\n")
    own = hardware.own_prices(file)
    assert hardware.price("g6.2xlarge", own).usd_per_hour == 0.5
    assert hardware.price("p9.large", own).source == "your prices"
    assert hardware.price("g6e.2xlarge", own).usd_per_hour == 2.24208


@pytest.mark.parametrize(
    ("content", "said"),
    [("", "not a list of prices"), ("g6.2xlarge: cheap", "g6.2xlarge"), ("- 3", "not a list"), ("a: 1\na: 2", "twice")],
)
def test_file_that_is_no_list_of_prices_is_refused(tmp_path, content, said):
    file = tmp_path / "prices.yaml"
    file.write_text(content)
    with pytest.raises(CommandError, match=said):
        hardware.own_prices(file)


@pytest.mark.parametrize(
    ("instance", "said"),
    [
        ({"accelerator": "H900"}, "not among the accelerators"),
        ({"quota": "aws-x"}, "not among the quotas"),
        ({"price_list": "azure"}, "not among the price_lists"),
        ({"colour": "red"}, "Extra inputs"),
    ],
)
def test_entry_that_names_what_is_not_there_is_refused(instance, said):
    data = yaml_models.load(hardware.FILE)
    data["instances"]["g6.2xlarge"] |= instance
    with pytest.raises(ValidationError, match=said):
        Hardware.model_validate(data)
