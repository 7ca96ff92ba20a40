"""Start a service on a Ray cluster of this process."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ops.console.cli import CommandError
from ops.console.progress import Progress
from ops.project.builder import import_application, served
from ops.project.catalogue import Service

if TYPE_CHECKING:  # slow to import
    from ray.serve.llm import LLMConfig

WHOLE = "pipeline"  # the layout of large-size-llm that has whole replicas, as all other services have


def start(
    service: Service, args: dict[str, Any], port: int, replicas: int | None, progress: Progress
) -> tuple[list[str], Path]:
    """Serve the service's application, built with `args`, on a Ray cluster of this process and wait until it runs.

    Returns the ids of its models and the folder of Ray's logs.
    """
    progress.waiting_for("Ray and vLLM to be imported")
    _, builder = import_application(service)
    from ops.local import serve_app

    typed, configs = served(service, args)
    if replicas:
        keep_at(replicas, configs, getattr(typed, "layout", WHOLE))
    progress.waiting_for("Ray to start")
    logs = serve_app.start_ray(args["profile"])
    progress.waiting_for("the application to be built")
    try:
        application = builder(typed)
    except Exception as error:
        raise CommandError(f"The application cannot be built. {type(error).__name__}: {error}") from error

    progress.waiting_for("Ray Serve to start")
    name = service.application["name"]
    serve_app.deploy(application, name, service.application["route_prefix"], port)
    serve_app.wait_until_running(name, logs, progress.waiting_for)
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
