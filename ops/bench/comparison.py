"""A service beside what it is compared with: each stack alone on the machine, in turn, round after round."""

import contextlib
import importlib.util
import io
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ops.bench import vllm_bench, workloads
from ops.bench.figures import Cell
from ops.bench.stacks import AtUrl, BareVllm, Stack
from ops.bench.vllm_bench import Loads
from ops.bench.workloads import WORKLOADS
from ops.console.cli import CommandError
from ops.console.options import given
from ops.console.progress import Progress
from ops.local import preflight
from ops.local.cluster_env import cluster_env
from ops.probing import first_token
from ops.project.builder import served
from ops.project.catalogue import ROOT, Service
from ops.project.new_service import shape_of

if TYPE_CHECKING:  # slow to import
    from ray.serve.llm import LLMConfig

FIRST_TOKEN_S = 600  # guess: the first request to a stack may compile kernels
SEEDS_APART = 1_000_000
"""The distance between the seeds of one load's processes, so that none sends the prompts of another, nor of another
round."""


@dataclass(frozen=True)
class BenchSettings:
    """What is measured of each stack."""

    service: Service
    config: "LLMConfig"
    """The configuration with which the service serves the model here."""
    profile: str
    workload: str
    concurrencies: list[int]
    replicas: int
    folder: Path

    @property
    def tokenizer(self) -> list[str]:
        mode = (self.config.engine_kwargs or {}).get("tokenizer_mode")
        words = [f"--tokenizer={source_of(self.config)}"]
        return [*words, *([f"--tokenizer-mode={mode}"] if mode else [])]

    def words(self, url: str, concurrency: int, seed: int) -> list[str]:
        load = workloads.words(self.workload, self.profile, concurrency, seed, self.folder)
        return vllm_bench.options(url, self.config.model_id, self.tokenizer, concurrency, load, seed)

    def runs(self, url: str, concurrency: int, seed: int) -> list[list[str]]:
        """The words of each process; the requests of a file are sent by one, in their order."""
        processes = self.replicas if self.workload in WORKLOADS else 1
        each = vllm_bench.shares(concurrency, processes)
        return [self.words(url, share, seed + SEEDS_APART * number) for number, share in enumerate(each)]


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


def source_of(config: "LLMConfig") -> str:
    """The folder or name that its weights are loaded from."""
    from serving.llm_config import loading_of  # imports Ray Serve LLM, and with it vLLM

    return str(loading_of(config).model_source)


def second_stack(asked: BenchSettings, against: str, replicas: int) -> Stack:
    if against != "vllm":
        return AtUrl(against, against)
    config, service = asked.config, asked.service
    variables = (config.runtime_env or {}).get("env_vars", {})
    return BareVllm(
        model=config.model_id,
        source=source_of(config),
        engine_kwargs=config.engine_kwargs,
        environment=os.environ | cluster_env(service.env_vars, ROOT) | variables,
        copies=replicas,
        folder=asked.folder,
    )


def measure(compared: list[Stack], asked: BenchSettings, rounds: int, loads: Loads, progress: Progress) -> list[Cell]:
    """Each stack alone on the machine, in turn: the one that is first is last in the next round."""
    cells = []
    for number in range(1, rounds + 1):
        for stack in compared if number % 2 else reversed(compared):
            progress.waiting_for(f"{stack.name} to start, round {number} of {rounds}")
            with stack.running() as url:
                cells += measure_one(stack, url, asked, number, loads, progress)
    return cells


def measure_one(
    stack: Stack, url: str, asked: BenchSettings, number: int, loads: Loads, progress: Progress
) -> list[Cell]:
    progress.waiting_for(f"the first token of {stack.name}")
    first_token.wait_for_token(url, stack.api_key, asked.config.model_id, FIRST_TOKEN_S, progress)
    cells = []
    for concurrency in asked.concurrencies:
        progress.waiting_for(f"{stack.name} at {concurrency}, round {number}")
        runs = asked.runs(url, concurrency, seed=1000 * number + concurrency)
        cells.append(vllm_bench.cell(loads.run(runs, stack.api_key), number, stack.name, concurrency))
    return cells
