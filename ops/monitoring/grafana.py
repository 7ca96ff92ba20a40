"""Grafana on this machine, with the dashboard in it: started where it is installed."""

import os
import shutil
import subprocess
from pathlib import Path

import yaml

from ops.local import preflight
from ops.monitoring import dashboard

HOMES = ("/usr/share/grafana", "/opt/homebrew/opt/grafana/share/grafana")
HOW_TO_GET_IT = (
    "Grafana is not installed. Install it from grafana.com/grafana/download, so that grafana is on PATH, or import "
    f"{dashboard.FILE.relative_to(dashboard.ROOT)} into the one that you have."
)


def is_installed() -> bool:
    return shutil.which("grafana") is not None


def start(prometheus_url: str, folder: Path) -> tuple[str, subprocess.Popen]:
    """Start Grafana on 127.0.0.1 with Prometheus as its data source and the dashboard; no login, all in `folder`.

    Returns the address of the dashboard and the process.
    """
    provisioned, port = provision(prometheus_url, folder), preflight.free_port()
    environment = os.environ | {
        "GF_PATHS_DATA": str(folder / "grafana"),
        "GF_PATHS_LOGS": str(folder / "logs"),
        "GF_PATHS_PROVISIONING": str(provisioned),
        "GF_SERVER_HTTP_ADDR": "127.0.0.1",
        "GF_SERVER_HTTP_PORT": str(port),
        "GF_AUTH_ANONYMOUS_ENABLED": "true",
        "GF_AUTH_ANONYMOUS_ORG_ROLE": "Admin",
        "GF_ANALYTICS_REPORTING_ENABLED": "false",
        "GF_ANALYTICS_CHECK_FOR_UPDATES": "false",
    }
    home = next((home for home in HOMES if Path(home).is_dir()), None)
    command = ["grafana", "server", *(["--homepath", home] if home else [])]
    with (folder / "grafana.log").open("w") as output:
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
    return f"http://127.0.0.1:{port}/d/{dashboard.UID}", process


def provision(prometheus_url: str, folder: Path) -> Path:
    """The folder with what Grafana is to have from its start."""
    source = {
        "name": "Prometheus",
        "type": "prometheus",
        "uid": "prometheus",
        "access": "proxy",
        "url": prometheus_url,
        "isDefault": True,
        "jsonData": {"timeInterval": "5s"},
    }
    dashboards = folder / "dashboards"
    provider = {"name": "llm-services", "type": "file", "options": {"path": str(dashboards)}}
    provisioned = folder / "provisioning"
    for name, content in {"datasources": {"datasources": [source]}, "dashboards": {"providers": [provider]}}.items():
        (provisioned / name).mkdir(parents=True, exist_ok=True)
        (provisioned / name / "llm.yaml").write_text(yaml.safe_dump({"apiVersion": 1} | content))
    dashboards.mkdir(exist_ok=True)
    shutil.copy(dashboard.FILE, dashboards)
    return provisioned
