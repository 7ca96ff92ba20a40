"""The policy that follows the engine: what it decides, what it does without numbers, and what is refused at start."""

from types import SimpleNamespace

import pytest
from ray.serve.config import AutoscalingConfig
from ray.serve.llm import LLMConfig
from vllm.v1.metrics.stats import SchedulerStats

from serving.autoscaling import (
    KV_CACHE,
    POLICY,
    RUNNING,
    SEATS,
    WAITING,
    EnginePolicy,
    Load,
    Thresholds,
    loads_of,
    scaled,
    wanted,
)
from serving.engine_stats import follow

SEATS_EACH = 8


def load(running: float = 0, waiting: float = 0, kv_cache: float = 0) -> Load:
    return Load(running, waiting, kv_cache, SEATS_EACH)


def decided(*loads: Load, queued: float = 0, replicas: int | None = None) -> int:
    return wanted(loads, queued, len(loads) if replicas is None else replicas, Thresholds())


def test_a_replica_more_when_requests_wait():
    assert decided(load(8, waiting=2, kv_cache=0.1)) == 2
    assert decided(load(4, waiting=1, kv_cache=0.1), load(4, waiting=1, kv_cache=0.1)) == 3, "though seats are free"


def test_as_many_more_as_the_queue_needs():
    assert decided(load(8, waiting=40, kv_cache=0.2)) == 9, "48 requests, 5.6 of 8 seats each"


def test_a_replica_more_when_the_kv_cache_is_nearly_full():
    assert decided(load(2, kv_cache=0.95)) == 2
    assert decided(load(2, kv_cache=0.95), load(1, kv_cache=0.1)) == 2, "the other has room"


def test_requests_in_serves_own_queue_count():
    assert decided(load(8, kv_cache=0.1), queued=8) > 2


def test_a_replica_less_only_where_the_others_have_room_for_its_load():
    assert decided(load(2, kv_cache=0.2), load(2, kv_cache=0.2)) == 1
    assert decided(load(4, kv_cache=0.1), load(4, kv_cache=0.1)) == 2, "8 requests would take every seat of one"
    assert decided(load(1, kv_cache=0.4), load(1, kv_cache=0.4)) == 2, "one would have 80 % of its KV cache taken"
    assert decided(load(1, waiting=1), load(0)) == 2, "somebody waits"


def test_one_replica_less_at_a_time():
    assert decided(*[load()] * 4) == 3


def test_to_zero_only_when_nothing_runs():
    assert decided(load()) == 0
    assert decided(load(0.1)) == 1


def test_none_is_taken_away_before_all_have_reported():
    assert decided(load(), replicas=2) == 2


def test_no_replicas():
    assert decided(replicas=0) == 0


@pytest.mark.parametrize("requests", range(0, 200, 7))
def test_a_steady_load_comes_to_rest(requests):
    """However many requests there are: the replicas that one decision adds, the next does not take away."""
    replicas, history = 1, []
    for _ in range(40):
        each = requests / replicas
        running = min(each, SEATS_EACH)
        replicas = max(1, decided(*[load(running, each - running, running / 20)] * replicas))
        history.append(replicas)
    assert len(set(history[-10:])) == 1, history
    assert requests <= replicas * SEATS_EACH


def context(metrics: dict | None, *, requests: float = 0, replicas: int = 1, **more) -> SimpleNamespace:
    config = AutoscalingConfig(min_replicas=1, max_replicas=4, target_ongoing_requests=2)
    bounds = dict(capacity_adjusted_min_replicas=1, capacity_adjusted_max_replicas=4)
    counted = dict(total_num_requests=requests, total_queued_requests=0, aggregated_metrics=metrics)
    state = dict(current_num_replicas=replicas, target_num_replicas=replicas, config=config, deployment_name="a model")
    return SimpleNamespace(**bounds | counted | state | more)


def reported(*loads: Load) -> dict:
    names = {RUNNING: "running", WAITING: "waiting", KV_CACHE: "kv_cache", SEATS: "seats"}
    return {name: {f"replica {n}": getattr(one, key) for n, one in enumerate(loads)} for name, key in names.items()}


def test_policy_stays_between_least_and_most():
    policy = EnginePolicy()
    assert policy(context(reported(load(8, waiting=500)))) == (4, {})
    assert policy(context(reported(load()))) == (1, {})


def test_policy_keeps_what_is_wanted_while_there_is_no_replica():
    assert EnginePolicy()(context({}, replicas=0, target_num_replicas=1)) == (1, {})


def test_policy_without_numbers_counts_requests_and_says_so_once(caplog):
    policy = EnginePolicy()
    caplog.handler.addFilter(lambda record: record.name == "ray.serve")
    for metrics in ({}, None, {RUNNING: {"replica 0": 1.0}}):
        assert policy(context(metrics, requests=6)) == (3, {})
    (said,) = {id(record): record.message for record in caplog.records}.values()
    assert "follows the number of requests" in said


def test_policy_is_what_serve_takes():
    settings = dict(min_replicas=1, max_replicas=2, policy={"policy_function": POLICY, "policy_kwargs": {"full": 0.8}})
    config = AutoscalingConfig(**settings)
    policy = config.policy.get_policy()(**config.policy.policy_kwargs)
    assert policy(context(reported(load(8, waiting=8)))) == (3, {})


def model(**fields) -> LLMConfig:
    return LLMConfig(model_loading_config=dict(model_id="a-model"), **fields)


def test_engine_policy_keeps_the_rest_of_the_configuration():
    deployment = dict(autoscaling_config=dict(min_replicas=1, max_replicas=4, target_ongoing_requests=16))
    changed = scaled(model(deployment_config=deployment), "engine").deployment_config["autoscaling_config"]
    assert changed == deployment["autoscaling_config"] | {"policy": {"policy_function": POLICY}}


def test_engine_policy_is_refused_where_the_engine_tells_nothing():
    silent = dict(log_engine_metrics=False, engine_kwargs=dict(disable_log_stats=True))
    with pytest.raises(ValueError, match="disable_log_stats"):
        scaled(model(deployment_config=dict(autoscaling_config=dict(max_replicas=2)), **silent), "engine")


def test_engine_policy_is_refused_where_nothing_scales():
    with pytest.raises(ValueError, match="no autoscaling_config"):
        scaled(model(deployment_config=dict(num_replicas=2)), "engine")


def test_the_engine_tells_its_last_numbers():
    batch = SimpleNamespace(scheduler_config=SimpleNamespace(max_num_seqs=SEATS_EACH))
    engine = SimpleNamespace(logger_manager=SimpleNamespace(stat_loggers=[]), vllm_config=batch)
    stats = follow(engine, max_ongoing_requests=64)
    assert stats.numbers() == {RUNNING: 0, WAITING: 0, KV_CACHE: 0, SEATS: SEATS_EACH}, "nothing has run yet"
    (logger,) = engine.logger_manager.stat_loggers
    logger.record(SchedulerStats(num_running_reqs=8, num_waiting_reqs=3, kv_cache_usage=0.5), None)
    logger.record(None, None)
    assert stats.numbers() == {RUNNING: 8, WAITING: 3, KV_CACHE: 0.5, SEATS: SEATS_EACH}
    assert loads_of({name: {"a replica": number} for name, number in stats.numbers().items()}) == [load(8, 3, 0.5)]


def test_seats_are_no_more_than_what_serve_gives_a_replica():
    batch = SimpleNamespace(scheduler_config=SimpleNamespace(max_num_seqs=1024))
    engine = SimpleNamespace(logger_manager=SimpleNamespace(stat_loggers=[]), vllm_config=batch)
    assert follow(engine, max_ongoing_requests=64).numbers()[SEATS] == 64


def test_an_engine_without_statistics_tells_nothing():
    assert follow(SimpleNamespace(logger_manager=None), max_ongoing_requests=64) is None
