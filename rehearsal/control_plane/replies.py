"""Records as the API's JSON, with every field that the generated client demands."""

from datetime import datetime
from typing import Any

from rehearsal.control_plane.control_plane import CLOUDS, DEFAULT_CLOUD, PROJECTS
from rehearsal.control_plane.faults import Faults
from rehearsal.control_plane.records import (
    ClusterEnvironment,
    ComputeConfig,
    ImageBuild,
    RehearsedService,
    RehearsedVersion,
)

LONG_AGO = "2026-01-01T00:00:00+00:00"
USER_ID, ORGANIZATION_ID = "usr_rehearsal", "org_rehearsal"
CREATOR = {"id": USER_ID, "name": "Rehearsal", "username": "rehearsal", "email": "rehearsal@example.com"}
OWNED = {"creator_id": USER_ID, "organization_id": ORGANIZATION_ID}

Json = dict[str, Any]


def one(result: Json | None) -> Json:
    return {"result": result}


def several(results: list[Json], next_paging_token: str | None = None) -> Json:
    return {"results": results, "metadata": {"total": len(results), "next_paging_token": next_paging_token}}


def user() -> Json:
    organization = {
        "id": ORGANIZATION_ID,
        "name": "rehearsal",
        "public_identifier": "rehearsal",
        "default_cloud_id": DEFAULT_CLOUD,
        "is_general_platform_enabled": False,
        "is_private_endpoints_enabled": False,
        "is_usage_blocked": False,
    }
    return CREATOR | {
        "verified": True,
        "organization_permission_level": "owner",
        "organization_ids": [ORGANIZATION_ID],
        "organizations": [organization],
        "ld_hash": "",
        "ld_hash_fields": [],
        "pylon_hash": "",
    }


def cloud(cloud_id: str) -> Json:
    return {
        "id": cloud_id,
        "name": CLOUDS[cloud_id],
        "provider": "AWS",
        "region": "us-west-2",
        "credentials": "",
        "type": "PUBLIC",
        "compute_stack": "VM",
        "creator_id": USER_ID,
        "created_at": LONG_AGO,
        "is_default": cloud_id == DEFAULT_CLOUD,
        "is_aioa": False,
        "customer_aggregated_logs_config_id": "",
    }


def project_id(cloud_id: str, name: str) -> str:
    return f"prj_{CLOUDS[cloud_id]}_{name}"


def project(cloud_id: str, name: str) -> Json:
    return OWNED | {
        "id": project_id(cloud_id, name),
        "name": name,
        "description": "",
        "cluster_config": "",
        "created_at": LONG_AGO,
        "is_owner": True,
        "is_read_only": False,
        "directory_name": name,
        "is_default": name == "default",
        "parent_cloud_id": cloud_id,
    }


def projects() -> list[Json]:
    return [project(cloud_id, name) for cloud_id in CLOUDS for name in PROJECTS]


def compute_config(record: ComputeConfig) -> Json:
    of_cloud = {"id": record.config["cloud_id"], "name": CLOUDS[record.config["cloud_id"]], "provider": "AWS"}
    head = {"head_node_type": {"name": "head-node", "instance_type": "m5.2xlarge"}, "worker_node_types": None}
    return OWNED | {
        "id": record.id,
        "name": record.name,
        "created_at": iso(record.created_at),
        "last_modified_at": iso(record.created_at),
        "version": 1,
        "anonymous": record.anonymous,
        "creator": CREATOR,
        "config": head | record.config | {"cloud": of_cloud},
    }


def environment(record: ClusterEnvironment) -> Json:
    return OWNED | {
        "id": record.id,
        "name": record.name,
        "created_at": iso(record.created_at),
        "last_modified_at": iso(record.created_at),
        "anonymous": True,
        "is_default": False,
    }


def build(record: ImageBuild) -> Json:
    return {
        "id": record.id,
        "cluster_environment_id": record.environment.id,
        "application_template_id": record.environment.id,
        "application_template": environment(record.environment),
        "revision": record.revision,
        "creator_id": USER_ID,
        "creator": CREATOR,
        "status": record.status,
        "error_message": record.error_message,
        "created_at": iso(record.created_at),
        "last_modified_at": iso(record.created_at),
        "is_byod": record.image_uri is not None,
        "docker_image_name": record.image_uri or f"anyscale/image/{record.environment.name}:{record.revision}",
        "containerfile": record.containerfile,
        "ray_version": record.ray_version,
    }


def service(record: RehearsedService, faults: Faults) -> Json:
    return {
        "id": record.id,
        "name": record.name,
        "type": "V2",
        "project_id": record.project_id,
        "cloud_id": record.cloud_id,
        "creator_id": USER_ID,
        "creator": CREATOR,
        "created_at": iso(record.created_at),
        "hostname": record.url,
        "base_url": record.url,
        "auth_token": record.auth_token,
        "current_state": faults.service_state or record.state,
        "goal_state": record.goal_state,
        "auto_rollout_enabled": record.rollout is not None and record.rollout.percent is None,
        "is_multi_version": False,
        "versions": [version(each, faults) for each in record.active],
        "primary_version": version(record.primary, faults),
        "canary_version": version(record.canary, faults) if record.canary else None,
        "service_observability_urls": {},
        "service_status_checklist": checklist(record),
    }


def version(record: RehearsedVersion, faults: Faults) -> Json:
    return {
        "id": record.id,
        "version": record.name,
        "created_at": iso(record.created_at),
        "weight": record.weight,
        "current_weight": record.weight,
        "target_weight": record.weight,
        "current_state": faults.version_state or record.state,
        "ray_serve_config": record.ray_serve_config,
        "build_id": record.build_id,
        "compute_config_id": record.compute_config_id,
        "tracing_config": record.tracing_config,
        "production_job_ids": [record.id],  # only its logs are asked for by this id
    }


def checklist(record: RehearsedService) -> Json:
    shared = [{"kind": "LOAD_BALANCER", "label": "Load balancer", "state": "RUNNING", "message": record.url}]
    return {"shared": shared, "per_version": [version_checklist(each) for each in record.active]}


def version_checklist(record: RehearsedVersion) -> Json:
    """A version's cluster is there as soon as its process is; what takes time is the application."""
    states = {"CLUSTER": ("Cluster", "RUNNING", ""), "APPLICATION": ("Application", record.state, record.message)}
    items = [
        {"kind": kind, "label": label, "state": state, "message": message, "version_id": record.id}
        for kind, (label, state, message) in states.items()
    ]
    return {"version_id": record.id, "items": items}


def iso(time: datetime) -> str:
    return time.isoformat()
