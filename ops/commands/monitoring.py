"""scripts/monitoring: write the alert rules of services, which are made from their SLO files."""

from typing import Annotated

import typer

from ops.console import cli
from ops.console.cli import CommandError, out
from ops.monitoring import alerts
from ops.project import catalogue
from ops.project.catalogue import ROOT, Service

FOLDER = ROOT / "alerts"
"""Git ignores it: the files are made again from the SLO files whenever they are needed."""


def monitoring(
    services: Annotated[list[str] | None, typer.Argument(help="Such as small-size-llm; default: all.")] = None,
) -> None:
    """Write the alert rules of services, for Prometheus, to alerts/SERVICE.yaml.

    Exit status: 0 they are written, 2 an SLO file is missing or wrong, and nothing was written.

    Example: scripts/monitoring small-size-llm
    """
    chosen = [catalogue.find(name) for name in services] if services else catalogue.services()
    written = texts(chosen)
    FOLDER.mkdir(exist_ok=True)
    for service, text in written.items():
        file = FOLDER / f"{service.name}.yaml"
        file.write_text(text)
        out.print(f"Wrote {file.relative_to(ROOT)}.")
    out.print("Load them: rule_files in prometheus.yml, or import them into Grafana as docs/monitoring.md says.")


def texts(services: list[Service]) -> dict[Service, str]:
    """The rule file of each service.

    Raises:
        CommandError: there is no service, or an SLO file is missing or wrong; the message names each fault.
    """
    made, faults = {}, []
    for service in services:
        try:
            made[service] = alerts.text(service)
        except CommandError as error:
            faults.append(str(error))
    if faults or not services:
        raise CommandError("\n".join(faults) or "There is no service in services/. Make one: scripts/new")
    return made


if __name__ == "__main__":
    cli.run("scripts/monitoring", monitoring)
