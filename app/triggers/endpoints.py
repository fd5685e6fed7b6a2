"""HTTP for triggers, and the addresses at which messages arrive."""

from typing import Annotated, Final

from fastapi import APIRouter, Depends, Request, Response

from app.http.access import ReadConnections, WriteConnections
from app.http.bench import Bench
from app.http.bodies import StrictRoute
from app.http.etags import Precondition, etag_of
from app.http.openapi import problems
from app.http.paging import ListOf, answer_page, page_of
from app.http.problems import Unauthenticated
from app.http.responses import answer
from app.kit.errors import Forbidden, TooLarge
from app.kit.markers import marker
from app.kit.pagination import Page, Slice
from app.triggers.schemas import Receipt, SecretGiven, TriggerCreate, TriggerCreated, TriggerRead
from app.triggers.service import TriggerService
from app.triggers.tables import Trigger

router = APIRouter(prefix="/v1/triggers", tags=["Triggers"], route_class=StrictRoute)
hooks_router = APIRouter(prefix="/hooks", tags=["Triggers"], route_class=StrictRoute)

MESSAGE_BYTES: Final = 256 * 1024
"""Largest message. Source: Standard Webhooks 1.0.0 asks senders to stay below 20 kB; GitHub sends up to 25 MB."""


def _members(row: Trigger) -> dict[str, object]:
    derived = {"object", "path", "connection"}
    return {
        "connection": row.connection_id,
        "path": f"/hooks/{row.id}",
        **{name: getattr(row, name) for name in TriggerRead.model_fields if name not in derived},
    }


def _etag(row: Trigger) -> str:
    return etag_of(marker(row.id, row.updated_at))


@router.post(
    "",
    operation_id="createTrigger",
    summary="Make an address for news",
    status_code=201,
    response_model=TriggerCreated,
    responses=problems(404, 409),
)
def create_trigger(*, request: Request, bench: Bench, caller: WriteConnections, new: TriggerCreate) -> Response:
    """Register `path`, behind the public URL of this API, with the sender; the secret is shown this once."""
    row, secret = TriggerService(bench).create(caller.project_id, new)
    made = TriggerCreated(**_members(row), secret=secret)
    return answer(request, made, status=201, location=f"/v1/triggers/{row.id}")


@router.get("", operation_id="listTriggers", summary="List triggers", response_model=ListOf[TriggerRead])
def list_triggers(
    *, request: Request, bench: Bench, caller: ReadConnections, page: Annotated[Page, Depends(page_of("trg"))]
) -> Response:
    """Archived ones are left out."""
    found = TriggerService(bench).page(caller.project_id, page)
    rows = [TriggerRead.model_validate(_members(row)) for row in found.rows]
    return answer_page(request, page, Slice(rows, found.has_more))


@router.get("/{trigger}", operation_id="getTrigger", summary="Read a trigger", response_model=TriggerRead)
def get_trigger(*, request: Request, bench: Bench, caller: ReadConnections, trigger: str) -> Response:
    """By id or by name."""
    row = TriggerService(bench).get(caller.project_id, trigger)
    return answer(request, TriggerRead.model_validate(_members(row)), etag=_etag(row))


@router.post(
    "/{trigger}/rotate-secret",
    operation_id="rotateTriggerSecret",
    summary="Change a trigger's secret",
    response_model=TriggerCreated,
)
def rotate_trigger_secret(
    *,
    request: Request,
    bench: Bench,
    caller: WriteConnections,
    trigger: str,
    given: SecretGiven,
    condition: Annotated[Precondition, Depends()],
) -> Response:
    """The old secret holds for a day more, so that the sender can be changed in peace."""
    row, secret = TriggerService(bench).rotate(caller.project_id, trigger, given.secret, check=condition.check)
    changed = TriggerCreated(**_members(row), secret=secret)
    return answer(request, changed)


@router.delete("/{trigger}", operation_id="archiveTrigger", summary="Archive a trigger", status_code=204)
def archive_trigger(
    *, bench: Bench, caller: WriteConnections, trigger: str, condition: Annotated[Precondition, Depends()]
) -> Response:
    """Its address answers 404 from then on."""
    TriggerService(bench).archive(caller.project_id, trigger, check=condition.check)
    return Response(status_code=204)


async def message_body(request: Request) -> bytes:
    """The raw bytes, which the signature is over. Raises `TooLarge`."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MESSAGE_BYTES:
            raise TooLarge(f"A message holds at most {MESSAGE_BYTES:,} bytes.", hint="It need only name a job.")
    return bytes(body)


@hooks_router.post(
    "/{trigger}",
    operation_id="receiveMessage",
    summary="Where a sender tells us something",
    status_code=202,
    response_model=Receipt,
    responses=problems(401, 404, 409, 413, 422, 503),
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": {"type": "object"},
                    "example": {"type": "fine_tuning.job.succeeded", "data": {"id": "ftjob-0123456789abcdef"}},
                }
            },
        }
    },
)
def receive_message(
    *,
    request: Request,
    bench: Bench,
    trigger: str,
    body: Annotated[bytes, Depends(message_body)],
) -> Response:
    """Signed as Standard Webhooks say (`webhook-id`, `webhook-timestamp`, `webhook-signature`); no API key.

    The message is believed for nothing but that it is worth looking: what is true, Azure is asked.
    """
    try:
        status = TriggerService(bench).receive(trigger, request.headers, body)
    except Forbidden as error:
        raise Unauthenticated(error.detail, code=error.code) from error
    return answer(request, Receipt.model_validate({"status": status}), status=202)
