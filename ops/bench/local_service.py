"""A service of this repository on a Ray cluster of its own, on this machine, to be measured."""

import datetime
import os
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
from openai import OpenAI
from prometheus_client.parser import text_string_to_metric_families

from ops.console.progress import Progress
from ops.local import preflight
from ops.local.cluster_env import cluster_env
from ops.local.readiness import wait_for_token
from ops.probing import client
from ops.project.builder import import_application
from ops.project.catalogue import ROOT, find
from ops.project.new_service import shape_of

RESULTS = ROOT / "benchmarks"
TIMEOUT_S = 300  # of one request: two replicas share two cores


def result_folder(name: str, chosen: Path | None = None) -> Path:
    """Make the folder of a benchmark's results: the one that was chosen, or benchmarks/NAME-DATE-TIME."""
    folder = chosen or RESULTS / f"{name}-{datetime.datetime.now(datetime.UTC):%Y%m%d-%H%M%S}"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@dataclass
class LocalService:
    """A cluster that runs, and the service that is to be measured on it."""

    category: ModuleType
    """The service's serve.py."""
    laptop_model: str
    name: str
    port: int
    logs: Path
    progress: Progress

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def config(self, **deployment: Any) -> Any:
        """The service's first model on the laptop profile, with these fields of `deployment_config`; None: left out."""
        from laptop.profile import laptop_profile
        from serving.llm_server import LLMServer

        config = next(iter(self.category.MODELS.values()))
        changed = {key: value for key, value in (config.deployment_config | deployment).items() if value is not None}
        config = config.model_copy(update={"deployment_config": changed, "server_cls": LLMServer})
        return laptop_profile(config, self.laptop_model)

    def deploy(self, config: Any, keep_replicas: bool = False) -> None:
        """Deploy one model and wait for a token.

        Args:
            keep_replicas: of the model, where this is not the first deploy: only what routes requests starts anew.
        """
        from ops.local import serve_app
        from serving.app import ServiceArgs, application

        app = application({"llm_configs": [config]}, ServiceArgs())
        if keep_replicas:
            # Serve starts replicas anew when the version of their code changes, by default at each deploy.
            app._bound_deployment = app._bound_deployment.options(version="same", _internal=True)
        serve_app.deploy(app, self.name, "/", self.port)
        serve_app.wait_until_running(self.name, self.logs, self.progress.waiting_for)
        wait_for_token(self.url, config.model_id, self.progress)

    def connect(self) -> OpenAI:
        return client.connect(self.url, None, TIMEOUT_S)

    def replicas(self) -> dict[str, int]:
        """How many replicas of the model there are in each state, such as RUNNING and STARTING."""
        from ray import serve

        deployments = serve.status().applications[self.name].deployments
        (model,) = [one for name, one in deployments.items() if name.startswith("LLMServer")]
        return {str(getattr(state, "value", state)): count for state, count in model.replica_states.items()}

    def metrics(self, *names: str) -> dict[str, dict[str, float]]:
        """Metrics of vLLM by name and replica, from the agent of the Ray node, which exports them every 10 s."""
        import ray

        (node,) = ray.nodes()
        agent = f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics"
        text = httpx.get(agent, trust_env=False).text
        found: dict[str, dict[str, float]] = {name: {} for name in names}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if sample.name in found:
                    found[sample.name][sample.labels["ReplicaId"]] = sample.value
        return found


@contextmanager
def cluster(service_name: str, **variables: str) -> Generator[LocalService]:
    """Start Ray with the environment of a service and these variables; import nothing of Ray before."""
    service = find(service_name)
    preflight.check_memory()
    os.environ.update(cluster_env(service.env_vars, ROOT) | variables)
    os.environ.pop("RAY_ADDRESS", None)
    with Progress() as progress:
        progress.waiting_for("Ray and vLLM to be imported")
        category, _ = import_application(service)
        from ops.local import serve_app

        progress.waiting_for("Ray to start")
        logs = serve_app.start_ray("laptop")
        laptop_model = shape_of(service).laptop_model
        try:
            yield LocalService(category, laptop_model, service.name, preflight.free_port(), logs, progress)
        finally:
            serve_app.stop_ray()
