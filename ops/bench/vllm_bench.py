"""`vllm bench serve`, run in this process: vLLM takes 20 s of two cores to import, which each run of its own would."""

import contextlib
from pathlib import Path
from typing import Any

from ops import service_key
from ops.bench.figures import Cell, Percentiles


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
        "--percentile-metrics=ttft,tpot,itl",
        "--metric-percentiles=50,95,99",
        "--disable-tqdm",
    ]


def run(words: list[str], api_key: str | None, log: Path) -> dict[str, Any]:
    """Its result as `vllm bench serve --save-detailed` saves it; what it prints goes to `log`."""
    from vllm.benchmarks.serve import add_cli_args, main
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    parser = FlexibleArgumentParser()
    add_cli_args(parser)
    given = service_key.headers() | ({"Authorization": f"Bearer {api_key}"} if api_key else {})
    headers = [f"{name}={value}" for name, value in given.items()]
    args = parser.parse_args([*words, "--save-detailed", *(["--header", *headers] if headers else [])])
    with log.open("a") as output, contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
        return main(args)


def cell(result: dict[str, Any], round: int, stack: str, concurrency: int) -> Cell:
    def percentiles(metric: str) -> Percentiles:
        return Percentiles(**{name: round_ms(result[f"{name}_{metric}_ms"]) for name in ("p50", "p95", "p99")})

    errors = [error for error in result["errors"] if error]
    return Cell(
        round=round,
        stack=stack,
        concurrency=concurrency,
        requests=result["completed"] + result["failed"],
        failed=result["failed"],
        first_error=errors[0].strip().splitlines()[-1] if errors else "",
        seconds=round_ms(result["duration"]),
        output_tokens_per_s=round_ms(result["output_throughput"]),
        ttft_ms=percentiles("ttft"),
        tpot_ms=percentiles("tpot"),
        itl_ms=percentiles("itl"),
    )


def round_ms(value: float) -> float:
    return round(float(value), 3)
