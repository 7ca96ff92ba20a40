"""What is asked of the control plane: each method checks a wish and records it; `reconciler.py` does the rest."""

import secrets
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from ops.local import preflight
from rehearsal.control_plane.faults import Faults
from rehearsal.control_plane.front_door import FrontDoor
from rehearsal.control_plane.images import Images
from rehearsal.control_plane.packages import Packages
from rehearsal.control_plane.records import ComputeConfig, RehearsedService, RehearsedVersion, RolloutWish, new_id
from rehearsal.control_plane.version_process import VersionProcesses

CLOUDS = {"cld_rehearsal": "rehearsal", "cld_other": "other"}
DEFAULT_CLOUD = "cld_rehearsal"
PROJECTS = ("default", "other")


class RefusedError(Exception):
    """Why a wish is not taken, in a sentence."""


class Access(BaseModel):
    use_bearer_token: bool = True


class Config(BaseModel):
    access: Access = Access()
    env_vars: dict[str, str] | None = None


class Apply(BaseModel):
    """The body of an apply, as far as the rehearsal uses it."""

    name: str
    project_id: str
    ray_serve_config: dict[str, Any]
    build_id: str
    compute_config_id: str
    version: str | None = None
    canary_percent: int | None = None
    rollout_strategy: str | None = None
    config: Config | None = None
    tracing_config: dict[str, Any] | None = None


class ControlPlane:
    """All that is stored, and the wishes."""

    def __init__(self, folder: Path, reuse: bool) -> None:
        self.packages = Packages(folder)
        self.processes = VersionProcesses(folder, reuse)
        self.images = Images()
        self.faults = Faults()
        self.services: dict[str, RehearsedService] = {}
        self.compute_configs: dict[str, ComputeConfig] = {}
        for cloud_id in CLOUDS:
            self.add_compute_config("default", {"cloud_id": cloud_id, "auto_select_worker_config": True}, False)

    def add_compute_config(self, name: str | None, config: dict[str, Any], anonymous: bool) -> ComputeConfig:
        added = ComputeConfig(name or new_id("anonymous"), config, anonymous)
        self.compute_configs[added.id] = added
        return added

    def apply(self, wish: Apply) -> RehearsedService:
        """Start a service or one that was terminated, roll a new version out, or move the weight of the canary.

        Raises:
            RefusedError: it is not possible, or a rehearsal does not do it.
        """
        if wish.rollout_strategy not in (None, "ROLLOUT"):
            raise RefusedError(f"The rehearsal does not do {wish.rollout_strategy} updates, only rollouts.")
        service = self._find(wish.name, wish.project_id)
        if service is None or service.state == "TERMINATED":
            return self._start(wish, service)
        if service.state in ("TERMINATING", "ROLLING_BACK"):
            raise RefusedError(f"Service {service.name} is {service.state}. Wait until that is done.")
        if service.canary is None and wish.version == service.primary.name and runs_the_same(service.primary, wish):
            return service  # guess: sent again because its first reply was lost
        if service.canary is None:
            service.canary = self._new_version(wish, weight=0)
        elif not is_same(service.canary, wish):
            raise RefusedError(
                f"Version {service.canary.name} of {service.name} is being rolled out, and the rehearsal does not "
                "replace it. Finish that rollout or roll it back first."
            )
        service.rollout = RolloutWish(wish.canary_percent)
        return service

    def roll_back(self, service: RehearsedService) -> None:
        """End the rollout with all traffic on the primary.

        Raises:
            RefusedError: the service is not in a rollout.
        """
        if service.canary is None or service.rolls_back:
            raise RefusedError("Service is not in a rollout.")
        service.rolls_back = True

    def terminate(self, service: RehearsedService) -> None:
        service.goal_state = "TERMINATED"
        service.rolls_back, service.rollout = False, None
        if service.canary:
            service.former.insert(0, service.canary)
            service.canary = None

    def close(self) -> None:
        """Stop every version and every front door."""
        self.processes.stop_all()
        for service in self.services.values():
            if service.state != "TERMINATED":
                service.front_door.close()

    def _find(self, name: str, project_id: str) -> RehearsedService | None:
        found = (each for each in self.services.values() if (each.name, each.project_id) == (name, project_id))
        return next(found, None)

    def _start(self, wish: Apply, terminated: RehearsedService | None) -> RehearsedService:
        """A new service, or a terminated one with its id and address."""
        version = self._new_version(wish, weight=100)
        wants_token = wish.config is None or wish.config.access.use_bearer_token
        port = terminated.port if terminated else preflight.free_port()
        token = secrets.token_urlsafe(16) if wants_token else None
        service = RehearsedService(
            name=wish.name,
            project_id=wish.project_id,
            cloud_id=self.compute_configs[wish.compute_config_id].config["cloud_id"],
            port=port,
            auth_token=token,
            primary=version,
            front_door=FrontDoor(port, token),
        )
        if terminated:
            service.id, service.created_at, service.former = terminated.id, terminated.created_at, terminated.versions
        self.services[service.id] = service
        return service

    def _new_version(self, wish: Apply, weight: int) -> RehearsedVersion:
        """A version whose process has been started."""
        applications = wish.ray_serve_config["applications"]
        if len(applications) != 1:
            raise RefusedError(f"The rehearsal runs services of one application; this one has {len(applications)}.")
        application = applications[0]
        package = application.get("runtime_env", {}).get("working_dir")
        if package is None:
            raise RefusedError("The rehearsal builds no image, so the code must come from a working_dir.")
        version_id = new_id("bcsver")
        tree = self.processes.folder(version_id) / "tree"
        tree.parent.mkdir(parents=True)
        try:
            self.packages.unpack(package, tree)
        except ValueError as error:
            raise RefusedError(str(error)) from None
        env_vars = wish.config.env_vars if wish.config else None
        return RehearsedVersion(
            id=version_id,
            name=wish.version or version_id[-8:],
            ray_serve_config=wish.ray_serve_config,
            build_id=wish.build_id,
            compute_config_id=wish.compute_config_id,
            tracing_config=wish.tracing_config,
            process=self.processes.start(version_id, package, application, env_vars or {}),
            weight=weight,
        )


def is_same(canary: RehearsedVersion, wish: Apply) -> bool:
    """Whether an apply means the version that is being rolled out: by its name, or by what it runs."""
    if wish.version is not None:
        return wish.version == canary.name
    return runs_the_same(canary, wish)


def runs_the_same(version: RehearsedVersion, wish: Apply) -> bool:
    return (wish.ray_serve_config, wish.build_id) == (version.ray_serve_config, version.build_id)
