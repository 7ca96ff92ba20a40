"""scripts/monitoring: write the alert rules and the dashboard, which are made from the SLO files and ops/monitoring."""

from pathlib import Path

from ops.console import cli
from ops.console.cli import out
from ops.monitoring import alerts, dashboard
from ops.project import catalogue, slo
from ops.project.catalogue import ROOT


def monitoring() -> None:
    """Write alerts/SERVICE.yaml for each service, and docs/dashboard.json.

    Run it after a change of an SLO file. Example: scripts/monitoring
    """
    changed = [file for file, text in files().items() if write(file, text)]
    for file in changed:
        out.print(f"Wrote {file.relative_to(ROOT)}.")
    if not changed:
        out.print("All files are up to date.")


def files() -> dict[Path, str]:
    """What the files are to hold."""
    rules = {
        alerts.file_of(service.name): alerts.text(service, slo.load(service.slo_file))
        for service in catalogue.services()
    }
    return rules | {dashboard.FILE: dashboard.text()}


def write(file: Path, text: str) -> bool:
    """Whether the file was changed."""
    if file.is_file() and file.read_text() == text:
        return False
    file.parent.mkdir(exist_ok=True)
    file.write_text(text)
    return True


if __name__ == "__main__":
    cli.run("scripts/monitoring", monitoring)
