"""Give a service's traffic back to the version before."""

from ops.cloud import mutations, waiting
from ops.cloud.service_state import ServiceState, Target, Version
from ops.cloud.target import start_timeout_s
from ops.cloud.version_spec import Previous
from ops.console.cli import CommandError, Failed
from ops.console.progress import Progress
from ops.project.catalogue import Service
from ops.rollouts import analysis, journal
from ops.rollouts.journal import ENDS, Entry, State


def cancel(service: Service, running: ServiceState, canary: Version, target: Target) -> ServiceState:
    """Cancel the rollout of `canary` that is under way, whoever began it; the service as it runs then.

    Raises:
        Failed: the primary does not have all traffic, or does not pass its probe.
    """
    log = next((log for log in journal.of(target.name) if log.plan.version == canary.name), None)
    log = log if log and log.last.state not in ENDS else None
    if log:
        log.write(Entry(state=State.ROLLING_BACK, why=["Cancelled with scripts/rollback."]))
    mutations.cancel_rollout(running.id)
    with Progress() as progress:
        timeout_s = start_timeout_s(service, None)
        state = waiting.for_primary(running.id, running.primary.name, progress, timeout_s)
        progress.waiting_for("the answers to its probe")
        failures = analysis.probe_failures(service, state, state.primary)
    if failures:
        raise Failed("\n".join([f"{state.primary.name} has all traffic and does not pass its probe.", *failures]))
    if log:
        log.write(Entry(state=State.ROLLED_BACK, why=["Cancelled with scripts/rollback."]))
    return state


def previous_of(running: ServiceState) -> Previous:
    """What ran before the version that runs now, from the journal of its deploy or rollout.

    Raises:
        CommandError: no journal knows.
    """
    log = next((log for log in journal.of(running.name) if log.plan.version == running.primary.name), None)
    if log is None:
        raise CommandError(
            f"What ran before {running.primary.name} is not known here: no journal in {journal.FOLDER / running.name} "
            "is of its deploy. Bring the journal here, or check out the older commit and deploy that."
        )
    if log.plan.previous is None:
        raise CommandError(f"{running.primary.name} is the first version of {running.name}: nothing ran before it.")
    return log.plan.previous
