"""scripts/rollout: move a service's traffic to a new version step by step, as long as it meets the SLO."""

import json
import sys
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Annotated

import typer

from ops.check import before_deploy
from ops.cloud import service_state, version_spec
from ops.cloud.service_state import ServiceState, Target
from ops.cloud.target import again, start_timeout_s, target_of
from ops.console import cli
from ops.console.cli import CommandError, err, out
from ops.console.durations import seconds
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
from ops.project import catalogue, slo
from ops.project.catalogue import ROOT, Service
from ops.rollouts import deploy_plan, journal
from ops.rollouts.journal import Journal, State
from ops.rollouts.rollout import begin, carry_out, unfinished


def rollout(
    service: ServiceArgument,
    steps: Annotated[str, typer.Option(help="Percent of the traffic, rising to 100.")] = "5,25,50,100",
    bake: Annotated[str, typer.Option(help="How long to stay at each step before it is judged.")] = "60s",
    slo_file: Annotated[Path | None, typer.Option("--slo", help="Default: the slo.yaml of the service.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a rollout that was interrupted.")] = False,
    abort: Annotated[bool, typer.Option("--abort", help="Take back a rollout that was interrupted.")] = False,
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
    """Roll a new version out behind the SLO. Exit status: 0 it has all traffic, 1 it has not, 2 nothing was changed.

    Example: scripts/rollout small-size-llm --steps 10,50,100 --bake 5min
    """
    if resume and abort:
        raise CommandError("--resume goes on with a rollout and --abort takes it back: give one of them.")
    chosen = catalogue.find(service).with_options(settings, image_uri)
    target = target_of(chosen, name, cloud, project)
    percents, bake_s, slo_file = read_steps(steps), seconds(bake), slo_file or chosen.slo_file
    slo.load(slo_file)
    timeout_s = start_timeout_s(chosen, start_timeout)
    with journal.lock(target.name):
        if resume or abort:
            log = unfinished(chosen, target)
            log.write(log.last.model_copy(update={"at": datetime.now(UTC), "resumed": True, "plan": None}))
        else:
            new = version_spec.of_service(chosen, target)
            before_deploy.refuse_findings(chosen, force or [])
            service_key.check(new.arguments, new.environment)
            running = running_service(chosen, target)
            shown = str(slo_file.relative_to(ROOT) if slo_file.is_relative_to(ROOT) else slo_file)
            plan = deploy_plan.make("rollout", chosen, new, running, timeout_s, percents, bake_s, shown)
            (err if as_json else out).print(deploy_plan.text(plan, chosen, new, running), markup=False)
            cli.confirm("Roll it out?", yes)
            log = begin(plan, new, slo_file)
        end = carry_out(chosen, log, abort)
    tell(log, end, as_json)
    sys.exit(0 if abort or end == State.FINISHED else cli.PROBLEMS)


def read_steps(text: str) -> list[int]:
    """Raises CommandError: they are not percents that rise to 100."""
    try:
        steps = [int(step.strip().removesuffix("%")) for step in text.split(",")]
    except ValueError:
        raise CommandError(f"{text} are not steps. Write percents of the traffic, such as 5,25,50,100.") from None
    rising = all(earlier < later for earlier, later in pairwise(steps))
    if not rising or steps[0] < 1 or steps[-1] != 100:
        raise CommandError(f"The steps {text} do not rise from at least 1 to 100. Write them like 5,25,50,100.")
    return steps


def running_service(service: Service, target: Target) -> ServiceState:
    """Raises CommandError: there is none that a new version could take traffic from."""
    running = service_state.find(target)
    if running is None or running.state == deploy_plan.GONE:
        raise CommandError(
            f"{target} does not run, so there is no traffic to move. First: {again('deploy', service, target)}"
        )
    return running


def tell(log: Journal, end: State, as_json: bool) -> None:
    plan, page = log.plan, log.folder / "report.html"
    if as_json:
        result = {"service": plan.name, "version": plan.version, "end": end, "why": log.last.why, "report": str(page)}
        print(json.dumps(result))
        return
    done = f"has all traffic of {plan.name}" if end == State.FINISHED else f"was taken back; {plan.name} is as before"
    out.print(f"{plan.version} {done}. What was measured: {page}", markup=False)


if __name__ == "__main__":
    cli.run("scripts/rollout", rollout)
