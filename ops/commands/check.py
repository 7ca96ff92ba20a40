"""scripts/check: find the mistakes in services before a cluster is paid for."""

import time
from typing import Annotated

import typer

from ops.check import run
from ops.check.finding import Finding
from ops.check.run import CheckResult
from ops.console import cli
from ops.console.cli import PROBLEMS, out
from ops.console.options import JsonOption
from ops.project import catalogue


def check(
    services: Annotated[list[str] | None, typer.Argument(help="Such as small-size-llm; default: all.")] = None,
    fast: Annotated[
        bool, typer.Option("--fast", help="Only what takes no import of Ray, vLLM or the Anyscale SDK: 3 s, not 20.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Find the mistakes in services before a cluster is paid for: no network, no GPU. Exit status: 0 none, 1 some.

    Example: scripts/check small-size-llm
    """
    begun = time.monotonic()
    chosen = [catalogue.find(name) for name in services] if services else catalogue.services()
    result = run.check(catalogue.ROOT, [service.folder for service in chosen], fast)
    if as_json:
        print(result.model_dump_json(indent=2))
    else:
        print_page(result, len(chosen), time.monotonic() - begun)
    if result.findings:
        raise typer.Exit(PROBLEMS)


def print_page(result: CheckResult, services: int, took_s: float) -> None:
    for finding in result.findings:
        print_finding(finding)
    out.print(
        f"{count(len(result.findings), 'finding') if result.findings else 'Nothing found'} in "
        f"{count(services, 'service')}, {took_s:.1f} s. Not checked:",
        markup=False,
    )
    for unknown in result.not_checked:
        out.print(f"- {f'{unknown.service}: ' if unknown.service else ''}{unknown.what}", markup=False)


def print_finding(finding: Finding) -> None:
    out.print(f"{finding.file}:{finding.line}", style="bold", end="  ", markup=False)
    out.print(finding.check, style="red", markup=False)
    out.print(f"  {finding.what}\n  Why: {finding.why}\n  Fix: {finding.fix}\n", markup=False)


def count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


if __name__ == "__main__":
    cli.run("scripts/check", check)
