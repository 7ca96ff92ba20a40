"""scripts/rollout: move a service's traffic to a new version step by step, as long as it keeps to the SLO."""

import json
import sys
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Annotated

import typer

from ops import catalogue, cli, deploy_plan, journal, release, report, service_key, service_state, slo
from ops.canary import Rollout
from ops.catalogue import ROOT, Service
from ops.check import before_deploy
from ops.cli import CommandError, Failed, err, out
from ops.journal import ENDS, Entry, Journal, Plan, State
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
    seconds,
    start_timeout_s,
    target_of,
)
from ops.progress import Progress
from ops.release import Release
from ops.service_state import ServiceState, Target

SLO_FILE = "slo.yaml"


def rollout(
    service: ServiceArgument,
    steps: Annotated[str, typer.Option(help="Percent of the traffic, rising to 100.")] = "5,25,50,100",
    bake: Annotated[str, typer.Option(help="How long to stay at each step before it is judged.")] = "60s",
    slo_file: Annotated[Path | None, typer.Option("--slo", help="Default: observability/slo/SERVICE.yaml.")] = None,
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
    chosen = catalogue.find(service)
    target = target_of(chosen, name, cloud, project)
    percents, bake_s, slo_file = read_steps(steps), seconds(bake), slo_file or slo.file_of(chosen)
    slo.load(slo_file)
    timeout_s = start_timeout_s(chosen, start_timeout)
    with journal.lock(target.name):
        if resume or abort:
            log = unfinished(chosen, target)
            log.write(log.last.model_copy(update={"at": datetime.now(UTC), "resumed": True, "plan": None}))
        else:
            new = release.of_service(chosen, target, settings or [], image_uri)
            before_deploy.refuse_findings(chosen, force or [])
            service_key.check(new.arguments)
            running = running_service(chosen, target)
            shown = str(slo_file.relative_to(ROOT) if slo_file.is_relative_to(ROOT) else slo_file)
            plan = deploy_plan.make("rollout", chosen, new, running, timeout_s, percents, bake_s, shown)
            (err if as_json else out).print(deploy_plan.text(plan, new, running), markup=False)
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


def begin(plan: Plan, new: Release, slo_file: Path) -> Journal:
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
