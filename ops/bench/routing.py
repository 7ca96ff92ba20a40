"""How often a prompt's beginning is in the KV cache, and how soon answers begin: fewest requests, session, prefix.

Conversations that grow, on two replicas of a service. The same two engines serve all three routings, in turn, so that
other load of the machine meets them alike.
"""

import random
import statistics
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Any

import typer

from ops.bench import local_service, machine, tables
from ops.bench.local_service import LocalService
from ops.bench.tables import Run
from ops.bench.workloads import WORDS
from ops.console import cli
from ops.console.cli import Failed, err, out
from ops.probing import load_test
from ops.probing.load_test import Timed
from ops.project.strict_model import StrictModel

ROUTINGS = {"fewest requests": None, "session": "session", "prefix": "prefix"}
HITS, QUERIES = "ray_vllm_prefix_cache_hits_total", "ray_vllm_prefix_cache_queries_total"
EXPORTED_S = 15  # Ray's agent exports metrics every 10 s
KV_CACHE_BYTES = 256 * 2**20  # 5,800 tokens of SmolLM2 in float32: half of the conversations below fit, not all


class Conversations(StrictModel):
    """The load: users that talk at the same time, each in a conversation of their own."""

    sessions: int = 8
    turns: int = 5
    first_words: int = 500
    """The length of a conversation's first message, such as a document that is talked about."""
    words: int = 100
    """The length of each message after it."""
    answer_tokens: int = 16
    think_s: float = 1.5
    """Mean pause of a user between an answer and the next message."""


def bench(
    rounds: Annotated[int, typer.Option(help="How often each routing has its turn.", min=1)] = 2,
    sessions: Annotated[int, typer.Option(help="Conversations at a time.", min=1)] = Conversations().sessions,
    turns: Annotated[int, typer.Option(help="Messages of each conversation.", min=2)] = Conversations().turns,
    service: Annotated[str, typer.Option(help="The service to measure.")] = "small-size-llm",
    folder: Annotated[Path | None, typer.Option(help="For the result; default: one in benchmarks/.")] = None,
) -> None:
    """Compare the routings on two replicas on this machine.

    Example: .venv/bin/python -m ops.bench.routing --rounds 2
    """
    load = Conversations(sessions=sessions, turns=turns)
    with local_service.cluster(service, RAY_SERVE_INGRESS_REQUEST_ROUTER_FORWARD_BODY="1") as running:
        runs = list(measure(running, load, rounds))
    from ops.bench import plots

    folder = local_service.result_folder("routing", folder)
    tables.write(folder / "runs.csv", runs)
    plots.draw_routing(folder / "routing.svg", runs)
    out.print_json(data=summary(runs))
    err.print(f"In {folder}: runs.csv, routing.svg")


def measure(running: LocalService, load: Conversations, rounds: int) -> Iterator[Run]:
    """Each routing's runs of each round, in an order that turns round."""
    facts = tables.machine_columns(machine.facts())
    for number in range(1, rounds + 1):
        for name in ROUTINGS if number % 2 else reversed(ROUTINGS):
            config = configured(running, ROUTINGS[name])
            running.deploy(config, keep_replicas=True)
            common: dict[str, Any] = dict(
                experiment="routing", service=running.name, model=config.model_id, replicas=2, **facts
            )
            common |= dict(stack=name, round=number, concurrency=load.sessions, load_processes=1)
            for columns in one_phase(running, load, f"{name} {number}"):
                run = Run(**common, output_tokens=load.answer_tokens, **columns)
                err.print(run.model_dump_json(exclude_defaults=True), markup=False)
                yield run


def configured(running: LocalService, routing: Any) -> Any:
    from serving.routing.choice import routed

    config = running.config(autoscaling_config=None, num_replicas=2)
    engine = config.engine_kwargs | {"kv_cache_memory_bytes": KV_CACHE_BYTES}
    return routed(config.model_copy(update={"engine_kwargs": engine}), routing)


def one_phase(running: LocalService, load: Conversations, name: str) -> list[dict[str, Any]]:
    """The figures of all messages, and those of the later ones: no cache can have a conversation's first message.

    Raises:
        Failed: nothing was answered, or the engines exported no metrics.
    """
    before = counted(running)
    started = time.monotonic()
    with ThreadPoolExecutor(load.sessions) as pool:
        sessions = [f"{name} {session}" for session in range(load.sessions)]
        conversations = list(pool.map(lambda session: converse(running, load, session), sessions))
    seconds = time.monotonic() - started
    after = counted(running)
    hits, queries = (
        {key: after[what][key] - before[what].get(key, 0) for key in after[what]} for what in (HITS, QUERIES)
    )
    every = [turn for conversation in conversations for turn in conversation]
    later = [turn for conversation in conversations for turn in conversation[1:]]
    if not any(turn.times for turn in later) or not sum(queries.values()):
        raise Failed(
            f"Nothing was measured with {name}: {next((turn.error for turn in every if turn.error), 'no metrics')}"
        )
    share = queries[min(queries)] / sum(queries.values())
    return [
        {
            "workload": "conversations",
            **figures(every),
            "seconds": round(seconds, 1),
            "cache_hit_percent": round(100 * sum(hits.values()) / sum(queries.values()), 2),
            "notes": f"{share:.1%} of the prompt tokens went to the first replica",
        },
        {"workload": "conversations, later messages", **figures(later)},
    ]


def figures(turns: list[Timed]) -> dict[str, Any]:
    """The columns of a Run that tell how these messages were answered, at least one of them."""
    ttft = load_test.percentiles([turn.times[0] for turn in turns if turn.times])
    if ttft is None:
        raise Failed("None of these messages was answered.")
    return {
        "requests": len(turns),
        "failed": sum(bool(turn.error) for turn in turns),
        "ttft_ms_p50": round(1000 * ttft.p50, 1),
        "ttft_ms_p95": round(1000 * ttft.p95, 1),
    }


def counted(running: LocalService) -> dict[str, dict[str, float]]:
    time.sleep(EXPORTED_S)
    return running.metrics(HITS, QUERIES)


def converse(running: LocalService, load: Conversations, session: str) -> list[Timed]:
    """One conversation, message after message, with pauses; its words are its own."""
    chance = random.Random(session)
    connection = running.connect().with_options(default_headers={"x-session-id": session})
    model = next(iter(running.category.MODELS))
    messages, timed = [], []
    time.sleep(chance.uniform(0, load.think_s))
    for turn in range(load.turns):
        words = chance.choices(WORDS, k=load.words if turn else load.first_words)
        messages.append({"role": "user", "content": " ".join(words)})
        body = {"model": model, "messages": messages, "max_tokens": load.answer_tokens, "ignore_eos": True}
        timed.append(load_test.time_stream(connection, body | {"temperature": 0}))
        messages.append({"role": "assistant", "content": timed[-1].answer.content})
        time.sleep(chance.expovariate(1 / load.think_s))
    return timed


def summary(runs: list[Run]) -> dict[str, dict[str, float]]:
    """Means over the rounds, for each routing and workload."""
    groups: dict[str, list[Run]] = {}
    for run in runs:
        groups.setdefault(f"{run.stack}: {run.workload}", []).append(run)
    columns = ("ttft_ms_p50", "ttft_ms_p95", "cache_hit_percent")
    return {
        name: {
            column: round(statistics.mean(getattr(run, column) for run in group), 1)
            for column in columns
            if getattr(group[0], column) is not None
        }
        for name, group in groups.items()
    }


if __name__ == "__main__":
    cli.run("python -m ops.bench.routing", bench)
