"""HTTP for connections."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response

from app.connections.schemas import (
    ConnectionCheck,
    ConnectionCreate,
    ConnectionPatch,
    ConnectionRead,
    Quota,
    RemoteModels,
)
from app.connections.service import ConnectionService
from app.connections.tables import Connection
from app.http.access import ReadConnections, WriteConnections
from app.http.bench import Bench
from app.http.bodies import StrictRoute
from app.http.etags import Precondition, etag_of
from app.http.openapi import problems
from app.http.paging import ListOf, answer_page, page_of
from app.http.responses import answer
from app.kit.markers import marker
from app.kit.pagination import Page, Slice

router = APIRouter(prefix="/v1/connections", tags=["Connections"], route_class=StrictRoute)


def _read(row: Connection) -> ConnectionRead:
    return ConnectionRead(
        has_api_key=row.api_key_sealed is not None,
        **{
            name: getattr(row, name)
            for name in ConnectionRead.model_fields
            if name not in {"object", "has_api_key"}
        },
    )


def _answer(request: Request, row: Connection, **more: Any) -> Response:
    return answer(request, _read(row), etag=etag_of(marker(row.id, row.updated_at)), **more)


@router.post(
    "",
    operation_id="createConnection",
    summary="Keep an Azure OpenAI resource",
    status_code=201,
    response_model=ConnectionRead,
    responses=problems(409),
)
def create_connection(
    *, request: Request, bench: Bench, caller: WriteConnections, new: ConnectionCreate
) -> Response:
    """Nothing is called yet; `check` does that. A key is stored encrypted and never shown."""
    row = ConnectionService(bench).create(caller.project_id, new)
    return _answer(request, row, status=201, location=f"/v1/connections/{row.id}")


@router.get("", operation_id="listConnections", summary="List connections", response_model=ListOf[ConnectionRead])
def list_connections(
    *, request: Request, bench: Bench, caller: ReadConnections, page: Annotated[Page, Depends(page_of("con"))]
) -> Response:
    """Archived ones are left out."""
    found = ConnectionService(bench).page(caller.project_id, page)
    return answer_page(request, page, Slice([_read(row) for row in found.rows], found.has_more))


@router.get(
    "/{connection}", operation_id="getConnection", summary="Read a connection", response_model=ConnectionRead
)
def get_connection(*, request: Request, bench: Bench, caller: ReadConnections, connection: str) -> Response:
    """By id or by name."""
    return _answer(request, ConnectionService(bench).get(caller.project_id, connection))


@router.patch(
    "/{connection}", operation_id="updateConnection", summary="Change a connection", response_model=ConnectionRead
)
def update_connection(
    *,
    request: Request,
    bench: Bench,
    caller: WriteConnections,
    connection: str,
    change: ConnectionPatch,
    condition: Annotated[Precondition, Depends()],
) -> Response:
    """What is absent stays; a new key takes the old one's place at once."""
    return _answer(
        request, ConnectionService(bench).change(caller.project_id, connection, change, check=condition.check)
    )


@router.delete("/{connection}", operation_id="archiveConnection", summary="Archive a connection", status_code=204)
def archive_connection(
    *,
    bench: Bench,
    caller: WriteConnections,
    connection: str,
    condition: Annotated[Precondition, Depends()],
) -> Response:
    """It can no longer be chosen. What already runs through it is still looked after."""
    ConnectionService(bench).archive(caller.project_id, connection, check=condition.check)
    return Response(status_code=204)


@router.post(
    "/{connection}/check",
    operation_id="checkConnection",
    summary="Try what the resource lets us do",
    response_model=ConnectionCheck,
)
def check_connection(*, request: Request, bench: Bench, caller: WriteConnections, connection: str) -> Response:
    """Reads only: nothing is made at Azure. Each result says what is missing and how to mend it."""
    return answer(request, ConnectionService(bench).check(caller.project_id, connection))


@router.get(
    "/{connection}/models",
    operation_id="listRemoteModels",
    summary="Azure's own list of models",
    response_model=RemoteModels,
    responses=problems(429, 502),
)
def list_remote_models(*, request: Request, bench: Bench, caller: ReadConnections, connection: str) -> Response:
    """Live and verbatim."""
    models = ConnectionService(bench).remote_models(caller.project_id, connection)
    return answer(request, RemoteModels(data=models))


@router.get(
    "/{connection}/quota",
    operation_id="getQuota",
    summary="What is used and left, per model and SKU",
    response_model=Quota,
    responses=problems(429, 502),
)
def get_quota(*, request: Request, bench: Bench, caller: ReadConnections, connection: str) -> Response:
    """Live, through ARM."""
    usages = ConnectionService(bench).quota(caller.project_id, connection)
    return answer(request, Quota.of(usages))
