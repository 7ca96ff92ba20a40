"""The routes that a rehearsal adds to Anyscale's: faults, the calls so far, and who served how much."""

from fastapi import APIRouter, HTTPException

from rehearsal.control_plane.control_plane import ControlPlane
from rehearsal.control_plane.faults import Faults
from rehearsal.control_plane.replies import Json


def routes(plane: ControlPlane, calls: list[Json]) -> APIRouter:
    router = APIRouter(prefix="/rehearsal")

    @router.get("/faults")
    async def get_faults() -> Faults:
        return plane.faults

    @router.put("/faults")
    async def put_faults(faults: Faults) -> Faults:
        plane.faults = faults
        return faults

    @router.get("/requests")
    async def get_requests() -> list[Json]:
        return calls

    @router.get("/traffic/{service_name}")
    async def get_traffic(service_name: str) -> Json:
        """Requests served by role, and by the name of the version."""
        for service in plane.services.values():
            if service.name == service_name and service.state != "TERMINATED":
                by_id = {version_id: each.requests_served for version_id, each in service.front_door.traffic().items()}
                canary = by_id.get(service.canary.id, 0) if service.canary else None
                by_name = {version.name: by_id.get(version.id, 0) for version in service.versions}
                return {"primary": by_id.get(service.primary.id, 0), "canary": canary, "versions": by_name}
        raise HTTPException(404, f"No service {service_name} is running here.")

    return router
