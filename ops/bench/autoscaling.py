"""How long a service takes to follow its load: replicas up and down, with the time of each step.

A few clients, then as many as need more replicas, then a few again, then none and a request to no replica at all. The
delays of autoscaling are shorter than in production, or it would take half an hour; what a replica takes to start is
what it takes on this machine.
"""

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from pydantic import BaseModel, ConfigDict

from ops.bench import local_service, machine
from ops.bench.local_service import Local
from ops.bench.routing import FOLDER
from ops.console import cli
from ops.console.cli import Failed, err, out
from ops.probing import first_token, load_test

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Policy = Literal["requests", "engine"]  # as serving.autoscaling.Autoscaling, whose import would start Ray too early
DELAYS = dict(upscale_delay_s=5, downscale_delay_s=20, look_back_period_s=10, metrics_interval_s=2)
WAITING, RUNNING = "ray_vllm_num_requests_waiting", "ray_vllm_num_requests_running"
QUIET_CLIENTS, SEATS = 2, 8  # the laptop profile has max_num_seqs 8
QUIET_S = 20
ANSWER_TOKENS = 300
LONGEST_S = 600  # for each change; guess: an engine started in 17 to 52 s here, on a slower machine in 250


class Sample(BaseModel):
    """How things were at one moment."""

    model_config = ConfigDict(extra="forbid")

    after_s: float
    clients: int
    replicas: int
    """That answer."""
    starting: int
    waiting: float
    """Requests in the engines' queues; exported every 10 s, so up to that late."""


class Clients:
    """Asks one thing after the other, as many at a time as it is told to."""

    def __init__(self, running: Local) -> None:
        self.running, self.number = running, 0
        self.threads: list[threading.Thread] = []
        self.answers: list[tuple[float, load_test.Timed]] = []
        self.started = time.monotonic()

    def set(self, number: int) -> None:
        self.number = number
        for index in range(len(self.threads), number):
            self.threads.append(threading.Thread(target=self.ask, args=(index,), daemon=True))
            self.threads[-1].start()

    def ask(self, index: int) -> None:
        connection, model = self.running.connect(), next(iter(self.running.category.MODELS))
        while True:
            if index >= self.number:
                time.sleep(0.2)
                continue
            message = {"role": "user", "content": f"{index} {time.monotonic()}: what is the capital of France?"}
            body = {"model": model, "messages": [message], "max_tokens": ANSWER_TOKENS, "ignore_eos": True}
            timed = load_test.time_stream(connection, body)
            self.answers.append((time.monotonic() - self.started, timed))
            if timed.error:
                time.sleep(1)


def bench(
    replicas: Annotated[int, typer.Option(help="As many as the load is to bring about.", min=2)] = 3,
    autoscaling: Annotated[Policy, typer.Option(help="The policy.")] = "engine",
    service: Annotated[str, typer.Option(help="The service to measure.")] = "hybrid-reasoning-llm",
    folder: Annotated[Path, typer.Option(help="Where autoscaling.json and autoscaling.svg are written.")] = FOLDER,
) -> None:
    """Scale a service up and down on this machine, and time it.

    Example: .venv/bin/python -m ops.bench.autoscaling --replicas 2
    """
    with local_service.cluster(service) as running:
        result = measure(running, replicas, autoscaling)
    result = {"machine": machine.facts(), "service": service, "autoscaling": autoscaling, "delays": DELAYS} | result
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "autoscaling.json").write_text(json.dumps(result, indent=1) + "\n")
    draw(folder / "autoscaling.svg", result)
    out.print_json(data=result["events"])


def measure(running: Local, most: int, autoscaling: str) -> dict[str, Any]:
    from serving.autoscaling import scaled

    settings = dict(min_replicas=1, max_replicas=most, target_ongoing_requests=SEATS, **DELAYS)
    running.deploy(scaled(running.config(autoscaling_config=settings), autoscaling), keep_replicas=True)
    clients, samples, events = Clients(running), [], {}

    def watch(until: Any, most_s: float, what: str) -> None:
        """Take a sample every second until something is so; the event `what` is when it was."""
        started = time.monotonic()
        while True:
            states, queues = running.replicas(), running.metrics(WAITING)[WAITING]
            samples.append(
                Sample(
                    after_s=round(time.monotonic() - clients.started, 1),
                    clients=clients.number,
                    replicas=states.get("RUNNING", 0),
                    starting=states.get("STARTING", 0),
                    waiting=sum(queues.values()),
                )
            )
            if until(samples[-1]):
                events[what] = samples[-1].after_s
                err.print(f"{samples[-1].after_s:6.0f} s: {what}", markup=False)
                return
            if time.monotonic() - started > most_s:
                raise Failed(f"Waited {most_s:.0f} s for: {what}. The last sample: {samples[-1]}")
            time.sleep(1)

    def after(seconds: float) -> Any:
        deadline = time.monotonic() + seconds
        return lambda _: time.monotonic() > deadline

    clients.set(QUIET_CLIENTS)
    watch(after(QUIET_S), LONGEST_S, "the load begins")
    clients.set(SEATS * most)
    for number in range(2, most + 1):
        watch(lambda now, n=number: now.replicas + now.starting >= n, LONGEST_S, f"replica {number} is wanted")
    for number in range(2, most + 1):
        watch(lambda now, n=number: now.replicas >= n, LONGEST_S, f"replica {number} answers")
    watch(after(QUIET_S), LONGEST_S, "the load ends")
    clients.set(QUIET_CLIENTS)
    for number in range(most - 1, 0, -1):
        watch(lambda now, n=number: now.replicas <= n, LONGEST_S, f"{number} left")
    watch(after(QUIET_S), LONGEST_S, "nobody asks any more")
    clients.set(0)
    to_zero = scaled(running.config(autoscaling_config=settings | {"min_replicas": 0}), autoscaling)
    running.deploy(to_zero, keep_replicas=True)
    watch(lambda now: now.replicas == 0, LONGEST_S, "none left")
    watch(after(QUIET_S), LONGEST_S, "a request at zero")
    with ThreadPoolExecutor(1) as pool:
        asked = (running.url, None, to_zero.model_id, LONGEST_S, running.progress)
        awaited = pool.submit(first_token.wait_for_token, *asked)
        watch(lambda _: awaited.done(), LONGEST_S, "its first token")
        awaited.result()
    errors = [timed.error for _, timed in clients.answers if timed.error]
    first = [[round(at, 1), round(timed.times[0], 3)] for at, timed in clients.answers if timed.times]
    return {
        "replicas": most,
        "clients": {"quiet": QUIET_CLIENTS, "busy": SEATS * most},
        "events": events,
        "requests": len(clients.answers),
        "errors": len(errors),
        "first_error": errors[0] if errors else "",
        "ttft": first,
        "samples": [sample.model_dump() for sample in samples],
    }


def draw(file: Path, result: dict[str, Any]) -> None:
    from ops.bench import plots

    samples = result["samples"]
    times = [sample["after_s"] for sample in samples]

    def three(figure: "Figure") -> None:
        replicas, clients, ttft = figure.subplots(3, sharex=True)
        running = [sample["replicas"] for sample in samples]
        wanted = [sample["replicas"] + sample["starting"] for sample in samples]
        replicas.step(times, wanted, where="post", color=plots.SECOND, linestyle="--", label="with those that start")
        replicas.step(times, running, where="post", color=plots.FIRST, linewidth=2, label="that answer")
        replicas.set(ylabel="replicas", ylim=(0, result["replicas"] + 0.5), yticks=range(result["replicas"] + 1))
        replicas.legend(loc="lower center", ncols=2)
        clients.step(times, [sample["clients"] for sample in samples], where="post", color=plots.FIRST, label="clients")
        clients.step(
            times, [sample["waiting"] for sample in samples], where="post", color=plots.SECOND, label="waiting"
        )
        clients.set(ylabel="requests", ylim=(0, None))
        clients.legend(loc="upper right")
        ttft.plot(*zip(*result["ttft"], strict=True), ".", color=plots.FIRST, markersize=3)
        ttft.set(ylabel="TTFT in s", xlabel="seconds", ylim=(0, None))

    plots.save(file, (7.5, 6), three)


if __name__ == "__main__":
    cli.run("python -m ops.bench.autoscaling", bench)
