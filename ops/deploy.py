"""scripts/deploy: deploy a service to Anyscale, wait until it runs, and probe it."""

import json

from ops import catalogue, changes, cli, deploy_plan, journal, live, release, service_key, service_state, waiting
from ops.catalogue import Service
from ops.check import before_deploy
from ops.cli import Failed, err, out
from ops.journal import Entry, Journal, Plan, State
from ops.options import (
    CloudOption,
    ForceOption,
    ImageOption,
    JsonOption,
    NameOption,
    ProjectOption,
    ServiceArgument,
    SetOption,
    StartTimeoutOption,
    YesOption,
    again,
    start_timeout_s,
    target_of,
)
from ops.progress import Progress
from ops.release import Release
from ops.service_state import ServiceState, Target


def deploy(
    service: ServiceArgument,
    name: NameOption = None,
    cloud: CloudOption = None,
    project: ProjectOption = None,
    settings: SetOption = None,
    image_uri: ImageOption = None,
    start_timeout: StartTimeoutOption = None,
    force: ForceOption = None,
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Deploy a service, wait until it runs, and probe it. Exit status: 0 it runs, 1 it does not, 2 nothing was changed.

    Example: scripts/deploy small-size-llm --cloud staging --set model=phi-4-mini
    """
    chosen = catalogue.find(service)
    target, timeout_s = target_of(chosen, name, cloud, project), start_timeout_s(chosen, start_timeout)
    new = release.of_service(chosen, target, settings or [], image_uri)
    before_deploy.refuse_findings(chosen, force or [])
    service_key.check(new.arguments)
    with journal.lock(target.name):
        running = service_state.find(target)
        plan = deploy_plan.make("deploy", chosen, new, running, timeout_s, steps=[100])
        (err if as_json else out).print(deploy_plan.text(plan, new, running), markup=False)
        cli.confirm("Deploy it?", yes)
        state = carry_out(chosen, new, plan)
    if as_json:
        print(json.dumps({"service": target.name, "version": new.version, "state": state.state, "url": state.url}))
    else:
        out.print(f"{new.version} runs on {state.url} and passed its probe.", markup=False)
        out.print(f"Its token is told by: anyscale service status --name {target.name}", markup=False)


def carry_out(service: Service, new: Release, plan: Plan) -> ServiceState:
    """Do what the plan says, and write the journal of it; returns the service as it runs then.

    Raises:
        CommandError: Anyscale does not take it; nothing is changed.
        Failed: the version does not run, or does not pass its probe.
    """
    log = journal.new(new.target.name)
    log.write(Entry(state=State.PLANNED, plan=plan))
    log.write(Entry(state=State.DEPLOYING))
    try:
        service_id = changes.deploy(new, new.write(log.folder))
    except changes.NotDone as error:
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
        if failures := live.probe_failures(service, state, state.primary):
            raise gave_up(log, service, failures)
    log.write(Entry(state=State.FINISHED, weight=100))
    return state


def gave_up(log: Journal, service: Service, why: list[str]) -> Failed:
    """Journals why a deploy failed; the error for whoever ran it, with what can be done."""
    log.write(Entry(state=State.FAILED, why=why))
    plan = log.plan
    target = Target(plan.name, plan.cloud, plan.project)
    back = (
        f"Go back to {plan.previous.version}: {again('rollback', service, target)}"
        if plan.previous
        else f"It is left as it is for you to look at, and costs. Terminate it: {again('terminate', service, target)}"
    )
    logs = f"Its logs: {again('logs', service, target)}"
    return Failed("\n".join([f"{plan.version} does not run as it should.", *why, logs, back]))


if __name__ == "__main__":
    cli.run("scripts/deploy", deploy)
