"""How long a service takes to follow its load: replicas up and down, with the time of each step.

A few clients, then as many as need more replicas, then a few again, then none and a request to no replica at all. The
delays of autoscaling are shorter than in production, or it would take half an hour; what a replica takes to start is
what it takes on this machine.
"""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import typer

from ops.bench import local_service, machine, tables
from ops.bench.local_service import LocalService
from ops.bench.tables import Run, Sample
from ops.console import cli
from ops.console.cli import Failed, err, out
from ops.probing import first_token, load_test

Policy = Literal["requests", "engine"]  # as serving.autoscaling.Autoscaling, whose import would start Ray too early
DELAYS = dict(upscale_delay_s=5, downscale_delay_s=20, look_back_period_s=10, metrics_interval_s=2)
WAITING = "ray_vllm_num_requests_waiting"
QUIET_CLIENTS, SEATS = 2, 8  # the laptop profile has max_num_seqs 8
QUIET_S = 20
ANSWER_TOKENS = 300
LONGEST_S = 600  # for each change; guess: an engine started in 17 to 52 s here, on a slower machine in 250


class Clients:
    """Asks one thing after the other, with as many requests at a time as `set` says."""

    def __init__(self, running: LocalService) -> None:
        self.running, self.number = running, 0
        self.threads: list[threading.Thread] = []
        self.answers: list[load_test.Timed] = []
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
            self.answers.append(timed)
            if timed.error:
                time.sleep(1)


class Sampler:
    """Takes a sample every second, and keeps all of them."""

    def __init__(self, clients: Clients) -> None:
        self.clients, self.samples, self.counted = clients, [], 0

    def until(self, reached: Callable[[Sample], bool], event: str) -> None:
        """Watch until a sample has reached something; that sample has the event's name.

        Raises:
            Failed: it took longer than LONGEST_S.
        """
        started = time.monotonic()
        while True:
            now = self.sample()
            self.samples.append(now)
            if reached(now):
                now.event = event
                err.print(f"{now.after_s:6.0f} s: {event}", markup=False)
                return
            if time.monotonic() - started > LONGEST_S:
                raise Failed(f"Waited {LONGEST_S} s for: {event}. The last sample: {now}")
            time.sleep(1)

    def for_quiet_time(self, event: str) -> None:
        deadline = time.monotonic() + QUIET_S
        self.until(lambda _: time.monotonic() > deadline, event)

    def sample(self) -> Sample:
        running = self.clients.running
        states, queues = running.replicas(), running.metrics(WAITING)[WAITING]
        answers = self.clients.answers[self.counted :]
        self.counted += len(answers)
        return Sample(
            after_s=round(time.monotonic() - self.clients.started, 1),
            clients=self.clients.number,
            replicas=states.get("RUNNING", 0),
            starting=states.get("STARTING", 0),
            waiting=sum(queues.values()),
            answers=len(answers),
            errors=sum(bool(timed.error) for timed in answers),
            slowest_ttft_s=max((round(timed.times[0], 3) for timed in answers if timed.times), default=None),
        )


def bench(
    replicas: Annotated[int, typer.Option(help="As many as the load is to bring about.", min=2)] = 3,
    autoscaling: Annotated[Policy, typer.Option(help="The policy.")] = "engine",
    service: Annotated[str, typer.Option(help="The service to measure.")] = "hybrid-reasoning-llm",
    folder: Annotated[Path | None, typer.Option(help="For the result; default: one in benchmarks/.")] = None,
) -> None:
    """Scale a service up and down on this machine, and time it.

    Example: .venv/bin/python -m ops.bench.autoscaling --replicas 2
    """
    with local_service.cluster(service) as running:
        run, samples = measure(running, replicas, autoscaling)
    from ops.bench import plots

    folder = local_service.result_folder("autoscaling", folder)
    tables.write(folder / "runs.csv", [run])
    tables.write(folder / "autoscaling.csv", samples)
    plots.draw_autoscaling(folder / "autoscaling.svg", samples)
    out.print_json(data={sample.event: sample.after_s for sample in samples if sample.event})
    err.print(f"In {folder}: runs.csv, autoscaling.csv, autoscaling.svg")


def measure(running: LocalService, most: int, autoscaling: Policy) -> tuple[Run, list[Sample]]:
    """What all requests came to, and the samples."""
    from serving.autoscaling import scaled

    settings = dict(min_replicas=1, max_replicas=most, target_ongoing_requests=SEATS, **DELAYS)
    config = scaled(running.config(autoscaling_config=settings), autoscaling)
    running.deploy(config, keep_replicas=True)
    clients = Clients(running)
    watch = Sampler(clients)
    clients.set(QUIET_CLIENTS)
    watch.for_quiet_time("the load begins")
    clients.set(SEATS * most)
    for number in range(2, most + 1):
        watch.until(lambda now, n=number: now.replicas + now.starting >= n, f"replica {number} is wanted")
    for number in range(2, most + 1):
        watch.until(lambda now, n=number: now.replicas >= n, f"replica {number} answers")
    watch.for_quiet_time("the load ends")
    clients.set(QUIET_CLIENTS)
    for number in range(most - 1, 0, -1):
        watch.until(lambda now, n=number: now.replicas <= n, f"{number} left")
    watch.for_quiet_time("nobody asks any more")
    clients.set(0)
    to_zero = scaled(running.config(autoscaling_config=settings | {"min_replicas": 0}), autoscaling)
    running.deploy(to_zero, keep_replicas=True)
    watch.until(lambda now: now.replicas == 0, "none left")
    watch.for_quiet_time("a request at zero")
    with ThreadPoolExecutor(1) as pool:
        asked = (running.url, None, to_zero.model_id, LONGEST_S, running.progress)
        awaited = pool.submit(first_token.wait_for_token, *asked)
        watch.until(lambda _: awaited.done(), "its first token")
        awaited.result()
    return summary(clients, config.model_id, most, autoscaling), watch.samples


def summary(clients: Clients, model: str, most: int, autoscaling: Policy) -> Run:
    errors = [timed.error for timed in clients.answers if timed.error]
    ttft = [1000 * timed.times[0] for timed in clients.answers if timed.times]
    p50, p95, p99 = (round(float(value), 1) for value in np.percentile(ttft or [0.0], (50, 95, 99)))
    return Run(
        experiment="autoscaling",
        **tables.machine_columns(machine.facts()),
        service=clients.running.name,
        model=model,
        stack=f"autoscaling: {autoscaling}",
        replicas=most,
        workload="clients come and go",
        output_tokens=ANSWER_TOKENS,
        concurrency=SEATS * most,
        load_processes=1,
        round=1,
        requests=len(clients.answers),
        failed=len(errors),
        ttft_ms_p50=p50,
        ttft_ms_p95=p95,
        ttft_ms_p99=p99,
        notes=f"The first error: {errors[0]}" if errors else "",
    )


if __name__ == "__main__":
    cli.run("python -m ops.bench.autoscaling", bench)
