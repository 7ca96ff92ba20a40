"""scripts/probe: send a service the requests of its probe.yaml and check the answers."""

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from ops.console import cli
from ops.console.cli import out
from ops.probing import client
from ops.probing.probe import TIMEOUT_S, CheckOutcome, check_all, check_reachable
from ops.project import catalogue, probe_file


def probe(
    service: Annotated[str, typer.Argument(help="A service such as small-size-llm, or the path of a probe.yaml.")],
    url: Annotated[str, typer.Option(help="Where it runs.")] = "http://127.0.0.1:8000",
    api_key: Annotated[str | None, typer.Option(help="Sent as bearer token; Anyscale services want one.")] = None,
    model: Annotated[
        str | None,
        typer.Option(help="The model id to ask; default: that of service.yaml, else the probe's own."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the results as JSON.")] = False,
) -> None:
    """Check a running service. Exit status: 0 all true, 1 something is not, 2 it could not be asked.

    Example: scripts/probe small-size-llm --url http://127.0.0.1:8001
    """
    if service.endswith(".yaml"):
        probe = probe_file.load(Path(service))
    else:
        chosen = catalogue.find(service)
        probe = probe_file.load(chosen.probe_file)
        probe.model = chosen.files.arguments.get("model") or probe.model
    probe.model = model or probe.model
    connection = client.connect(url, api_key, TIMEOUT_S)
    check_reachable(connection)
    results = check_all(connection, probe)
    if as_json:
        print(json.dumps({"url": url, "model": probe.model, "results": [asdict(result) for result in results]}))
    else:
        print_results(results)
    sys.exit(1 if any(result.failures for result in results) else 0)


def print_results(results: list[CheckOutcome]) -> None:
    for result in results:
        mark = "[red]FAIL[/red]" if result.failures else "[green]ok  [/green]"
        out.print(f"{mark} {result.check} ({result.seconds:.2f} s)")
        for failure in result.failures:
            out.print(f"     {failure}", markup=False)
    failed = sum(bool(result.failures) for result in results)
    out.print(f"{len(results) - failed} of {len(results)} checks passed.")


if __name__ == "__main__":
    cli.run("scripts/probe", probe)
