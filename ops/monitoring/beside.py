"""What `scripts/dev --monitoring` runs beside the service: Prometheus, and Grafana where it is installed."""

import shutil
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from ops.monitoring import alerts, prometheus
from ops.project.catalogue import Service


@dataclass
class Watch:
    """Both of them, for one run; their data go with it."""

    processes: list[subprocess.Popen] = field(default_factory=list)
    folder: Path | None = None
    rules: str = ""
    """The rule file of the service's alerts."""
    where: str = ""
    """Their addresses, for the person who started the run."""

    def get_ready(self, service: Service, waiting_for: Callable[[str], None]) -> None:
        """Make the alerts, and fetch Prometheus where it is missing: before the engine takes minutes to start.

        Raises:
            CommandError: the SLO file of the service is missing or wrong, or Prometheus cannot be fetched.
        """
        self.rules = alerts.text(service)
        prometheus.get(waiting_for)

    def start(self) -> None:
        """Start them for the Ray nodes of this process's cluster.

        Raises:
            CommandError: Prometheus did not start.
        """
        self.folder = Path(tempfile.mkdtemp(prefix="llm-monitoring-"))
        targets, rules, tools = ray_targets(), self.folder / "alerts.yaml", prometheus.get()
        rules.write_text(self.rules)
        server, process = prometheus.start(targets, [rules], self.folder, tools)
        self.processes.append(process)
        lines = [f"Prometheus:    {server.url} asks {', '.join(targets)} every {prometheus.SCRAPE_INTERVAL}"]
        if not tools.has_pages:
            lines.append(
                "               It answers queries and has no pages: those come with apt-get install prometheus"
            )
        lines.append(f"Grafana:       {self.start_grafana(server.url, self.folder)}")
        self.where = "\n".join(lines)

    def start_grafana(self, prometheus_url: str, folder: Path) -> str:
        """Its address, or how to get it."""
        from ops.monitoring import grafana  # it imports half a second of Grafana's types, of use here only

        if not grafana.is_installed():
            return grafana.HOW_TO_GET_IT
        url, process = grafana.start(prometheus_url, folder)
        self.processes.append(process)
        return url

    def stop(self) -> None:
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
        if self.folder:
            shutil.rmtree(self.folder, ignore_errors=True)


def ray_targets() -> list[str]:
    """The addresses at which the Ray nodes of this process's cluster are scraped.

    Ray writes a file for Prometheus's own discovery where it has its dashboard, which a dev run does without.
    """
    import ray

    return [f"{node['NodeManagerAddress']}:{node['MetricsExportPort']}" for node in ray.nodes() if node["Alive"]]
