"""What the control plane stores: services with their versions, compute configs and images."""

import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from rehearsal.control_plane.front_door import FrontDoor
from rehearsal.control_plane.version_process import VersionProcess


def new_id(prefix: str) -> str:
    return f"{prefix}_{secrets.token_hex(8)}"


def now() -> datetime:
    return datetime.now(UTC)


@dataclass
class RehearsedVersion:
    """One version of a service and the process that serves it."""

    id: str
    name: str
    ray_serve_config: dict[str, Any]
    build_id: str
    compute_config_id: str
    tracing_config: dict[str, Any] | None
    process: VersionProcess
    state: str = "STARTING"
    weight: int = 0
    message: str = ""
    """How far it is, or why it is not healthy."""

    created_at: datetime = field(default_factory=now)
    leaving_since: datetime | None = None
    """Since when it gets no new requests and is to be stopped."""


@dataclass
class RolloutWish:
    """What was asked for the canary."""

    percent: int | None
    """The weight to stay at; None goes on to 100 step by step."""

    last_step: datetime = field(default_factory=now)


@dataclass
class RehearsedService:
    """A service, its versions and what is wanted of it."""

    name: str
    project_id: str
    cloud_id: str
    port: int
    auth_token: str | None
    primary: RehearsedVersion
    front_door: FrontDoor
    canary: RehearsedVersion | None = None
    rollout: RolloutWish | None = None
    rolls_back: bool = False
    goal_state: str = "RUNNING"
    former: list[RehearsedVersion] = field(default_factory=list)
    """Versions that leave or have left, the newest first."""

    archived: bool = False
    id: str = field(default_factory=lambda: new_id("service2"))
    created_at: datetime = field(default_factory=now)

    @property
    def state(self) -> str:
        if self.goal_state == "TERMINATED":
            done = all(version.state == "TERMINATED" for version in self.versions)
            return "TERMINATED" if done else "TERMINATING"
        if self.rolls_back:
            return "ROLLING_BACK"
        return "ROLLING_OUT" if self.canary else self.primary.state

    @property
    def url(self) -> str:
        return self.front_door.url

    @property
    def active(self) -> list[RehearsedVersion]:
        """The versions that are part of the service now."""
        return [version for version in (self.primary, self.canary) if version]

    @property
    def versions(self) -> list[RehearsedVersion]:
        """All versions, the newest first."""
        return sorted([*self.active, *self.former], key=lambda version: version.created_at, reverse=True)


@dataclass
class ComputeConfig:
    name: str
    config: dict[str, Any]
    anonymous: bool
    id: str = field(default_factory=lambda: new_id("cpt"))
    created_at: datetime = field(default_factory=now)


@dataclass
class ClusterEnvironment:
    """The name under which an image is built, once or more."""

    name: str
    id: str = field(default_factory=lambda: new_id("apt"))
    created_at: datetime = field(default_factory=now)


@dataclass
class ImageBuild:
    environment: ClusterEnvironment
    revision: int
    image_uri: str | None = None
    containerfile: str | None = None
    ray_version: str | None = None
    status: str = "succeeded"
    error_message: str | None = None
    id: str = field(default_factory=lambda: new_id("bld"))
    created_at: datetime = field(default_factory=now)
