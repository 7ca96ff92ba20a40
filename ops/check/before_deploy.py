"""No deploy of what has findings, unless each is named: a mistake costs nothing here, and minutes of GPUs there."""

from collections.abc import Collection

from ops.check import run
from ops.check.finding import Finding
from ops.console.cli import CommandError, err
from ops.project.catalogue import ROOT, Service


def refuse_findings(service: Service, forced: Collection[str]) -> None:
    """Check a service, and print what is found.

    Args:
        forced: kinds of findings to deploy in spite of.

    Raises:
        CommandError: there are others than those.
    """
    findings = run.check(ROOT, [service.folder]).findings
    for finding in findings:
        err.print(line(finding, finding.check in forced), markup=False)
    standing = sorted({finding.check for finding in findings} - set(forced))
    if standing:
        raise CommandError(
            f"{service.name} has findings; nothing was changed. Mend them (scripts/check {service.name}), or deploy "
            f"it all the same: {' '.join(f'--force {check}' for check in standing)}"
        )


def line(finding: Finding, forced: bool) -> str:
    return f"{finding.file}:{finding.line}  {finding.check}{' (forced)' if forced else ''}: {finding.what}"
