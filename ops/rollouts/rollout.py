"""A rollout from its journal to its end: begun, gone on with or taken back, and the report of it."""

from pathlib import Path

from ops.cloud.service_state import Target
from ops.cloud.target import again
from ops.cloud.version_spec import VersionSpec
from ops.console.cli import CommandError, Failed
from ops.console.progress import Progress
from ops.project import slo
from ops.project.catalogue import Service
from ops.rollouts import journal, report
from ops.rollouts.journal import ENDS, Entry, Journal, Plan, State
from ops.rollouts.state_machine import Rollout

SLO_FILE = "slo.yaml"


def begin(plan: Plan, new: VersionSpec, slo_file: Path) -> Journal:
    """The journal, with all beside it that going on with the rollout takes, on another machine too."""
    log = journal.new(plan.name)
    new.write(log.folder)
    (log.folder / SLO_FILE).write_text(slo_file.read_text())
    log.write(Entry(state=State.PLANNED, plan=plan))
    return log


def unfinished(service: Service, target: Target) -> Journal:
    """The journal of the last rollout of this service.

    Raises:
        CommandError: it is at its end, or there is none.
    """
    log = next((log for log in journal.of(target.name) if log.plan.kind == "rollout"), None)
    if log is None:
        raise CommandError(
            f"No rollout of {target.name} was begun from this checkout: {journal.FOLDER} has no journal."
        )
    if log.last.state in ENDS:
        raise CommandError(
            f"The last rollout of {target.name} is at its end: {log.last.state}. To go back to the version before: "
            f"{again('rollback', service, target)}"
        )
    return log


def carry_out(service: Service, log: Journal, abort: bool) -> State:
    """Bring the rollout of a journal to an end, and write the report of it.

    Raises:
        CommandError: Anyscale does not take the new version; nothing is changed.
        Failed: it stopped on the way.
    """
    plan = log.plan
    target = Target(plan.name, plan.cloud, plan.project)
    try:
        with Progress() as progress:
            rolling = Rollout(service, log, plan, slo.load(log.folder / SLO_FILE), progress)
            end = rolling.roll_back(["Aborted with scripts/rollout --abort."], {}) if abort else rolling.run()
    except (Failed, KeyboardInterrupt) as error:
        report.write(log)
        go_on, take_back = (again("rollout", service, target, option) for option in ("--resume", "--abort"))
        raise Failed(
            f"{str(error) or 'Interrupted.'}\nIt stopped while {log.last.state}, and the traffic is left as it is.\n"
            f"Go on: {go_on}\nTake it back: {take_back}"
        ) from None
    report.write(log)
    return end
