"""Machines, quota and price of a service, on examples that are computed by hand."""

import pytest
import yaml

from ops.project.service_files import ServiceFiles
from ops.sizing import cost
from ops.sizing.cost import nodes_for

HEAD = {"instance_type": "m5.2xlarge"}  # 0.384 USD an hour
OWN = {"m5.2xlarge": 1.0, "g6.2xlarge": 10.0}


@pytest.fixture
def planned(tmp_path):
    """The cost of a service with these worker groups, and an LLMConfig of these fields."""

    def of(*groups: dict, own_prices: dict[str, float] = OWN, compute: dict | str | None = None, **llm_config):
        llm_config = {"model_loading_config": {"model_id": "m"}} | llm_config
        compute = compute or {"head_node": HEAD, "worker_nodes": list(groups)}
        application = {"import_path": "ray.serve.llm:build_openai_app", "args": {"llm_configs": [llm_config]}}
        (tmp_path / "service.yaml").write_text(
            yaml.safe_dump({"name": "s", "compute_config": compute, "applications": [application]})
        )
        files = ServiceFiles(tmp_path, tmp_path)
        return cost.of(files, files.served, own_prices)

    return of


def scaling(least: int, most: int) -> dict:
    return {"autoscaling_config": {"min_replicas": least, "max_replicas": most, "target_ongoing_requests": 8}}


@pytest.mark.parametrize(
    ("replicas", "gpus_of_replica", "gpus_of_node", "nodes"),
    [(4, 1, 1, 4), (4, 1, 8, 1), (3, 4, 8, 2), (2, 8, 8, 2), (2, 16, 8, 4), (3, 3, 8, 2), (1, 12, 8, 2), (0, 1, 8, 0)],
)
def test_nodes_for(replicas, gpus_of_replica, gpus_of_node, nodes):
    assert nodes_for([(replicas, gpus_of_replica)], gpus_of_node) == nodes


def test_one_replica_a_node(planned):
    group = {"name": "l4", "instance_type": "g6.2xlarge", "min_nodes": 1, "max_nodes": 4}
    made = planned(group, accelerator_type="L4", deployment_config=scaling(1, 3))
    head, l4 = made.machines
    assert (head.nodes_at_least, head.nodes_at_most) == (1, 1)
    assert (l4.nodes_at_least, l4.nodes_at_most, l4.gpus_at_least, l4.gpus_at_most) == (1, 3, 1, 3)
    assert (made.usd_per_hour_at_least, made.usd_per_hour_at_most) == (11, 31)
    assert made.usd_per_hour("m", 7) == 71
    assert [(need.amount, need.unit, need.machines) for need in made.quotas] == [
        (8, "vCPUs", ["1 x m5.2xlarge"]),
        (24, "vCPUs", ["3 x g6.2xlarge (3 L4)"]),
    ]
    assert made.problems + made.unknown == []


def test_nodes_that_are_there_without_replicas_are_paid(planned):
    group = {"instance_type": "g6.2xlarge", "min_nodes": 2, "max_nodes": 4}
    made = planned(group, accelerator_type="L4", deployment_config=scaling(0, 1))
    assert (made.usd_per_hour_at_least, made.usd_per_hour_at_most) == (21, 21)


def test_replicas_run_on_the_group_with_their_gpu(planned):
    l4 = {"name": "l4", "instance_type": "g6.2xlarge", "max_nodes": 4}
    h100 = {"name": "h100", "instance_type": "p5.4xlarge", "max_nodes": 4}
    made = planned(l4, h100, accelerator_type="H100", deployment_config=scaling(1, 2))
    assert [(group.name, group.nodes_at_most) for group in made.machines] == [("head", 1), ("l4", 0), ("h100", 2)]
    assert made.usd_per_hour_at_most == pytest.approx(1 + 2 * 6.88)


def test_replicas_of_four_gpus_share_a_node_of_eight(planned):
    group = {"instance_type": "g6e.48xlarge", "max_nodes": 2}
    engine = {"tensor_parallel_size": 2, "pipeline_parallel_size": 2}
    made = planned(group, accelerator_type="L40S", engine_kwargs=engine, deployment_config=scaling(2, 4))
    assert made.replicas[0].gpus == 4
    assert (made.machines[1].nodes_at_least, made.machines[1].nodes_at_most) == (1, 2)
    assert made.problems == []


def test_max_replicas_that_max_nodes_does_not_hold(planned):
    group = {"instance_type": "g6.2xlarge", "max_nodes": 2}
    made = planned(group, accelerator_type="L4", deployment_config=scaling(1, 5))
    assert made.machines[1].nodes_at_most == 2
    assert made.problems == [
        "max_replicas: 5 needs 5 nodes of g6.2xlarge, and service.yaml allows 2 (max_nodes). Make the two agree."
    ]


def test_no_group_has_the_gpu(planned):
    made = planned({"instance_type": "g6.2xlarge", "max_nodes": 2}, accelerator_type="B200")
    assert made.problems == ["No worker group of service.yaml has the B200 that m asks for."]
    assert made.usd_per_hour_at_most is None


def test_machine_that_is_not_known(planned):
    group = {"instance_type": "g9.huge", "min_nodes": 1, "max_nodes": 2}
    made = planned(group, accelerator_type="L4")
    assert made.unknown == ["GPUs, quota and price of g9.huge are unknown. Add it to ops/sizing/hardware.yaml."]
    assert made.usd_per_hour_at_least is None


def test_own_price_of_a_machine_that_is_not_known(planned):
    group = {"instance_type": "g9.huge", "min_nodes": 1, "max_nodes": 2}
    made = planned(group, own_prices=OWN | {"g9.huge": 100.0}, accelerator_type="L4")
    assert made.unknown == ["GPUs and quota of g9.huge are unknown. Add it to ops/sizing/hardware.yaml."]
    assert (made.usd_per_hour_at_least, made.usd_per_hour_at_most) == (101, 201)


def test_price_that_is_not_known(planned):
    made = planned({"instance_type": "a3-highgpu-1g", "max_nodes": 2}, accelerator_type="H100")
    assert made.unknown == ["The price of a3-highgpu-1g is unknown. Give yours in a file, with --prices."]


def test_machines_that_service_yaml_leaves_to_the_cloud(planned):
    made = planned(compute="my-compute-config:3", accelerator_type="L4")
    assert len(made.unknown) == 2
    assert "names no worker_nodes" in made.unknown[0]
    assert "which machines head has" in made.unknown[1]
    assert made.usd_per_hour_at_least is None


def test_spot_machines_are_told(planned):
    group = {"name": "l4", "instance_type": "g6.2xlarge", "max_nodes": 2, "market_type": "PREFER_SPOT"}
    made = planned(group, own_prices={}, accelerator_type="L4")
    assert "l4 may have spot machines, which cost less" in made.machines[1].price_source


@pytest.mark.parametrize(
    ("deployment", "replicas"),
    [
        ({}, (1, 1)),
        ({"num_replicas": 3}, (3, 3)),
        ({"num_replicas": "auto"}, (1, 100)),
        ({"num_replicas": "auto", "autoscaling_config": {"max_replicas": 7}}, (1, 7)),
        ({"autoscaling_config": {"min_replicas": 0, "max_replicas": 2}}, (0, 2)),
    ],
)
def test_replicas_as_ray_serve_counts_them(planned, deployment, replicas):
    group = {"instance_type": "g6.2xlarge", "max_nodes": 200}
    made = planned(group, accelerator_type="L4", deployment_config=deployment)
    (found,) = made.replicas
    assert (found.least, found.most) == replicas


def test_models_that_are_served_at_once_share_nodes_and_pay_for_their_own(tmp_path):
    def model(name: str, gpu: str, tensor: int, most: int) -> dict:
        engine = {"tensor_parallel_size": tensor}
        loading = {"model_id": name}
        return dict(
            model_loading_config=loading, accelerator_type=gpu, engine_kwargs=engine, deployment_config=scaling(1, most)
        )

    groups = [
        {"name": "l40s", "instance_type": "g6e.12xlarge", "min_nodes": 1, "max_nodes": 2},  # 4 GPUs
        {"name": "l4", "instance_type": "g6.2xlarge", "min_nodes": 1, "max_nodes": 9},
    ]
    configs = [model("large", "L40S", 2, 2), model("middle", "L40S", 1, 3), model("small", "L4", 1, 4)]
    application = {"import_path": "ray.serve.llm:build_openai_app", "args": {"llm_configs": configs}}
    compute = {"head_node": HEAD, "worker_nodes": groups}
    service = {"name": "s", "compute_config": compute, "applications": [application]}
    (tmp_path / "service.yaml").write_text(yaml.safe_dump(service))
    files = ServiceFiles(tmp_path, tmp_path)
    made = cost.of(files, files.served, OWN | {"g6e.12xlarge": 100.0})
    _, l40s, l4 = made.machines
    assert (l40s.models, l40s.nodes_at_least, l40s.nodes_at_most) == (["large", "middle"], 1, 2)
    assert (l4.models, l4.nodes_at_least, l4.nodes_at_most) == (["small"], 1, 4)
    assert (made.usd_per_hour_at_least, made.usd_per_hour_at_most) == (111, 241)
    assert made.usd_per_hour("small", 2) == 21
    assert made.usd_per_hour("large", 2) == 201
    assert made.problems == []
    groups[0]["max_nodes"] = 1
    (tmp_path / "service.yaml").write_text(yaml.safe_dump(service))
    files = ServiceFiles(tmp_path, tmp_path)
    (problem,) = cost.of(files, files.served, OWN).problems
    assert "max_replicas: 2 of large and 3 of middle needs 2 nodes of g6e.12xlarge" in problem
