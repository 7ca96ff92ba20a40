"""scripts/check: find the mistakes in services before a cluster is paid for."""

import json
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Annotated

import typer

from ops.check import registry, run
from ops.check.finding import Finding
from ops.check.registry import RULES, Rule
from ops.check.run import CheckResult
from ops.console import cli
from ops.console.cli import PROBLEMS, out
from ops.console.options import JsonOption
from ops.project import catalogue

STYLES = {"error": "red", "warning": "yellow"}


def check(
    services: Annotated[list[str] | None, typer.Argument(help="Such as small-size-llm; default: all.")] = None,
    fast: Annotated[
        bool, typer.Option("--fast", help="Only what takes no import of Ray, vLLM or the Anyscale SDK: 3 s, not 20.")
    ] = False,
    list_rules: Annotated[bool, typer.Option("--list", help="Print every rule instead.")] = False,
    explain: Annotated[
        str | None, typer.Option("--explain", help="Print what a rule means, why, and the fix instead.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Find the mistakes in services before a cluster is paid for: no network, no GPU.

    Exit status: 0 no errors, though there may be warnings; 1 errors; 2 it could not check.

    Example: scripts/check small-size-llm
    """
    if explain:
        print_rules([registry.find(explain)], as_json, print_rule)
    elif list_rules:
        print_rules(list(RULES.values()), as_json, print_line)
    else:
        check_services(services or [], fast, as_json)


def check_services(names: list[str], fast: bool, as_json: bool) -> None:
    begun = time.monotonic()
    chosen = [catalogue.find(name) for name in names] if names else catalogue.services()
    result = run.check(catalogue.ROOT, [service.files for service in chosen], fast)
    if as_json:
        print(result.model_dump_json(indent=2))
    else:
        print_page(result, len(chosen), time.monotonic() - begun)
    if result.errors:
        raise typer.Exit(PROBLEMS)


def print_page(result: CheckResult, services: int, took_s: float) -> None:
    for finding in result.findings:
        print_finding(finding)
    for silenced in result.silenced:
        finding = silenced.finding
        out.print(f"silenced: {finding.where}  {finding.check}: {silenced.reason}", markup=False)
    errors, warnings = count(len(result.errors), "error"), count(len(result.warnings), "warning")
    out.print(f"{errors}, {warnings} in {count(services, 'service')}, {took_s:.1f} s. Not checked:", markup=False)
    for unknown in result.not_checked:
        out.print(f"- {f'{unknown.service}: ' if unknown.service else ''}{unknown.what}", markup=False)


def print_finding(finding: Finding) -> None:
    out.print(finding.where, style="bold", end="  ", markup=False)
    out.print(f"{finding.severity}: {finding.check}", style=STYLES[finding.severity], markup=False)
    out.print(f"  {finding.what}\n  Why: {finding.why}\n  Fix: {finding.fix}\n", markup=False)


def count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def print_rules(rules: list[Rule], as_json: bool, print_one: Callable[[Rule], None]) -> None:
    if as_json:
        print(json.dumps([asdict(rule) for rule in rules], indent=2))
    else:
        for rule in rules:
            print_one(rule)


def print_line(rule: Rule) -> None:
    width = max(map(len, RULES))
    out.print(f"{rule.severity:7}  {rule.id:{width}}  {rule.fault}", markup=False)


def print_rule(rule: Rule) -> None:
    out.print(f"{rule.id}: {rule.severity}, about {rule.concern}", style="bold", markup=False)
    out.print(f"{rule.fault}.\nWhy: {rule.why}\nFix: {rule.fix}", markup=False)
    if rule.severity == "error":
        out.print(f"An error blocks scripts/deploy and scripts/rollout; --force {rule.id} deploys all the same.")
    out.print("An entry in services/check-ignore.yaml silences it for a place: docs/before-you-pay.md.", markup=False)


if __name__ == "__main__":
    cli.run("scripts/check", check)
