"""Images: recorded, and built in name only."""

from datetime import timedelta

from rehearsal.control_plane.records import ClusterEnvironment, ImageBuild, now

BUILD_TIME = timedelta(seconds=1)
LOG = "This is a rehearsal: no image is built. The versions run in the Python environment of this machine.\n"


class Images:
    """The builds, and the names they are built under."""

    def __init__(self) -> None:
        self.environments: dict[str, ClusterEnvironment] = {}
        self.builds: dict[str, ImageBuild] = {}

    def of_uri(self, image_uri: str, ray_version: str | None) -> ImageBuild:
        """The build that stands for a ready image."""
        for build in self.builds.values():
            if build.image_uri == image_uri:
                return build
        build = ImageBuild(self.add_environment(image_uri), revision=1, image_uri=image_uri, ray_version=ray_version)
        self.builds[build.id] = build
        return build

    def add_environment(self, name: str) -> ClusterEnvironment:
        added = ClusterEnvironment(name)
        self.environments[added.id] = added
        return added

    def start_build(self, environment_id: str, containerfile: str, ray_version: str | None) -> ImageBuild:
        build = ImageBuild(
            self.environments[environment_id],
            revision=len(self.of_environment(environment_id)) + 1,
            containerfile=containerfile,
            ray_version=ray_version,
            status="in_progress",
        )
        self.builds[build.id] = build
        return build

    def of_environment(self, environment_id: str) -> list[ImageBuild]:
        """The builds under one name, the newest first."""
        builds = [build for build in self.builds.values() if build.environment.id == environment_id]
        return sorted(builds, key=lambda build: build.revision, reverse=True)

    def end_builds(self, fail: bool) -> None:
        """Builds that have taken their time succeed or fail."""
        for build in self.builds.values():
            if build.status == "in_progress" and now() - build.created_at > BUILD_TIME:
                build.status = "failed" if fail else "succeeded"
                build.error_message = "The rehearsal's fault build_fails made this build fail." if fail else None
