"""No deploy of what has errors, unless each is named: a mistake costs nothing here, and minutes of GPUs there."""

from collections.abc import Collection

from ops.check import registry, run
from ops.check.finding import Finding
from ops.console.cli import CommandError, err
from ops.project.catalogue import Service


def refuse_findings(service: Service, forced: Collection[str]) -> None:
    """Check a service as it is to be deployed, and print what is found.

    Args:
        forced: ids of the rules whose errors do not stop the deploy.

    Raises:
        CommandError: there are errors of other rules, or one of those ids does not exist.
    """
    for rule in forced:
        registry.find(rule)
    result = run.check(service.files.root, [service.files])
    for finding in result.findings:
        err.print(line(finding, finding.check in forced), markup=False)
    for silenced in result.silenced:
        err.print(f"silenced: {silenced.finding.check} at {silenced.finding.where}: {silenced.reason}", markup=False)
    standing = sorted({finding.check for finding in result.errors} - set(forced))
    if standing:
        raise CommandError(
            f"{service.name} has errors; nothing was changed. Fix them (scripts/check {service.name}), or deploy "
            f"it all the same: {' '.join(f'--force {check}' for check in standing)}"
        )


def line(finding: Finding, forced: bool) -> str:
    return f"{finding.where}  {finding.severity} {finding.check}{' (forced)' if forced else ''}: {finding.what}"
