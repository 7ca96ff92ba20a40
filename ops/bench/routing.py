"""How often a prompt's beginning is in the KV cache, and how soon answers begin: fewest requests, session, prefix.

Conversations that grow, on two replicas of a service. The same two engines serve all three routings, in turn, so that
other load of the machine meets them alike.
"""

import json
import random
import statistics
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from pydantic import BaseModel, ConfigDict

from ops.bench import local_service, machine
from ops.bench.local_service import Local
from ops.bench.workloads import WORDS
from ops.console import cli
from ops.console.cli import Failed, err, out
from ops.probing import load_test
from ops.probing.load_test import Timed
from ops.probing.measurement import Percentiles
from ops.project.catalogue import ROOT

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FOLDER = ROOT / "docs" / "performance"
ROUTINGS = {"fewest requests": None, "session": "session", "prefix": "prefix"}
HITS, QUERIES = "ray_vllm_prefix_cache_hits_total", "ray_vllm_prefix_cache_queries_total"
EXPORTED_S = 15  # Ray's agent exports metrics every 10 s
KV_CACHE_BYTES = 256 * 2**20  # 5,800 tokens of SmolLM2 in float32: half of the conversations below fit, not all


class Workload(BaseModel):
    model_config = ConfigDict(extra="forbid")

    sessions: int = 8
    turns: int = 5
    first_words: int = 500
    """Of a conversation's first message, such as a document that is talked about."""
    words: int = 100
    """Of each message after it."""
    answer_tokens: int = 16
    think_s: float = 1.5
    """Mean pause of a user between an answer and the next message."""


class Phase(BaseModel):
    """What one routing came to in one round."""

    model_config = ConfigDict(extra="forbid")

    routing: str
    round: int
    requests: int
    errors: int
    hit_rate: float
    """Prompt tokens that were in the KV cache, of all prompt tokens."""
    share_of_first_replica: float
    """Of the prompt tokens."""
    ttft: Percentiles
    ttft_of_later_turns: Percentiles
    """Without the first message of each conversation, which no cache can have."""
    seconds: float


def bench(
    rounds: Annotated[int, typer.Option(help="How often each routing has its turn.", min=1)] = 2,
    sessions: Annotated[int, typer.Option(help="Conversations at a time.", min=1)] = Workload().sessions,
    turns: Annotated[int, typer.Option(help="Messages of each conversation.", min=2)] = Workload().turns,
    service: Annotated[str, typer.Option(help="The service to measure.")] = "small-size-llm",
    folder: Annotated[Path, typer.Option(help="Where routing.json and routing.svg are written.")] = FOLDER,
) -> None:
    """Compare the routings on two replicas on this machine.

    Example: .venv/bin/python -m ops.bench.routing --rounds 2
    """
    workload = Workload(sessions=sessions, turns=turns)
    with local_service.cluster(service, RAY_SERVE_INGRESS_REQUEST_ROUTER_FORWARD_BODY="1") as running:
        phases = list(measure(running, workload, rounds))
    result = {
        "machine": machine.facts(),
        "service": service,
        "replicas": 2,
        "kv_cache_bytes": KV_CACHE_BYTES,
        "workload": workload.model_dump(),
        "phases": [phase.model_dump() for phase in phases],
        "summary": summary(phases),
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "routing.json").write_text(json.dumps(result, indent=1) + "\n")
    draw(folder / "routing.svg", result["summary"])
    out.print_json(data=result["summary"])


def measure(running: Local, workload: Workload, rounds: int) -> Iterator[Phase]:
    """Each routing's phase of each round, in an order that turns round."""
    for number in range(rounds):
        order = list(ROUTINGS) if number % 2 == 0 else list(reversed(ROUTINGS))
        for name in order:
            running.deploy(configured(running, ROUTINGS[name]), keep_replicas=True)
            phase = one_phase(running, workload, name, number)
            err.print(phase.model_dump_json(), markup=False)
            yield phase


def configured(running: Local, routing: Any) -> Any:
    from serving.routing.choice import routed

    config = running.config(autoscaling_config=None, num_replicas=2)
    engine = config.engine_kwargs | {"kv_cache_memory_bytes": KV_CACHE_BYTES}
    return routed(config.model_copy(update={"engine_kwargs": engine}), routing)


def one_phase(running: Local, workload: Workload, name: str, number: int) -> Phase:
    before = counted(running)
    started = time.monotonic()
    with ThreadPoolExecutor(workload.sessions) as pool:
        conversations = [
            pool.submit(converse, running, workload, f"{name} {number} {session}")
            for session in range(workload.sessions)
        ]
        timed = [conversation.result() for conversation in conversations]
    seconds = time.monotonic() - started
    after = counted(running)
    hits, queries = (
        {key: after[what][key] - before[what].get(key, 0) for key in after[what]} for what in (HITS, QUERIES)
    )
    every = [turn for conversation in timed for turn in conversation]
    answered = [turn.times[0] for turn in every if turn.times]
    later = [turn.times[0] for conversation in timed for turn in conversation[1:] if turn.times]
    ttft, ttft_of_later_turns = load_test.percentiles(answered), load_test.percentiles(later)
    if not ttft or not ttft_of_later_turns or not sum(queries.values()):
        raise Failed(
            f"Nothing was measured with {name}: {next((turn.error for turn in every if turn.error), 'no metrics')}"
        )
    return Phase(
        routing=name,
        round=number,
        requests=len(every),
        errors=sum(bool(turn.error) for turn in every),
        hit_rate=round(sum(hits.values()) / sum(queries.values()), 4),
        share_of_first_replica=round(queries[min(queries)] / sum(queries.values()), 3),
        ttft=ttft,
        ttft_of_later_turns=ttft_of_later_turns,
        seconds=round(seconds, 1),
    )


def counted(running: Local) -> dict[str, dict[str, float]]:
    time.sleep(EXPORTED_S)
    return running.metrics(HITS, QUERIES)


def converse(running: Local, workload: Workload, session: str) -> list[Timed]:
    """One conversation, message after message, with pauses; its words are its own."""
    chance = random.Random(session)
    connection = running.connect().with_options(default_headers={"x-session-id": session})
    model = next(iter(running.category.MODELS))
    messages, timed = [], []
    time.sleep(chance.uniform(0, workload.think_s))
    for turn in range(workload.turns):
        words = chance.choices(WORDS, k=workload.words if turn else workload.first_words)
        messages.append({"role": "user", "content": " ".join(words)})
        body = {"model": model, "messages": messages, "max_tokens": workload.answer_tokens, "ignore_eos": True}
        timed.append(load_test.time_stream(connection, body | {"temperature": 0}))
        messages.append({"role": "assistant", "content": timed[-1].answer.content})
        time.sleep(chance.expovariate(1 / workload.think_s))
    return timed


def summary(phases: list[Phase]) -> dict[str, Any]:
    """The mean of each routing's rounds, and how it compares with the fewest requests."""
    found: dict[str, Any] = {}
    for name in ROUTINGS:
        own = [phase for phase in phases if phase.routing == name]
        found[name] = {
            "hit_rate": round(statistics.mean(phase.hit_rate for phase in own), 3),
            "ttft_p50_s": round(statistics.mean(phase.ttft.p50 for phase in own), 3),
            "ttft_p95_s": round(statistics.mean(phase.ttft.p95 for phase in own), 3),
            "later_ttft_p50_s": round(statistics.mean(phase.ttft_of_later_turns.p50 for phase in own), 3),
            "later_ttft_p95_s": round(statistics.mean(phase.ttft_of_later_turns.p95 for phase in own), 3),
            "errors": sum(phase.errors for phase in own),
        }
    for name in ("session", "prefix"):
        for key in ("ttft_p50_s", "ttft_p95_s", "later_ttft_p50_s", "later_ttft_p95_s"):
            ratio = found[name][key] / found["fewest requests"][key]
            found[name][key.replace("_s", "_to_fewest_requests")] = round(ratio, 2)
    return found


def draw(file: Path, compared: dict[str, Any]) -> None:
    from ops.bench import plots

    def both(figure: "Figure") -> None:
        rates, times = figure.subplots(1, 2)
        names = list(compared)
        rates.bar(names, [100 * compared[name]["hit_rate"] for name in names], color=plots.FIRST, width=0.6)
        rates.set(title="prompt tokens from the cache", ylabel="%", ylim=(0, 100))
        places = range(len(names))
        for offset, key, color in ((-0.2, "ttft_p50_s", plots.FIRST), (0.2, "ttft_p95_s", plots.SECOND)):
            values = [compared[name][key] for name in names]
            times.bar([place + offset for place in places], values, width=0.36, color=color, label=key[5:8])
        times.set_xticks(list(places), names)
        times.set(title="time to first token", ylabel="seconds")
        times.legend()

    plots.save(file, (7.5, 3.2), both)


if __name__ == "__main__":
    cli.run("python -m ops.bench.routing", bench)
