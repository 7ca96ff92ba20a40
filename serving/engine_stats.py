"""What vLLM tells of its queue and KV cache, kept where the replica can report it."""

from vllm.v1.engine.async_llm import AsyncLLM
from vllm.v1.metrics.loggers import AggregateStatLoggerBase
from vllm.v1.metrics.stats import SchedulerStats

from serving.autoscaling import KV_CACHE, RUNNING, SEATS, WAITING


class EngineStats(AggregateStatLoggerBase):
    """The last statistics of each engine of a replica; there are several with data parallelism in one replica."""

    def __init__(self, seats: float) -> None:
        """`seats`: how many requests may run in one engine at a time."""
        self.seats = seats
        self.last: dict[int, SchedulerStats] = {}

    def record(self, scheduler_stats, iteration_stats, mm_cache_stats=None, engine_idx=0) -> None:
        if scheduler_stats is not None:
            self.last[engine_idx] = scheduler_stats

    def log_engine_initialized(self) -> None:
        pass

    def numbers(self) -> dict[str, float]:
        """The numbers that `serving.autoscaling.EnginePolicy` takes."""
        stats = list(self.last.values())
        return {
            RUNNING: sum(each.num_running_reqs for each in stats),
            WAITING: sum(each.num_waiting_reqs + each.num_skipped_waiting_reqs for each in stats),
            KV_CACHE: max((each.kv_cache_usage for each in stats), default=0.0),
            SEATS: self.seats * max(1, len(stats)),
        }


def follow(engine: AsyncLLM, max_ongoing_requests: float) -> EngineStats | None:
    """Keep the statistics of an engine from now on; None where it makes none (`disable_log_stats`).

    vLLM 0.27 takes loggers when an engine is made, and Ray 2.59 makes it with its own; so this one is added to them.

    Args:
        max_ongoing_requests: what Serve gives a replica at most. Where it is less than vLLM's batch, it is Serve that
            lets requests wait, and the engine never sees a queue.
    """
    if engine.logger_manager is None:
        return None
    stats = EngineStats(min(engine.vllm_config.scheduler_config.max_num_seqs, max_ongoing_requests))
    engine.logger_manager.stat_loggers.append(stats)
    return stats
