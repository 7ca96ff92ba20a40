"""The routes of what a service needs: the user, clouds, projects, compute configs, images and uploads."""

from typing import Any

from fastapi import APIRouter, HTTPException, Request

from rehearsal.control_plane import replies
from rehearsal.control_plane.control_plane import CLOUDS, DEFAULT_CLOUD, ControlPlane
from rehearsal.control_plane.images import LOG
from rehearsal.control_plane.replies import Json, one, several

RESOURCE = {"cloud_resource_id": "cldrsrc_rehearsal", "name": "default", "provider": "AWS", "compute_stack": "VM"}


def routes(plane: ControlPlane) -> APIRouter:
    router = APIRouter()
    add_user_routes(router)
    add_cloud_routes(router)
    add_upload_routes(router, plane)
    add_compute_routes(router, plane)
    add_image_routes(router, plane)
    return router


def add_user_routes(router: APIRouter) -> None:
    @router.get("/api/v2/userinfo/")
    async def user() -> Json:
        return one(replies.user())

    @router.post("/api/v2/cli_usage/")
    async def cli_usage() -> Json:
        return one(None)

    @router.get("/api/v2/workos/deployment_infra")
    async def deployment_infra() -> Json:
        return one({"deployment_infra": "aws"})


def add_cloud_routes(router: APIRouter) -> None:
    @router.get("/ext/v0/clouds/default")
    async def default_cloud() -> Json:
        return one(replies.cloud(DEFAULT_CLOUD))

    @router.post("/ext/v0/clouds/search")
    async def search_clouds() -> Json:
        return several([replies.cloud(cloud_id) for cloud_id in CLOUDS])

    @router.post("/api/v2/clouds/find_by_name")
    async def find_cloud(body: dict[str, Any]) -> Json:
        return one(first([replies.cloud(cloud_id) for cloud_id in CLOUDS], name=body["name"]))

    @router.get("/ext/v0/clouds/{cloud_id}")
    @router.get("/api/v2/clouds/{cloud_id}")
    async def get_cloud(cloud_id: str) -> Json:
        return one(first([replies.cloud(each) for each in CLOUDS], id=cloud_id))

    @router.get("/api/v2/clouds/{cloud_id}/resources")
    async def list_cloud_resources() -> Json:
        return several([RESOURCE])

    @router.post("/api/v2/clouds/{cloud_id}/find_cloud_resource_by_name")
    async def find_cloud_resource(cloud_resource_name: str) -> Json:
        return one(first([RESOURCE], name=cloud_resource_name))

    @router.get("/ext/v0/projects/default_project")
    async def default_project(parent_cloud_id: str = DEFAULT_CLOUD) -> Json:
        return one(replies.project(parent_cloud_id, "default"))

    @router.post("/ext/v0/projects/search")
    async def search_projects(body: dict[str, Any]) -> Json:
        return several([each for each in replies.projects() if each["name"] == body["name"]["equals"]])

    @router.get("/api/v2/projects/find_by_name")
    async def find_projects(name: str) -> Json:
        return several([each for each in replies.projects() if each["name"] == name])

    @router.get("/api/v2/projects/{project_id}")
    async def get_project(project_id: str) -> Json:
        return one(first(replies.projects(), id=project_id))


def add_upload_routes(router: APIRouter, plane: ControlPlane) -> None:
    @router.post("/api/v2/clouds/{cloud_id}/generate_cloud_data_bucket_presigned_url")
    async def presign(body: dict[str, Any], request: Request) -> Json:
        name = body["file_name"]
        return one(
            {
                "file_uri": plane.packages.uri(name),
                "url": f"{request.base_url}bucket/uploads/{name}",
                "file_exists": plane.packages.is_there(name),
                "bucket_name": "s3://rehearsal",
                "bucket_path": f"uploads/{name}",
                "url_scheme": "http",
            }
        )

    @router.put("/bucket/uploads/{name}")
    async def upload(name: str, request: Request) -> None:
        plane.packages.store(name, await request.body())


def add_compute_routes(router: APIRouter, plane: ControlPlane) -> None:
    @router.post("/api/v2/compute_templates/")
    async def create_compute_config(body: dict[str, Any]) -> Json:
        added = plane.add_compute_config(body.get("name"), body["config"], body.get("anonymous", False))
        return one(replies.compute_config(added))

    @router.post("/api/v2/compute_templates/search")
    async def search_compute_configs(body: dict[str, Any]) -> Json:
        wanted = body["name"]["equals"]
        found = [config for config in plane.compute_configs.values() if config.name == wanted]
        return several([replies.compute_config(config) for config in found])

    @router.get("/ext/v0/cluster_computes/default")
    async def default_compute_config(cloud_id: str = DEFAULT_CLOUD) -> Json:
        of_cloud = [each for each in plane.compute_configs.values() if each.config["cloud_id"] == cloud_id]
        return one(first(map(replies.compute_config, of_cloud), name="default"))

    @router.get("/ext/v0/cluster_computes/{compute_config_id}")
    @router.get("/api/v2/compute_templates/{compute_config_id}")
    async def get_compute_config(compute_config_id: str) -> Json:
        return one(first(map(replies.compute_config, plane.compute_configs.values()), id=compute_config_id))


def add_image_routes(router: APIRouter, plane: ControlPlane) -> None:
    images = plane.images

    @router.post("/api/v2/builds/get_or_create_build_from_image_uri")
    async def build_of_uri(body: dict[str, Any]) -> Json:
        return one(replies.build(images.of_uri(body["image_uri"], body.get("ray_version"))))

    @router.post("/ext/v0/cluster_environments/search")
    async def search_environments(body: dict[str, Any]) -> Json:
        found = [each for each in images.environments.values() if each.name == body["name"]["equals"]]
        return several([replies.environment(each) for each in found])

    @router.post("/ext/v0/cluster_environments/")
    async def create_environment(body: dict[str, Any]) -> Json:
        return one(replies.environment(images.add_environment(body["name"])))

    @router.get("/ext/v0/cluster_environments/{environment_id}")
    async def get_environment(environment_id: str) -> Json:
        return one(first(map(replies.environment, images.environments.values()), id=environment_id))

    @router.get("/ext/v0/cluster_environment_builds/")
    async def list_builds(cluster_environment_id: str) -> Json:
        return several([replies.build(build) for build in images.of_environment(cluster_environment_id)])

    @router.post("/ext/v0/cluster_environment_builds/")
    async def start_build(body: dict[str, Any]) -> Json:
        build = images.start_build(body["cluster_environment_id"], body["containerfile"], body.get("ray_version"))
        return one({"id": build.id, "completed": False, "cluster_environment_build_id": build.id})

    @router.get("/ext/v0/cluster_environment_builds/{build_id}")
    async def get_build(build_id: str) -> Json:
        return one(first(map(replies.build, images.builds.values()), id=build_id))

    @router.get("/api/v2/builds/{build_id}/logs")
    async def get_build_log(build_id: str) -> Json:
        first(map(replies.build, images.builds.values()), id=build_id)
        return one({"logs": LOG})


def first(those: Any, **wanted: str) -> Json:
    """The one of `those` whose field has the wanted value, else the answer is 404."""
    ((key, value),) = wanted.items()
    for each in those:
        if each[key] == value:
            return each
    raise HTTPException(404, f"There is no {key} {value} in this rehearsal.")
