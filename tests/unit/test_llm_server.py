"""Who has the GPUs of a replica: the replica where they are of one node, else workers there."""

import pytest
from ray.serve.llm import LLMConfig

from serving.defaults import ON_ONE_NODE
from serving.llm_server import LLMServer


def placed(parallel: str, **more) -> dict:
    config = LLMConfig(
        model_loading_config=dict(model_id="two"), accelerator_type="L4", engine_kwargs={parallel: 2}, **more
    )
    return LLMServer.get_deployment_options(config)


@pytest.mark.parametrize("parallel", ["tensor_parallel_size", "pipeline_parallel_size"])
def test_gpus_that_may_be_of_several_nodes_are_left_to_workers_there(parallel, no_cluster):
    options = placed(parallel)
    assert [bundle["GPU"] for bundle in options["placement_group_bundles"]] == [1, 1]
    assert "num_gpus" not in options["ray_actor_options"]


def test_a_replica_has_all_gpus_of_one_node_itself(no_cluster):
    options = placed("tensor_parallel_size", placement_group_config=ON_ONE_NODE)
    (bundle,) = options["placement_group_bundles"]
    assert bundle["GPU"] == options["ray_actor_options"]["num_gpus"] == 2
    assert bundle["CPU"] == 3, "one for each worker, and the replica's"
