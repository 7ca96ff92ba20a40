"""scripts/bench: how fast a service answers, beside bare vLLM or another server, with `vllm bench serve`."""

import contextlib
import datetime
import importlib.util
import io
import os
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.table import Table

from ops.bench import figures, html_report, machine, vllm_bench, workloads
from ops.bench.figures import BenchResult, Cell
from ops.bench.stacks import AtUrl, BareVllm, DevService, Stack
from ops.bench.vllm_bench import Loads
from ops.bench.workloads import WORKLOADS
from ops.console import cli
from ops.console.cli import CommandError, Failed, err, out
from ops.console.options import SetOption, given
from ops.console.progress import Progress
from ops.local import preflight
from ops.local.cluster_env import cluster_env
from ops.local.profile_choice import choose_profile
from ops.probing import first_token
from ops.project import catalogue
from ops.project.builder import served
from ops.project.catalogue import ROOT, Service
from ops.project.new_service import shape_of

if TYPE_CHECKING:  # slow to import
    from ray.serve.llm import LLMConfig

FOLDER = ROOT / "benchmarks"
FIRST_TOKEN_S = 600  # guess: the first request to a stack may compile kernels
CONCURRENCY = {"laptop": "1,16", "gpu": "1,32,256"}
"""A stand-in's batch on a laptop has 8 seats; at 256 most requests would only wait."""
SEEDS_APART = 1_000_000
"""Of the processes of one load, so that none sends the prompts of another, nor of another round."""


@dataclass(frozen=True)
class Asked:
    """What is measured of each stack."""

    service: Service
    config: "LLMConfig"
    """As the service serves the model here."""
    profile: str
    workload: str
    concurrencies: list[int]
    replicas: int
    folder: Path

    @property
    def tokenizer(self) -> list[str]:
        mode = (self.config.engine_kwargs or {}).get("tokenizer_mode")
        words = [f"--tokenizer={self.config.model_loading_config.model_source}"]
        return [*words, *([f"--tokenizer-mode={mode}"] if mode else [])]

    def words(self, url: str, concurrency: int, seed: int) -> list[str]:
        load = workloads.words(self.workload, self.profile, concurrency, seed, self.folder)
        return vllm_bench.options(url, self.config.model_id, self.tokenizer, concurrency, load, seed)

    def runs(self, url: str, concurrency: int, seed: int) -> list[list[str]]:
        """The words of each process; the requests of a file are sent by one, in their order."""
        processes = self.replicas if self.workload in WORKLOADS else 1
        each = vllm_bench.shares(concurrency, processes)
        return [self.words(url, share, seed + SEEDS_APART * number) for number, share in enumerate(each)]


def bench(
    service: Annotated[str, typer.Argument(help="A service such as small-size-llm.")],
    url: Annotated[
        str | None, typer.Option(help="Where it runs already; default: it is started here for each round.")
    ] = None,
    against: Annotated[
        str | None, typer.Option(help="vllm: bare vLLM with its engine arguments; or the URL of another server.")
    ] = None,
    workload: Annotated[str, typer.Option(help=f"{', '.join(WORKLOADS)}, or a .jsonl file of requests.")] = "chat",
    concurrency: Annotated[
        str | None, typer.Option(help="Requests at a time, such as 1,32,256; on a laptop 1,16, unless said.")
    ] = None,
    rounds: Annotated[int, typer.Option(help="How often each is measured, in turn.", min=1)] = 3,
    replicas: Annotated[int, typer.Option(help="Of the service, and of vllm serve behind vllm-router.", min=1)] = 1,
    model: Annotated[str | None, typer.Option(help="One of the service's models.")] = None,
    settings: SetOption = None,
    profile: Annotated[
        Literal["auto", "laptop", "gpu"], typer.Option(help="Of the service; auto: gpu where there is an NVIDIA GPU.")
    ] = "auto",
    api_key: Annotated[str | None, typer.Option(help="Sent to --url as bearer token; Anyscale wants one.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON; all else goes to stderr.")] = False,
    html: Annotated[bool, typer.Option("--html", help="Make a page of it, with plots.")] = False,
) -> None:
    """Measure a service, in turn with what it is compared with. Exit status 1: requests failed.

    Example: scripts/bench small-size-llm --against vllm --workload long --html
    """
    chosen, profile = catalogue.find(service), choose_profile(profile)
    concurrencies = numbers(concurrency or CONCURRENCY[profile])
    workloads.check(workload)
    check_against(against, replicas)
    folder = FOLDER / f"{chosen.name}-{datetime.datetime.now(datetime.UTC):%Y%m%d-%H%M%S}"
    at = AtUrl(chosen.name, url, api_key) if url else None
    options = [word for setting in settings or [] for word in ("--set", setting)]
    options += [*(["--model", model] if model else []), "--replicas", str(replicas)]
    with Progress() as progress:
        progress.waiting_for("Ray and vLLM to be imported")
        config = served_here(chosen, profile, settings or [], model)
        folder.mkdir(parents=True)
        asked = Asked(chosen, config, profile, workload, concurrencies, replicas, folder)
        compared = [at or DevService(chosen, ["--profile", profile, *options])]
        compared += [second_stack(asked, against, replicas)] if against else []
        with vllm_bench.loads(replicas, folder / "vllm-bench.log") as loads:
            cells = measure(compared, asked, rounds, loads, progress)
    result = BenchResult(
        service=chosen.name,
        model=config.model_id,
        workload=workload,
        profile=profile,
        replicas=replicas,
        machine=machine.facts(),
        stacks={stack.name: stack.what for stack in compared},
        load=shlex.join(["vllm", "bench", "serve", *asked.words("URL", concurrencies[0], seed=0)]),
        cells=cells,
    )
    (folder / "result.json").write_text(result.model_dump_json(indent=1) + "\n")
    if html:
        (folder / "report.html").write_text(html_report.html(result), encoding="utf-8")
    show(result, folder, html, as_json)


def numbers(text: str) -> list[int]:
    """Raises CommandError: they are no numbers of requests."""
    try:
        found = sorted({int(word) for word in text.split(",")})
    except ValueError:
        found = [0]
    if found[0] < 1:
        raise CommandError(f"--concurrency {text} are no numbers of requests at a time. Write them so: 1,32,256")
    return found


def check_against(against: str | None, replicas: int) -> None:
    """Raises CommandError: it is nothing that can be measured."""
    if against not in (None, "vllm") and not against.startswith(("http://", "https://")):
        raise CommandError(f"--against {against} is neither vllm nor a URL, such as http://127.0.0.1:8001.")
    if against == "vllm" and replicas > 1 and not importlib.util.find_spec("vllm_router"):
        raise CommandError(
            "Several vllm serve need vllm-router before them, which is not there: "
            ".venv/bin/python -m pip install vllm-router"
        )


def served_here(service: Service, profile: str, settings: list[str], model: str | None) -> "LLMConfig":
    """The model that is measured, as the service serves it with this profile.

    Raises:
        CommandError: the service serves several at once, or there is no such model or argument.
    """
    if preflight.engines(service) > 1:
        raise CommandError(f"{service.name} serves several models at once, and a benchmark is of one engine.")
    _, (config,) = served(service, service.application.get("args", {}) | given(model, settings) | {"profile": profile})
    if profile == "laptop":
        from laptop.profile import laptop_profile

        with contextlib.redirect_stderr(io.StringIO()):  # scripts/dev prints the changes too
            config = laptop_profile(config, shape_of(service).laptop_model)
    return config


def second_stack(asked: Asked, against: str, replicas: int) -> Stack:
    if against != "vllm":
        return AtUrl(against, against)
    config, service = asked.config, asked.service
    variables = (config.runtime_env or {}).get("env_vars", {})
    return BareVllm(
        model=config.model_id,
        source=config.model_loading_config.model_source,
        engine_kwargs=config.engine_kwargs,
        environment=os.environ | cluster_env(service.env_vars, ROOT) | variables,
        copies=replicas,
        folder=asked.folder,
    )


def measure(compared: list[Stack], asked: Asked, rounds: int, loads: Loads, progress: Progress) -> list[Cell]:
    """Each stack alone on the machine, in turn: the one that is first is last in the next round."""
    cells = []
    for number in range(1, rounds + 1):
        for stack in compared if number % 2 else reversed(compared):
            progress.waiting_for(f"{stack.name} to start, round {number} of {rounds}")
            with stack.running() as url:
                cells += measure_one(stack, url, asked, number, loads, progress)
    return cells


def measure_one(stack: Stack, url: str, asked: Asked, number: int, loads: Loads, progress: Progress) -> list[Cell]:
    progress.waiting_for(f"the first token of {stack.name}")
    first_token.wait_for_token(url, stack.api_key, asked.config.model_id, FIRST_TOKEN_S, progress)
    cells = []
    for concurrency in asked.concurrencies:
        progress.waiting_for(f"{stack.name} at {concurrency}, round {number}")
        runs = asked.runs(url, concurrency, seed=1000 * number + concurrency)
        cells.append(vllm_bench.cell(loads.run(runs, stack.api_key), number, stack.name, concurrency))
    return cells


def show(result: BenchResult, folder: Path, html: bool, as_json: bool) -> None:
    """Raises Failed: requests failed, so the other figures say little."""
    if as_json:
        print(result.model_dump_json(indent=1))
    else:
        table = Table(title=html_report.heading(result), title_justify="left")
        for name in figures.columns(result):
            table.add_column(name, overflow="fold")  # a number that is cut off is a wrong one
        for row in figures.rows(result):
            table.add_row(*row)
        out.print(table)
    (out if not as_json else err).print(f"In {folder}: result.json{', report.html' if html else ''}")
    if failed := result.failed:
        worst = max(failed, key=lambda cell: cell.failed)
        raise Failed(
            f"{sum(cell.failed for cell in failed)} requests failed; of {worst.stack} at {worst.concurrency} at a time "
            f"{worst.failed} of {worst.requests}. The first: {worst.first_error}"
        )


if __name__ == "__main__":
    try:
        cli.run("scripts/bench", bench)
    except SystemExit as ended:
        sys.stdout.flush()
        os._exit(ended.code or 0)  # at Python's own end Triton, which vLLM imports, tells at length what it leaks
