"""Deploy one version whole, with a journal: the new version takes all traffic as soon as it runs."""

from ops.cloud import mutations, waiting
from ops.cloud.service_state import ServiceState, Target
from ops.cloud.target import again
from ops.cloud.version_spec import VersionSpec
from ops.console.cli import Failed
from ops.console.progress import Progress
from ops.project.catalogue import Service
from ops.rollouts import analysis, journal
from ops.rollouts.journal import Entry, Journal, Plan, State


def carry_out(service: Service, new: VersionSpec, plan: Plan) -> ServiceState:
    """Do what the plan says, and write the journal of it; returns the service as it runs then.

    Raises:
        CommandError: Anyscale does not take it; nothing is changed.
        Failed: the version does not run, or does not pass its probe.
    """
    log = journal.new(new.target.name)
    log.write(Entry(state=State.PLANNED, plan=plan))
    log.write(Entry(state=State.DEPLOYING))
    try:
        service_id = mutations.deploy(new, new.write(log.folder))
    except mutations.NotDone as error:
        log.write(Entry(state=State.FAILED, why=[str(error)]))
        raise
    with Progress() as progress:
        try:
            state = waiting.for_primary(service_id, new.version, progress, plan.start_timeout_s)
        except Failed as error:
            raise gave_up(log, service, [str(error)]) from None
        log.write(Entry(state=State.PROMOTED, weight=100))
        log.write(Entry(state=State.CHECKING, weight=100))
        progress.waiting_for("the answers to its probe")
        if failures := analysis.probe_failures(service, state, state.primary):
            raise gave_up(log, service, failures)
    log.write(Entry(state=State.FINISHED, weight=100))
    return state


def gave_up(log: Journal, service: Service, why: list[str]) -> Failed:
    """Journals why a deploy failed; the error for whoever ran it, with what can be done."""
    log.write(Entry(state=State.FAILED, why=why))
    plan = log.plan
    target = Target(plan.name, plan.cloud, plan.project)
    back = (
        f"Deploy one that works: {again('deploy', service, target)}"
        if plan.kind == "rollback"  # what ran before is what the rollback was to leave
        else f"Go back to {plan.previous.version}: {again('rollback', service, target)}"
        if plan.previous
        else f"It is left as it is for you to look at, and costs. Terminate it: {again('terminate', service, target)}"
    )
    logs = f"Its logs: {again('logs', service, target)}"
    return Failed("\n".join([f"{plan.version} does not run as it should.", *why, logs, back]))
