"""`vllm bench serve`, in this process, as vLLM takes 20 s of two cores to import; in several where a load is large."""

import contextlib
import os
from collections.abc import Generator
from concurrent.futures import ProcessPoolExecutor, wait
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from ops.bench.figures import Cell, LatencyMs
from ops.probing import service_key


def options(url: str, model: str, tokenizer: list[str], concurrency: int, workload: list[str], seed: int) -> list[str]:
    """The words of one run.

    Args:
        tokenizer: the words that say which it is: prompts are made of its tokens.
        workload: as ops.bench.workloads.words makes them.
    """
    return [
        "--backend=openai-chat",
        "--endpoint=/v1/chat/completions",
        f"--base-url={url}",
        f"--model={model}",
        *tokenizer,
        *workload,
        f"--max-concurrency={concurrency}",
        f"--num-warmups={concurrency}",  # not measured
        f"--seed={seed}",
        "--temperature=0",
        "--disable-tqdm",
    ]


def shares(concurrency: int, processes: int) -> list[int]:
    """The requests at a time of each process, as even as can be; none has none."""
    each, more = divmod(concurrency, min(processes, concurrency))
    return [each + (number < more) for number in range(min(processes, concurrency))]


@dataclass(frozen=True)
class Loads:
    """What sends the load: this process, and others where one would be at its limit itself.

    At the 10,000 tokens/s that a replica on an H100 sends while it answers 256 requests, one takes two thirds of a core
    (docs/performance/runs.csv, experiment h100-x4).
    """

    pool: ProcessPoolExecutor | None
    log: Path
    """What `vllm bench serve` prints goes there."""

    def run(self, runs: list[list[str]], api_key: str | None) -> list[dict[str, Any]]:
        """The results of runs that begin together, as `vllm bench serve --save-detailed` saves them."""
        if self.pool is None or len(runs) == 1:
            return [run(words, api_key, self.log) for words in runs]
        return list(self.pool.map(run, runs, [api_key] * len(runs), [self.log] * len(runs)))


@contextlib.contextmanager
def loads(processes: int, log: Path) -> Generator[Loads]:
    """So many processes, which have imported what they need."""
    if processes == 1:
        yield Loads(None, log)
        return
    with ProcessPoolExecutor(processes, get_context("spawn"), initializer=print_to, initargs=(log,)) as pool:
        wait([pool.submit(get_ready) for _ in range(processes)])
        yield Loads(pool, log)


def print_to(log: Path) -> None:
    """Have all that this process prints in a file: at its end, too, vLLM has a lot to say."""
    with log.open("a") as output:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)


def get_ready() -> None:
    """Import what a run needs."""
    import vllm.benchmarks.serve  # noqa: F401


def run(words: list[str], api_key: str | None, log: Path) -> dict[str, Any]:
    """The result of one run; what it prints goes to `log`."""
    from vllm.benchmarks.serve import add_cli_args, main
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    parser = FlexibleArgumentParser()
    add_cli_args(parser)
    given = service_key.headers() | ({"Authorization": f"Bearer {api_key}"} if api_key else {})
    headers = [f"{name}={value}" for name, value in given.items()]
    args = parser.parse_args([*words, "--save-detailed", *(["--header", *headers] if headers else [])])
    with log.open("a") as output, contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
        return main(args)


@dataclass(frozen=True)
class AnsweredRequest:
    """One request that was answered; times are in seconds, of the machine's clock, which all processes share."""

    started: float
    ttft: float
    gaps: list[float]
    """The times between the events of its stream."""
    tokens: int

    @property
    def events(self) -> np.ndarray:
        """The times at which they came."""
        return self.started + self.ttft + np.cumsum([0.0, *self.gaps])

    def tokens_between(self, begin: float, end: float) -> float:
        events = self.events
        return self.tokens * np.count_nonzero((events >= begin) & (events <= end)) / len(events)


def cell(results: list[dict[str, Any]], round: int, stack: str, concurrency: int) -> Cell:
    """The figures of runs that began together, over all their requests: vLLM tells only those of each run.

    TPOT is (latency - TTFT) / (tokens - 1), as vllm.benchmarks.serve.calculate_metrics has it.
    """
    runs = [answered(result) for result in results]
    requests = [request for run in runs for request in run]
    errors = [error for result in results for error in result["errors"]]
    first_error = next((error for error in errors if error), "")
    seconds, tokens = together(runs)
    return Cell(
        round=round,
        stack=stack,
        concurrency=concurrency,
        requests=len(errors),
        failed=len(errors) - len(requests),
        first_error=first_error.strip().splitlines()[-1] if first_error else "",
        seconds=rounded(seconds),
        output_tokens_per_s=rounded(tokens / seconds if seconds else 0),
        ttft_ms=percentiles([one.ttft for one in requests]),
        tpot_ms=percentiles([sum(one.gaps) / (one.tokens - 1) for one in requests if one.tokens > 1]),
        itl_ms=percentiles([gap for one in requests for gap in one.gaps]),
    )


def answered(result: dict[str, Any]) -> list[AnsweredRequest]:
    each = zip(result["start_times"], result["ttfts"], result["itls"], result["output_lens"], strict=True)
    return [AnsweredRequest(*one) for one, error in zip(each, result["errors"], strict=True) if not error]


def together(runs: list[list[AnsweredRequest]]) -> tuple[float, float]:
    """The seconds in which all runs had requests, and the tokens that came in them; zeros where there are none.

    Runs that begin together do not begin and end in the same moment, and what is left is faster alone.
    """
    if not all(runs):
        return 0, 0
    begin = max(min(one.started for one in run) for run in runs)
    end = min(max(one.events[-1] for one in run) for run in runs)
    if end <= begin:
        return 0, 0
    return end - begin, sum(one.tokens_between(begin, end) for run in runs for one in run)


def percentiles(seconds: list[float]) -> LatencyMs:
    """Percentiles in milliseconds; zeros where there is nothing, as vLLM has it."""
    p50, p95, p99 = np.percentile(seconds or [0.0], (50, 95, 99)) * 1000
    return LatencyMs(p50=rounded(p50), p95=rounded(p95), p99=rounded(p99))


def rounded(value: float) -> float:
    return round(float(value), 3)
