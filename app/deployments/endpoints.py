"""HTTP for deployments, chat and comparisons."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Query, Request, Response
from starlette.responses import StreamingResponse

from app.azure.port import AzureError
from app.deployments.comparisons import ComparisonService
from app.deployments.schemas import (
    ChatRead,
    ChatRequest,
    ComparisonCreate,
    ComparisonDetail,
    ComparisonRead,
    DeploymentCreate,
    DeploymentPatch,
    DeploymentRead,
)
from app.deployments.service import DeploymentService, marker_of
from app.deployments.states import DeploymentStatus
from app.http.access import ReadDeployments, WriteDeployments
from app.http.bench import Bench
from app.http.bodies import StrictRoute
from app.http.etags import Precondition, etag_of
from app.http.idempotency import IdempotentRoute, ReservationId
from app.http.openapi import problems
from app.http.paging import ListOf, answer_page, page_of
from app.http.responses import answer, to_json
from app.kit.pagination import Page

router = APIRouter(prefix="/v1", tags=["Deployments"], route_class=IdempotentRoute)
chat_router = APIRouter(prefix="/v1/deployments", tags=["Deployments"], route_class=StrictRoute)
"""A chat is neither kept nor repeated, and its answer may be a stream: no Idempotency-Key."""

_CHAT_RESPONSES: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "The answer, or with `stream: true` Azure's chunks as Server-Sent Events.",
        "content": {
            "text/event-stream": {
                "schema": {"type": "string"},
                "example": 'data: {"choices":[{"delta":{"content":"Kyoto"}}]}\n\ndata: [DONE]\n\n',
            }
        },
    },
    **problems(409, 429, 502),
}


def _answer(request: Request, shown: DeploymentRead, *, status: int = 200) -> Response:
    return answer(
        request,
        shown,
        status=status,
        etag=etag_of(marker_of(shown)),
        location=f"/v1/deployments/{shown.id}" if status == 202 else None,
    )


@router.post(
    "/deployments",
    operation_id="createDeployment",
    summary="Make a model callable",
    status_code=202,
    response_model=DeploymentRead,
    responses=problems(404, 409),
)
def create_deployment(
    *,
    request: Request,
    bench: Bench,
    caller: WriteDeployments,
    new: DeploymentCreate,
    reservation: ReservationId,
) -> Response:
    """Its hosting is reserved until its end at once, then a worker makes it at Azure and warms it up.

    It always has an end: `expires_at`, `ttl_seconds`, or a day. `status` tells how far it is; `ready` means that it
    has answered.
    """
    shown = DeploymentService(bench).create(caller, new, reservation_id=reservation)
    return _answer(request, shown, status=202)


@router.get(
    "/deployments",
    operation_id="listDeployments",
    summary="List deployments",
    response_model=ListOf[DeploymentRead],
    responses=problems(404),
)
def list_deployments(
    *,
    request: Request,
    bench: Bench,
    caller: ReadDeployments,
    page: Annotated[Page, Depends(page_of("dep"))],
    status: Annotated[DeploymentStatus | None, Query(description="Only deployments in this status.")] = None,
    model: Annotated[
        str | None, Query(max_length=200, description="Only deployments of this model, by id or name.")
    ] = None,
) -> Response:
    """Those that are gone too."""
    rows = DeploymentService(bench).page(caller.project_id, page, status=status, model=model)
    return answer_page(request, page, rows)


@router.get(
    "/deployments/{deployment}",
    operation_id="getDeployment",
    summary="Read a deployment",
    response_model=DeploymentRead,
)
def get_deployment(*, request: Request, bench: Bench, caller: ReadDeployments, deployment: str) -> Response:
    """By id or name; from the database, never a call to Azure."""
    return _answer(request, DeploymentService(bench).get(caller.project_id, deployment))


@router.patch(
    "/deployments/{deployment}",
    operation_id="updateDeployment",
    summary="Change a deployment's end or capacity",
    response_model=DeploymentRead,
    responses=problems(409),
)
def update_deployment(
    *,
    request: Request,
    bench: Bench,
    caller: WriteDeployments,
    deployment: str,
    change: DeploymentPatch,
    condition: Annotated[Precondition, Depends()],
) -> Response:
    """A longer life is reserved at once. A new capacity stands in `capacity_wanted` until Azure has taken it."""
    shown = DeploymentService(bench).change(caller, deployment, change, check=condition.check)
    return _answer(request, shown)


@router.delete(
    "/deployments/{deployment}",
    operation_id="deleteDeployment",
    summary="Delete a deployment",
    status_code=202,
    response_model=DeploymentRead,
)
def delete_deployment(
    *,
    request: Request,
    bench: Bench,
    caller: WriteDeployments,
    deployment: str,
    condition: Annotated[Precondition, Depends()],
) -> Response:
    """Possible at any moment, and twice is as good as once. It is `deleted` when Azure no longer shows it."""
    shown = DeploymentService(bench).delete(caller.project_id, deployment, check=condition.check)
    return _answer(request, shown, status=202)


@router.post(
    "/deployments/{deployment}/retry",
    operation_id="retryDeployment",
    summary="Look again at a parked deployment",
    status_code=202,
    response_model=DeploymentRead,
    responses=problems(409),
)
def retry_deployment(*, request: Request, bench: Bench, caller: WriteDeployments, deployment: str) -> Response:
    """After `parked_reason` was dealt with."""
    return _answer(request, DeploymentService(bench).retry(caller.project_id, deployment), status=202)


# ── chat ────────────────────────────────────────────────────────────────────


@chat_router.post(
    "/{deployment}/chat",
    operation_id="chat",
    summary="Ask a deployment",
    response_model=ChatRead,
    responses=_CHAT_RESPONSES,
)
def chat(
    *, request: Request, bench: Bench, caller: WriteDeployments, deployment: str, asked: ChatRequest
) -> Response:
    """One answer. 409 with Retry-After while the deployment is not ready."""
    service = DeploymentService(bench)
    if not asked.stream:
        return answer(request, service.chat(caller.project_id, deployment, asked))
    stack = ExitStack()
    chunks = stack.enter_context(service.chat_stream(caller.project_id, deployment, asked))
    return StreamingResponse(
        _as_events(stack, chunks),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


def _as_events(stack: ExitStack, chunks: Iterator[Mapping[str, Any]]) -> Iterator[bytes]:
    """Chunks as they come. An answer that breaks off ends with an `error` event instead of `[DONE]`."""
    with stack:
        try:
            for chunk in chunks:
                yield b"data: " + to_json(chunk) + b"\n\n"
        except AzureError as error:
            body = {"error": {"code": error.code, "message": error.message, "hint": error.hint}}
            yield b"event: error\ndata: " + to_json(body) + b"\n\n"
            return
    yield b"data: [DONE]\n\n"


# ── comparisons ─────────────────────────────────────────────────────────────


@router.post(
    "/comparisons",
    operation_id="createComparison",
    summary="Put the same prompts to several deployments",
    status_code=202,
    response_model=ComparisonDetail,
    responses=problems(404, 409),
    tags=["Comparisons"],
)
def create_comparison(
    *,
    request: Request,
    bench: Bench,
    caller: WriteDeployments,
    new: ComparisonCreate,
    reservation: ReservationId,
) -> Response:
    """Workers ask; read it again for the answers, which appear one by one."""
    shown = ComparisonService(bench).create(caller, new, reservation_id=reservation)
    return answer(request, shown, status=202, location=f"/v1/comparisons/{shown.id}")


@router.get(
    "/comparisons",
    operation_id="listComparisons",
    summary="List comparisons",
    response_model=ListOf[ComparisonRead],
    tags=["Comparisons"],
)
def list_comparisons(
    *, request: Request, bench: Bench, caller: ReadDeployments, page: Annotated[Page, Depends(page_of("cmp"))]
) -> Response:
    """Without their answers."""
    return answer_page(request, page, ComparisonService(bench).page(caller.project_id, page))


@router.get(
    "/comparisons/{comparison}",
    operation_id="getComparison",
    summary="Read a comparison",
    response_model=ComparisonDetail,
    tags=["Comparisons"],
)
def get_comparison(*, request: Request, bench: Bench, caller: ReadDeployments, comparison: str) -> Response:
    """Every prompt with its answers side by side, tokens, latency and cost."""
    return answer(request, ComparisonService(bench).get(caller.project_id, comparison))


@router.post(
    "/comparisons/{comparison}/retry",
    operation_id="retryComparison",
    summary="Look again at a parked comparison",
    status_code=202,
    response_model=ComparisonDetail,
    responses=problems(409),
    tags=["Comparisons"],
)
def retry_comparison(*, request: Request, bench: Bench, caller: WriteDeployments, comparison: str) -> Response:
    """What is answered already is not asked again."""
    shown = ComparisonService(bench).retry(caller.project_id, comparison)
    return answer(request, shown, status=202, location=f"/v1/comparisons/{shown.id}")
