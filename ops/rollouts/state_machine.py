"""A rollout: a new version gets more and more of a service's traffic while it meets the SLO; else it is taken back.

What is about to be done is in the journal before it is done. So a rollout can be killed at any point: the next command
finds in the journal how far it was, and on Anyscale what came of the step that it was in.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ops.cloud import mutations, service_state, version_spec, waiting
from ops.cloud.mutations import NotDone
from ops.cloud.service_state import ServiceState, Target
from ops.console.cli import CommandError, Failed, err
from ops.console.progress import Progress
from ops.probing.measurement import Measurement, by_model
from ops.project import slo
from ops.project.catalogue import Service
from ops.rollouts import analysis, gate
from ops.rollouts.analysis import CANARY, PRIMARY
from ops.rollouts.journal import Entry, Journal, Plan, State

MOVE_TIMEOUT_S = 1800  # guess: on Google Cloud the load balancer alone takes minutes for a step


class Breach(Exception):
    """Why the new version must not have more traffic."""

    def __init__(self, why: list[str], readings: dict[str, Measurement] | None = None) -> None:
        super().__init__("\n".join(why))
        self.why = why
        self.readings = readings or {}


@dataclass
class Rollout:
    """One rollout, from wherever its journal says that it is."""

    service: Service
    journal: Journal
    plan: Plan
    slo: slo.Slo
    progress: Progress

    @property
    def target(self) -> Target:
        return Target(self.plan.name, self.plan.cloud, self.plan.project)

    def write(self, state: State, weight: int | None = None, **more: Any) -> None:
        self.journal.write(Entry(state=state, weight=weight, **more))

    def run(self) -> State:
        """Go on until its end: `finished` or `rolled back`.

        Raises:
            NotDone: Anyscale does not take the new version; nothing is changed.
            Failed: it could not go on. It can be resumed.
        """
        last = self.journal.last
        if last.state == State.ROLLING_BACK:
            return self.roll_back(last.why, last.readings)
        if last.state in (State.PLANNED, State.DEPLOYING):
            self.deploy()
        try:
            for weight in self.steps_left():
                self.move(weight)
                self.bake(weight)
                self.check(weight)
        except (Breach, waiting.NotReached) as reason:
            why = reason.why if isinstance(reason, Breach) else [str(reason)]
            return self.roll_back(why, getattr(reason, "readings", {}))
        self.write(State.FINISHED, weight=100)
        return State.FINISHED

    def state(self) -> ServiceState:
        """The service now.

        Raises:
            Failed: it is not there any more, or Anyscale cannot be asked.
        """
        try:
            found = service_state.find(self.target, waiting.OUTAGE_S)
        except CommandError as error:
            raise Failed(str(error)) from None
        if found is None:
            raise Failed(f"There is no service {self.target} any more.")
        return found

    def deploy(self) -> None:
        """Start the new version beside the primary, if that was not done before."""
        state = self.state()
        if state.version(self.plan.version):
            return
        if state.canary:
            raise CommandError(f"Another rollout of {self.plan.name} is under way: that of {state.canary.name}.")
        self.write(State.DEPLOYING, weight=self.plan.steps[0])
        try:
            file = self.journal.folder / version_spec.FILE
            mutations.deploy(version_spec.of_file(file, self.target), file, self.plan.steps[0])
        except NotDone as error:
            self.write(State.FAILED, why=[str(error)])
            raise

    def steps_left(self) -> list[int]:
        """The steps that it has not passed; none below what the new version has, so that it never loses traffic."""
        passed = max((entry.weight or 0 for entry in self.journal.entries() if entry.state == State.PASSED), default=0)
        state = self.state()
        has = state.canary.weight if state.canary else 100 if state.primary.name == self.plan.version else 0
        return [step for step in self.plan.steps if step > passed and step >= has]

    def move(self, weight: int) -> None:
        """Give the new version `weight` percent of the traffic, and wait until it has them and runs."""
        self.write(State.MOVING, weight)
        state = self.state()
        version = state.version(self.plan.version)
        if version is None or state.state == "ROLLING_BACK":
            raise Breach([f"Anyscale gave {self.plan.version} up. {waiting.checklist_in_words(state)}".strip()])
        starting = self.is_starting(state, weight)
        if version.weight < weight and not starting:
            self.change(lambda: mutations.move_weight(state, version, weight, self.plan.project))
        timeout_s = self.plan.start_timeout_s if starting else MOVE_TIMEOUT_S
        if weight < 100:
            waiting.for_canary(state.id, self.plan.version, weight, self.progress, timeout_s)
        else:
            waiting.for_primary(state.id, self.plan.version, self.progress, timeout_s)
            self.write(State.PROMOTED, weight)

    def is_starting(self, state: ServiceState, weight: int) -> bool:
        """Whether the canary gets this weight by itself once it runs: its deploy asked for that of the first step."""
        return weight == self.plan.steps[0] and state.canary is not None and state.canary.state != "RUNNING"

    def change(self, change: Callable[[], object]) -> None:
        try:
            change()
        except CommandError as error:
            raise Failed(str(error)) from None  # by now something was changed

    def bake(self, weight: int) -> None:
        """Leave it at this weight for a while, and see that it stays well."""
        self.write(State.BAKING, weight)
        until = time.monotonic() + self.plan.bake_s

        def stayed_well(state: ServiceState) -> bool:
            version = state.version(self.plan.version)
            return time.monotonic() >= until and version is not None and version.state == "RUNNING"

        waiting.until(
            self.state().id,
            stayed_well,
            waiting.LostVersion(self.plan.version),
            self.progress,
            timeout_s=self.plan.bake_s + waiting.OUTAGE_S,
            awaited=lambda _: f"{self.plan.bake_s:g} s at {weight}% to pass",
        )

    def check(self, weight: int) -> None:
        """Probe and measure it, beside the primary where there is one.

        Raises:
            Breach: it does not meet the SLO.
        """
        self.write(State.CHECKING, weight)
        state = self.state()
        self.progress.waiting_for(f"the answers to its probe at {weight}%")
        failures = analysis.probe_side_by_side(self.service, state)
        why = failures[CANARY if state.canary else PRIMARY]
        for failure in failures[PRIMARY] if state.canary else []:
            err.print(f"The primary does not pass either: {failure}", markup=False)
        self.progress.waiting_for(f"the answers to {self.slo.load.requests} requests at {weight}%")
        readings = analysis.measure(self.service, state, self.slo.load)
        if not state.canary:  # it is the primary now, with nothing beside it
            readings = {name.replace(PRIMARY, CANARY, 1): reading for name, reading in readings.items()}
        for model, of_model in by_model(readings).items():
            if CANARY in of_model:  # a model that only the primary still has is given up
                found = gate.breaches(self.slo, of_model[CANARY], of_model.get(PRIMARY))
                why += [f"{model}: {breach}" if model else breach for breach in found]
        if why:
            raise Breach(why, readings)
        self.write(State.PASSED, weight, readings=readings)
        err.print(f"{weight}%: passed.", markup=False)

    def roll_back(self, why: list[str], readings: dict[str, Measurement]) -> State:
        """Give all traffic back to the version before, wait until it has it, and probe it.

        Raises:
            Failed: that version does not come back as it was, or the service runs what this rollout knows nothing of.
        """
        for reason in why:
            err.print(f"Rolling back: {reason}", markup=False)
        self.write(State.ROLLING_BACK, why=why, readings=readings)
        state = self.state()
        self.check_nobody_elses(state)
        back = state.primary.name
        if back == self.plan.version:  # it was promoted, and the version before is gone
            back = self.name_again()
            if not state.canary:
                self.change(self.deploy_again)
        elif state.canary and state.state != "ROLLING_BACK":
            self.change(lambda: mutations.cancel_rollout(state.id))
        restored = waiting.for_primary(state.id, back, self.progress, max(MOVE_TIMEOUT_S, self.plan.start_timeout_s))
        self.progress.waiting_for(f"the answers of {back} to its probe")
        if failures := analysis.probe_failures(self.service, restored, restored.primary):
            failures.insert(0, f"{back} has all traffic again and does not pass its probe.")
            self.write(State.FAILED, why=failures)
            raise Failed("\n".join(failures))
        self.write(State.ROLLED_BACK, why=why)
        return State.ROLLED_BACK

    def began_to_roll_back(self) -> datetime:
        return next(entry.at for entry in self.journal.entries() if entry.state == State.ROLLING_BACK)

    def name_again(self) -> str:
        """What the version before is called once it is deployed again; the same where a rollback is resumed."""
        return version_spec.name_again(self.plan.goes_back_to.version, self.began_to_roll_back())

    def deploy_again(self) -> None:
        old = version_spec.of_previous(self.plan.goes_back_to, self.target, self.began_to_roll_back())
        mutations.deploy(old, old.write(self.journal.folder / "back"))

    def check_nobody_elses(self, state: ServiceState) -> None:
        """Raises Failed where the service runs a version that neither this rollout nor its rollback deployed."""
        known = {self.plan.version, self.plan.goes_back_to.version, self.name_again()}
        others = {version.name for version in (state.primary, state.canary) if version} - known
        if others:
            raise Failed(
                f"{self.plan.name} runs {', '.join(sorted(others))}, which was deployed by somebody else meanwhile. "
                "Nothing was changed."
            )
