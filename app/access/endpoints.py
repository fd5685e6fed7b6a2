"""HTTP for projects and API keys."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from app.access.schemas import (
    ApiKeyCreate,
    ApiKeyCreated,
    ApiKeyRead,
    InstallationPut,
    InstallationRead,
    ProjectCreate,
    ProjectPatch,
    ProjectRead,
)
from app.access.service import AccessService, project_marker
from app.http.access import Administrator, AnyKey, OperatorOnly, key_ring
from app.http.bench import Bench
from app.http.bodies import StrictRoute
from app.http.etags import Precondition, etag_of
from app.http.openapi import problems
from app.http.paging import ListOf, answer_page, page_of
from app.http.responses import answer
from app.kit.pagination import Page

router = APIRouter(prefix="/v1", tags=["Access"], route_class=StrictRoute)


@router.get(
    "/installation",
    operation_id="getInstallation",
    summary="Read the installation's switch",
    response_model=InstallationRead,
)
def get_installation(request: Request, bench: Bench, _operator: OperatorOnly) -> Response:
    """Only with an operator's key."""
    return answer(request, AccessService(bench).installation())


@router.put(
    "/installation",
    operation_id="putInstallation",
    summary="Halt or unhalt the installation",
    response_model=InstallationRead,
)
def put_installation(request: Request, bench: Bench, operator: OperatorOnly, wanted: InstallationPut) -> Response:
    """`halted: true` is the kill switch over every project. Watching, cancelling and deleting go on."""
    return answer(request, AccessService(bench).set_halted(operator, wanted))


@router.post(
    "/projects",
    operation_id="createProject",
    summary="Make a project",
    status_code=201,
    response_model=ProjectRead,
    responses=problems(409),
)
def create_project(request: Request, bench: Bench, _operator: OperatorOnly, new: ProjectCreate) -> Response:
    """Only with an operator's key."""
    project = AccessService(bench).create_project(new.name)
    return answer(request, project, status=201, location=f"/v1/projects/{project.id}")


@router.get("/projects", operation_id="listProjects", summary="List projects", response_model=ListOf[ProjectRead])
def list_projects(
    request: Request, bench: Bench, holder: AnyKey, page: Annotated[Page, Depends(page_of("prj"))]
) -> Response:
    """A key of a project sees its own project only. Archived projects are left out."""
    return answer_page(request, page, AccessService(bench).list_projects(holder, page))


@router.get("/projects/{project}", operation_id="getProject", summary="Read a project", response_model=ProjectRead)
def get_project(request: Request, bench: Bench, holder: AnyKey, project: str) -> Response:
    found = AccessService(bench).get_project(holder, project)
    return answer(request, found, etag=etag_of(project_marker(found)))


@router.patch(
    "/projects/{project}",
    operation_id="updateProject",
    summary="Rename, pause or resume a project",
    response_model=ProjectRead,
    responses=problems(409),
)
def update_project(
    request: Request,
    bench: Bench,
    holder: Administrator,
    project: str,
    change: ProjectPatch,
    condition: Annotated[Precondition, Depends()],
) -> Response:
    """`paused: true` is the kill switch: nothing that costs money is begun while it is on."""
    changed = AccessService(bench).patch_project(holder, project, change, condition.check)
    return answer(request, changed, etag=etag_of(project_marker(changed)))


@router.delete(
    "/projects/{project}",
    operation_id="archiveProject",
    summary="Archive a project",
    response_model=ProjectRead,
)
def archive_project(
    request: Request,
    bench: Bench,
    holder: OperatorOnly,
    project: str,
    condition: Annotated[Precondition, Depends()],
) -> Response:
    """Its keys stop working at once; nothing is deleted. Only with an operator's key."""
    archived = AccessService(bench).archive_project(holder, project, condition.check)
    key_ring(request).forget()
    return answer(request, archived)


@router.post(
    "/api-keys",
    operation_id="createApiKey",
    summary="Make an API key",
    status_code=201,
    response_model=ApiKeyCreated,
    responses=problems(404, 409),
)
def create_api_key(request: Request, bench: Bench, holder: Administrator, new: ApiKeyCreate) -> Response:
    """The answer holds the secret, which is shown only this once. A key cannot give more rights than it has."""
    key = AccessService(bench).create_key(holder, new)
    return answer(request, key, status=201)


@router.get("/api-keys", operation_id="listApiKeys", summary="List API keys", response_model=ListOf[ApiKeyRead])
def list_api_keys(
    request: Request, bench: Bench, holder: Administrator, page: Annotated[Page, Depends(page_of("key"))]
) -> Response:
    """Revoked keys too; never a secret."""
    return answer_page(request, page, AccessService(bench).list_keys(holder, page))


@router.delete("/api-keys/{key_id}", operation_id="revokeApiKey", summary="Revoke an API key", status_code=204)
def revoke_api_key(request: Request, bench: Bench, holder: Administrator, key_id: str) -> Response:
    """It stops working within `KITAE_KEY_CACHE_SECONDS` everywhere."""
    AccessService(bench).revoke_key(holder, key_id)
    key_ring(request).forget()
    return Response(status_code=204)
