"""scripts/rollback: give a service's traffic back to the version before."""

import json

from ops.cloud import service_state, version_spec
from ops.cloud.target import start_timeout_s, target_of
from ops.console import cli
from ops.console.cli import CommandError, err, out
from ops.console.options import CloudOption, JsonOption, NameOption, ProjectOption, ServiceArgument, YesOption
from ops.project import catalogue
from ops.rollouts import deploy_plan, journal
from ops.rollouts.deployment import carry_out
from ops.rollouts.rollback import cancel, previous_of


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
            state = cancel(chosen, running, running.canary, target)
        else:
            old = version_spec.of_previous(previous_of(running), target)
            plan = deploy_plan.make("rollback", chosen, old, running, start_timeout_s(chosen, None), steps=[100])
            say.print(deploy_plan.text(plan, chosen, old, running), markup=False)
            cli.confirm("Deploy that version again?", yes)
            state = carry_out(chosen, old, plan)
    if as_json:
        print(json.dumps({"service": target.name, "version": state.primary.name, "state": state.state}))
    else:
        out.print(f"{state.primary.name} has all traffic of {target.name} and passed its probe.", markup=False)


if __name__ == "__main__":
    cli.run("scripts/rollback", rollback)
