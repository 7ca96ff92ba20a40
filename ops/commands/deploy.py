"""scripts/deploy: deploy a service to Anyscale, wait until it runs, and probe it."""

import json

from ops.check import before_deploy
from ops.cloud import service_state, version_spec
from ops.cloud.target import start_timeout_s, target_of
from ops.console import cli
from ops.console.cli import err, out
from ops.console.options import (
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
)
from ops.probing import service_key
from ops.project import catalogue
from ops.rollouts import deploy_plan, journal
from ops.rollouts.deployment import carry_out


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
    chosen = catalogue.find(service).with_options(settings, image_uri)
    target, timeout_s = target_of(chosen, name, cloud, project), start_timeout_s(chosen, start_timeout)
    new = version_spec.of_service(chosen, target)
    before_deploy.refuse_findings(chosen, force or [])
    service_key.check(new.arguments, new.environment)
    with journal.lock(target.name):
        running = service_state.find(target)
        plan = deploy_plan.make("deploy", chosen, new, running, timeout_s, steps=[100])
        (err if as_json else out).print(deploy_plan.text(plan, chosen, new, running), markup=False)
        cli.confirm("Deploy it?", yes)
        state = carry_out(chosen, new, plan)
    if as_json:
        print(json.dumps({"service": target.name, "version": new.version, "state": state.state, "url": state.url}))
    else:
        out.print(f"{new.version} runs on {state.url} and passed its probe.", markup=False)
        out.print(f"For its token: anyscale service status --name {target.name}", markup=False)


if __name__ == "__main__":
    cli.run("scripts/deploy", deploy)
