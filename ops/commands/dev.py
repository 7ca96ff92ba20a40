"""scripts/dev: serve one category on this machine, as `serve run` does, until Ctrl-C."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from laptop.cache import CACHE
from ops.console import cli
from ops.console.cli import CommandError, err, out
from ops.console.options import SetOption, given
from ops.console.progress import Progress
from ops.local import dev_runs, preflight
from ops.local.cluster_env import cluster_env
from ops.local.profile_choice import choose_profile
from ops.local.readiness import print_ready, wait_for_token
from ops.local.start import start
from ops.local.stopping import stop_on_signals, stop_ray, wait_until_stopped
from ops.monitoring import beside
from ops.probing import service_key
from ops.project.catalogue import ROOT, Service, find

if TYPE_CHECKING:  # slow to import
    pass


@dataclass(frozen=True)
class DevOptions:
    """What the command line asks for."""

    service: Service
    model: str | None
    port: int
    settings: list[str]
    profile: str
    replicas: int | None
    monitoring: bool

    @property
    def words(self) -> list[str]:
        """The command line again."""
        words = [self.service.name, "--port", str(self.port), "--profile", self.profile]
        words += ["--model", self.model] if self.model else []
        words += [word for setting in self.settings for word in ("--set", setting)]
        words += ["--replicas", str(self.replicas)] if self.replicas else []
        return [*words, *(["--monitoring"] if self.monitoring else [])]

    @property
    def args(self) -> dict[str, Any]:
        """The application's arguments: those of service.yaml, and what the command line says instead of them."""
        from_file = self.service.application.get("args", {})
        return from_file | given(self.model, self.settings) | {"profile": self.profile}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


def dev(
    service: Annotated[str | None, typer.Argument(help="The service to run, such as small-size-llm.")] = None,
    model: Annotated[
        str | None, typer.Option(help="One of the service's models; default: the one in service.yaml.")
    ] = None,
    port: Annotated[int, typer.Option(help="The port to serve on, on 127.0.0.1.", min=1, max=65535)] = 8000,
    settings: SetOption = None,
    profile: Annotated[
        Literal["auto", "laptop", "gpu"], typer.Option(help="auto: gpu where there is an NVIDIA GPU, else laptop.")
    ] = "auto",
    detach: Annotated[bool, typer.Option("--detach", help="Return when it is ready, and leave it running.")] = False,
    replicas: Annotated[
        int | None, typer.Option(help="As many of each model, always; default: those of serve.py.", min=1)
    ] = None,
    monitoring: Annotated[
        bool, typer.Option("--monitoring", help="Start Prometheus beside it, and Grafana where it is installed.")
    ] = False,
    stop: Annotated[bool, typer.Option("--stop", help="Stop every dev run of this user.")] = False,
) -> None:
    """Serve one category on this machine and wait until it has generated a token.

    Example: scripts/dev small-size-llm --model phi-4-mini --port 8001
    """
    if stop:
        stop_runs()
        return
    if service is None:
        raise CommandError("Name a service, such as: scripts/dev small-size-llm")
    chosen = find(service)
    preflight.check_port(port)
    asked = DevOptions(chosen, model, port, settings or [], choose_profile(profile), replicas, monitoring)
    if detach:
        sys.exit(run_detached(asked))
    run_here(asked)


def stop_runs() -> None:
    runs = dev_runs.running()
    if not runs:
        out.print("Nothing to stop: no dev run of this user is there.")
    for run in runs:
        if not dev_runs.stop(run):
            raise CommandError(f"{run.service} (process {run.pid}) did not stop in a minute: kill -9 {run.pid}")
        out.print(f"Stopped {run.service} on {run.url}.")


def run_detached(asked: DevOptions) -> int:
    """Run the same command in the background, show what it prints until it is ready; its exit status if it fails."""
    dev_runs.FOLDER.mkdir(parents=True, exist_ok=True)
    log = dev_runs.FOLDER / f"{asked.service.name}-{asked.port}.log"
    words = [sys.executable, "-m", "ops.commands.dev", *asked.words]
    with log.open("w") as output:
        child = subprocess.Popen(words, cwd=ROOT, stdout=output, stderr=output, start_new_session=True)
    try:
        with log.open() as printed:
            while True:
                ended, run = child.poll(), dev_runs.find(child.pid)
                sys.stdout.write(printed.read())
                sys.stdout.flush()
                if ended is not None:
                    return ended
                if run and run.ready:
                    out.print(f"It runs in the background and prints to {log}. Stop it with: scripts/dev --stop")
                    return 0
                time.sleep(0.3)
    except KeyboardInterrupt:
        child.send_signal(signal.SIGINT)
        return child.wait()


def run_here(asked: DevOptions) -> None:
    service, args, url = asked.service, asked.args, asked.url
    service_key.check(args)
    if asked.profile == "laptop":
        preflight.check_memory(preflight.engines(service) * (asked.replicas or 1))
        preflight.check_disk(CACHE, Path(tempfile.gettempdir()))
    os.environ.update(cluster_env(service.env_vars, ROOT))
    os.environ.pop("RAY_ADDRESS", None)  # a cluster of its own, whichever others are there
    run = dev_runs.this_run(service.name, url)
    run.save()
    watch = beside.Watch()
    try:
        stop_on_signals()
        with Progress() as progress:
            if asked.monitoring:
                watch.get_ready(service, progress.waiting_for)
            models, logs = start(service, args, asked.port, asked.replicas, progress)
            for model_id in models:
                wait_for_token(url, model_id, progress)
            if asked.monitoring:
                watch.start()
        print_ready(service, url, models, args, progress.seconds(), logs)
        if asked.monitoring:
            out.print(watch.where, markup=False)
        run.model_copy(update={"ready": True}).save()
        wait_until_stopped()
    except KeyboardInterrupt:
        err.print("Stopping ...")
    finally:
        watch.stop()
        stop_ray()
        run.forget()
    err.print("Stopped.")


if __name__ == "__main__":
    cli.run("scripts/dev", dev)
