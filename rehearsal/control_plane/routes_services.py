"""The routes of services: list, apply, rollback, terminate, logs."""

from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Query, Request
from fastapi.responses import PlainTextResponse, Response

from rehearsal.control_plane import replies
from rehearsal.control_plane.control_plane import Apply, ControlPlane, RefusedError
from rehearsal.control_plane.records import RehearsedService, RehearsedVersion
from rehearsal.control_plane.replies import Json, one, several


def routes(plane: ControlPlane) -> APIRouter:
    router = APIRouter()
    add_service_routes(router, plane)
    add_log_routes(router, plane)
    return router


def add_service_routes(router: APIRouter, plane: ControlPlane) -> None:
    @router.get("/api/v2/services-v2/")
    async def list_services(
        name: str = "",
        cloud_id: str | None = None,
        project_id: str | None = None,
        archive_status: str = "NOT_ARCHIVED",
        state_filter: Annotated[list[str] | None, Query()] = None,
        count: int = 50,
        paging_token: int = 0,
    ) -> Json:
        found = [
            replies.service(service, plane.faults)
            for service in plane.services.values()
            if name in service.name
            and cloud_id in (None, service.cloud_id)
            and project_id in (None, service.project_id)
            and (archive_status == "ALL" or service.archived == (archive_status == "ARCHIVED"))
            and (not state_filter or service.state in state_filter)
        ]
        end = paging_token + count
        return several(found[paging_token:end], str(end) if end < len(found) else None)

    @router.put("/api/v2/services-v2/apply")
    async def apply(wish: Apply) -> Json:
        return one(replies.service(plane.apply(wish), plane.faults))

    @router.put("/api/v2/services-v2/apply_multi_version")
    async def apply_multi_version() -> None:
        raise RefusedError("The rehearsal does not do services of several versions, only rollouts of one.")

    @router.get("/api/v2/services-v2/{service_id}")
    @router.get("/ext/v0/services/{service_id}")
    async def get_service(service_id: str) -> Json:
        return one(replies.service(find(plane, service_id), plane.faults))

    @router.post("/api/v2/services-v2/{service_id}/rollback")
    @router.post("/ext/v0/services/{service_id}/rollback")
    async def roll_back(service_id: str) -> Json:
        service = find(plane, service_id)
        plane.roll_back(service)
        return one(replies.service(service, plane.faults))

    @router.post("/api/v2/services-v2/{service_id}/terminate")
    @router.post("/ext/v0/services/{service_id}/terminate")
    async def terminate(service_id: str) -> Json:
        service = find(plane, service_id)
        plane.terminate(service)
        return one(replies.service(service, plane.faults))

    @router.post("/api/v2/services-v2/{service_id}/archive", status_code=204)
    async def archive(service_id: str) -> Response:
        terminated(plane, service_id).archived = True
        return Response(status_code=204)

    @router.delete("/api/v2/services-v2/{service_id}", status_code=204)
    async def delete(service_id: str) -> Response:
        del plane.services[terminated(plane, service_id).id]
        return Response(status_code=204)


def add_log_routes(router: APIRouter, plane: ControlPlane) -> None:
    """What `anyscale logs service` asks for, in this order; each version has one cluster, which has its id."""

    @router.get("/api/v2/services-v2/{service_id}/versions")
    async def list_versions(service_id: str) -> Json:
        return several([replies.version(version, plane.faults) for version in find(plane, service_id).versions])

    @router.get("/api/v2/decorated_ha_jobs/{version_id}")
    async def get_job(version_id: str) -> Json:
        return one(job(*find_version(plane, version_id)))

    @router.get("/ext/v0/clusters/{version_id}")
    async def get_cluster(version_id: str) -> Json:
        return one(cluster(*find_version(plane, version_id)))

    @router.post("/api/v2/logs/get_log_files")
    async def list_log_files(body: dict[str, Any], request: Request) -> Json:
        _, version = find_version(plane, body["filter"]["cluster_id"])
        chunk = {
            "cluster_id": version.id,
            "session_id": version.id,
            "chunk_name": "version.log",
            "file_name": "version.log",
            "chunk_url": f"{request.base_url}bucket/logs/{version.id}",
            "size": version.process.log.stat().st_size,
            "node_type": "head-node",
            "node_ip": "127.0.0.1",
            "instance_id": "this-machine",
        }
        return one({"log_chunks": [chunk], "next_page_token": None, "bearer_token": None})

    @router.get("/bucket/logs/{version_id}")
    async def log(version_id: str) -> PlainTextResponse:
        return PlainTextResponse(find_version(plane, version_id)[1].process.log.read_text(errors="replace"))


def find(plane: ControlPlane, service_id: str) -> RehearsedService:
    if service_id not in plane.services:
        raise HTTPException(404, f"Service {service_id} not found.")
    return plane.services[service_id]


def terminated(plane: ControlPlane, service_id: str) -> RehearsedService:
    service = find(plane, service_id)
    if service.state != "TERMINATED":
        raise RefusedError(f"Service {service.name} is {service.state}. Terminate it first.")
    return service


def find_version(plane: ControlPlane, version_id: str) -> tuple[RehearsedService, RehearsedVersion]:
    for service in plane.services.values():
        for version in service.versions:
            if version.id == version_id:
                return service, version
    raise HTTPException(404, f"Version {version_id} not found.")


def job(service: RehearsedService, version: RehearsedVersion) -> Json:
    state = {
        "id": version.id,
        "state_transitioned_at": version.created_at.isoformat(),
        "current_state": "RUNNING",
        "cluster_id": version.id,
    }
    return {
        "id": version.id,
        "name": version.name,
        "created_at": version.created_at.isoformat(),
        "creator_id": replies.USER_ID,
        "creator": replies.CREATOR,
        "config": {"build_id": version.build_id, "compute_config_id": version.compute_config_id},
        "state": state,
        "project_id": service.project_id,
        "project": {"id": service.project_id, "name": service.project_id, "directory_name": ""},
        "overview_url": service.url,
        "is_service": True,
        "cloud_id": service.cloud_id,
    }


def cluster(service: RehearsedService, version: RehearsedVersion) -> Json:
    return {
        "id": version.id,
        "name": version.name,
        "project_id": service.project_id,
        "cluster_environment_build_id": version.build_id,
        "cluster_compute_id": version.compute_config_id,
        "state": "Terminated",  # of a running one the CLI warns that the log may be incomplete
        "creator_id": replies.USER_ID,
        "created_at": version.created_at.isoformat(),
        "access_token": "",
        "services_urls": {},
        "ssh_authorized_keys": [],
        "ssh_private_key": "",
        "system_workload_names": [],
    }
