"""What is counted of each key: requests of any 60 seconds, tokens of a day. Over replicas: tests/e2e/test_auth.py."""

import random

from serving.auth.limits import DAY_S, REQUESTS, TOKENS, Limits

NOON = 20_000 * DAY_S + DAY_S / 2


class Clock:
    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> float:
        return self.now


def test_no_60_seconds_have_more_requests_than_the_limit():
    clock, chance = Clock(), random.Random(0)
    limits, let_in = Limits(clock), []
    for _ in range(2000):
        clock.now += chance.expovariate(1)
        if limits.take("alice", 10, None) is None:
            let_in.append(clock.now)
    assert all(later - earlier >= 60 for earlier, later in zip(let_in, let_in[10:], strict=False))
    assert len(let_in) > 300, "10 a minute for 2000 s"


def test_who_waits_as_long_as_told_is_let_in():
    clock = Clock()
    limits = Limits(clock)
    for _ in range(5):
        assert limits.take("alice", 5, None) is None
        clock.now += 7.3
    what, seconds = limits.take("alice", 5, None)
    assert what == REQUESTS
    clock.now += seconds - 1
    assert limits.take("alice", 5, None) is not None
    clock.now += 1
    assert limits.take("alice", 5, None) is None


def test_a_limit_that_is_lowered_counts_what_was_let_in_before():
    clock = Clock()
    limits = Limits(clock)
    for _ in range(10):
        limits.take("alice", 10, None)
        clock.now += 1
    what, seconds = limits.take("alice", 3, None)
    assert what == REQUESTS
    clock.now += seconds
    assert limits.take("alice", 3, None) is None


def test_tokens_of_a_day_are_used_up_and_come_back_at_midnight_utc():
    clock = Clock()
    limits = Limits(clock)
    limits.spend({"alice": 60, "bob": 10})
    assert limits.take("alice", None, 100) is None
    limits.spend({"alice": 60})
    assert limits.take("alice", None, 100) == (TOKENS, DAY_S // 2)
    assert limits.take("bob", None, 100) is None
    clock.now += DAY_S / 2
    assert limits.take("alice", None, 100) is None
    assert limits.tokens == {}


def test_a_request_that_is_refused_for_tokens_is_not_counted_as_one():
    limits = Limits(Clock())
    limits.spend({"alice": 100})
    for _ in range(5):
        assert limits.take("alice", 2, 100)[0] == TOKENS
    assert limits.take("alice", 2, 200) is None


def test_memory_for_a_key_is_bound_by_its_limit():
    limits = Limits(Clock())
    for _ in range(1000):
        limits.take("alice", 5, None)
    assert len(limits.admitted["alice"]) == 5
