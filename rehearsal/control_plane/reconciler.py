"""The state machine: moves what is there towards what is wanted, a little at each tick.

The API only records wishes: a new version, a weight, a rollback, a goal state. What happens to them is all here.
"""

from datetime import datetime, timedelta

from rehearsal.control_plane.control_plane import ControlPlane
from rehearsal.control_plane.records import RehearsedService, RehearsedVersion, RolloutWish, now

TICK_S = 0.2
AUTOMATIC_STEPS = (5, 25, 50, 100)
STEP_EVERY = timedelta(seconds=1)  # minutes on Anyscale; a rehearsal need not take them
SETTLE = timedelta(seconds=1)  # guess: a request that was on its way through the front door is counted by then
DRAIN_LIMIT = timedelta(seconds=600)  # as service.yaml's RAY_SERVE_HAPROXY_HARD_STOP_AFTER_S


class Reconciler:
    """Works on the services of one control plane."""

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane

    def tick(self) -> None:
        for service in self._plane.services.values():
            if service.state != "TERMINATED":
                self._reconcile(service)

    def _reconcile(self, service: RehearsedService) -> None:
        for version in service.active:
            self._observe(service, version)
        if service.goal_state == "TERMINATED":
            self._terminate(service)
            return
        if service.canary and service.rollout and not service.rolls_back:
            self._roll_out(service, service.canary, service.rollout)
        if service.canary and service.rolls_back:
            roll_back(service, service.canary)
        for version in service.versions:
            if version.leaving_since and version.state != "TERMINATED":
                self._stop_when_drained(service, version, version.leaving_since)

    def _observe(self, service: RehearsedService, version: RehearsedVersion) -> None:
        """Take over what the version's process reports; the first time that it runs it gets its place."""
        if version.leaving_since:
            return
        report = version.process.report()
        version.message = report.message
        if version.state == "STARTING" and report.state == "RUNNING":
            if self._plane.faults.never_healthy:
                version.message = "waiting for the rehearsal's fault never_healthy to be taken away"
                return
            service.front_door.add(version.id, version.process.port)
            version.state = "RUNNING"
            route(service)
        else:
            version.state = report.state

    def _roll_out(self, service: RehearsedService, canary: RehearsedVersion, rollout: RolloutWish) -> None:
        if canary.state == "STARTING":
            return
        unhealthy_at = self._plane.faults.unhealthy_at
        if unhealthy_at is not None and canary.weight >= unhealthy_at:
            canary.state = "UNHEALTHY"
            canary.message = f"The rehearsal's fault unhealthy_at={unhealthy_at} made it unhealthy."
        if canary.state == "UNHEALTHY":
            service.rolls_back = True
        elif canary.weight == 100:
            promote(service, canary)
        elif canary.weight != (weight := next_weight(canary.weight, rollout)):
            canary.weight, service.primary.weight = weight, 100 - weight
            route(service)

    def _stop_when_drained(self, service: RehearsedService, version: RehearsedVersion, leaving_since: datetime) -> None:
        since = now() - leaving_since
        traffic = service.front_door.traffic().get(version.id)
        drained = since > SETTLE and (traffic is None or traffic.open_sessions == 0)
        if (drained or since > DRAIN_LIMIT) and self._plane.processes.stop(version.process):
            if traffic:
                service.front_door.retire(version.id)
            version.state = "TERMINATED"

    def _terminate(self, service: RehearsedService) -> None:
        """Stop all versions at once: a service that is terminated does not wait for its streams."""
        for version in service.versions:
            if version.state != "TERMINATED":
                stopped = self._plane.processes.stop(version.process)
                version.state = "TERMINATED" if stopped else "TERMINATING"
        if service.state == "TERMINATED":
            service.front_door.close()


def next_weight(weight: int, rollout: RolloutWish) -> int:
    """The canary's weight from now on; notes when it took an automatic step."""
    if rollout.percent is not None:
        return rollout.percent
    if now() - rollout.last_step < STEP_EVERY:
        return weight
    rollout.last_step = now()
    return next(step for step in AUTOMATIC_STEPS if step > weight)


def route(service: RehearsedService) -> None:
    """Tell the front door the weights; a version that starts or leaves is not named there."""
    served = [version for version in service.active if version.state != "STARTING" and not version.leaving_since]
    primary = service.primary.id if service.primary in served else None
    canary = service.canary if service.canary in served else None
    service.front_door.route(primary, canary.id if canary else None, canary.weight if canary else 0)


def promote(service: RehearsedService, canary: RehearsedVersion) -> None:
    """The canary becomes the primary; the old one leaves as soon as its streams have ended."""
    former = service.primary
    service.primary, service.canary, service.rollout = canary, None, None
    route(service)
    leave(former)
    service.former.insert(0, former)


def roll_back(service: RehearsedService, canary: RehearsedVersion) -> None:
    """All new requests go to the primary; the canary leaves as soon as its streams have ended."""
    if canary.leaving_since is None:
        service.primary.weight = 100
        leave(canary)
        route(service)
    elif canary.state == "TERMINATED":
        service.former.insert(0, canary)
        service.canary, service.rollout, service.rolls_back = None, None, False


def leave(version: RehearsedVersion) -> None:
    version.weight = 0
    version.leaving_since = now()
    if version.state != "UNHEALTHY":
        version.state = "TERMINATING"
