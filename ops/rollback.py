"""scripts/rollback: give a service's traffic back to the version before."""

import json

from ops import catalogue, changes, cli, deploy_plan, journal, live, release, service_state, waiting
from ops.catalogue import Service
from ops.cli import CommandError, Failed, err, out
from ops.deploy import carry_out
from ops.journal import ENDS, Entry, Previous, State
from ops.options import (
    CloudOption,
    JsonOption,
    NameOption,
    ProjectOption,
    ServiceArgument,
    YesOption,
    start_timeout_s,
    target_of,
)
from ops.progress import Progress
from ops.service_state import ServiceState, Target


def rollback(
    service: ServiceArgument,
    name: NameOption = None,
    cloud: CloudOption = None,
    project: ProjectOption = None,
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Cancel the rollout that is under way; where there is none, deploy the version before again.

    Exit status: 0 the version before has all traffic and passed its probe, 1 it has not, 2 nothing was changed.

    Example: scripts/rollback small-size-llm --yes
    """
    chosen = catalogue.find(service)
    target = target_of(chosen, name, cloud, project)
    say = err if as_json else out
    with journal.lock(target.name):
        running = service_state.find(target)
        if running is None or running.state == deploy_plan.GONE:
            raise CommandError(f"{target} does not run, so there is nothing to go back from.")
        if running.canary:
            say.print(f"{running.canary.name} has {running.canary.weight}% of {target}.", markup=False)
            cli.confirm(f"Give all traffic back to {running.primary.name}?", yes)
            state = cancel(chosen, running, target)
        else:
            old = release.of_previous(previous_of(running), target)
            plan = deploy_plan.make("rollback", chosen, old, running, start_timeout_s(chosen, None), steps=[100])
            say.print(deploy_plan.text(plan, old, running), markup=False)
            cli.confirm("Deploy that version again?", yes)
            state = carry_out(chosen, old, plan)
    if as_json:
        print(json.dumps({"service": target.name, "version": state.primary.name, "state": state.state}))
    else:
        out.print(f"{state.primary.name} has all traffic of {target.name} and passed its probe.", markup=False)


def cancel(service: Service, running: ServiceState, target: Target) -> ServiceState:
    """Cancel the rollout that is under way, whoever began it; the service as it runs then.

    Raises:
        Failed: the primary does not have all traffic, or does not pass its probe.
    """
    log = next((log for log in journal.of(target.name) if log.plan.version == running.canary.name), None)
    log = log if log and log.last.state not in ENDS else None
    if log:
        log.write(Entry(state=State.ROLLING_BACK, why=["Cancelled with scripts/rollback."]))
    changes.cancel_rollout(running.id)
    with Progress() as progress:
        timeout_s = start_timeout_s(service, None)
        state = waiting.for_primary(running.id, running.primary.name, progress, timeout_s)
        progress.waiting_for("the answers to its probe")
        failures = live.probe_failures(service, state, state.primary)
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


if __name__ == "__main__":
    cli.run("scripts/rollback", rollback)
