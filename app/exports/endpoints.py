"""HTTP for cards, bundles and imported runs."""

from collections.abc import Iterator
from contextlib import closing
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Query, Request, Response
from starlette.concurrency import run_in_threadpool
from starlette.responses import StreamingResponse

from app.exports.card import Card
from app.exports.schemas import ImportRead, OpenAiJob, OpenAiJobList, RunDetail, RunRead
from app.exports.service import Arriving, ExportService
from app.http.access import ReadJobs, WriteJobs, require
from app.http.bench import Bench
from app.http.bodies import StrictRoute, pour
from app.http.limits import UPLOAD_BODY
from app.http.openapi import Responses, problems
from app.http.paging import ListOf, answer_page, page_of
from app.http.responses import answer, as_attachment
from app.jobs.analysis import POLICY
from app.kit.caller import Caller
from app.kit.errors import Forbidden
from app.kit.pagination import Page

router = APIRouter(prefix="/v1", tags=["Exports"], route_class=StrictRoute)

OCTETS: Final[Responses] = {
    200: {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}
}
ZIP: Final[Responses] = {200: {"content": {"application/zip": {"schema": {"type": "string", "format": "binary"}}}}}
MARKDOWN: Final[Responses] = {200: {"content": {"text/markdown": {"schema": {"type": "string"}}}}}
HTML: Final[Responses] = {200: {"content": {"text/html": {"schema": {"type": "string"}}}}}
WithContent = Annotated[
    bool, Query(description="The content of the datasets too; the key then also needs `datasets:read`.")
]


def _zip(name: str, pieces: Iterator[bytes]) -> Response:
    headers = {"Content-Disposition": as_attachment(f"{name}.kitae.zip")}
    return StreamingResponse(pieces, media_type="application/zip", headers=headers)


def _refuse_without(caller: Caller, scope: str, what: str) -> None:
    if not caller.may(scope):
        raise Forbidden(f"To {what}, this key also needs the scope {scope}.", code="scope_missing")


def _markdown(card: Card) -> Response:
    return Response(card.markdown(), media_type="text/markdown; charset=utf-8")


def _html(card: Card) -> Response:
    return Response(card.html(), media_type="text/html; charset=utf-8", headers={"Content-Security-Policy": POLICY})


@router.get(
    "/models/{model}/bundle.zip",
    operation_id="getModelBundle",
    summary="Everything known of a model's training, as an archive",
    response_class=StreamingResponse,
    responses={**ZIP, **problems(409)},
)
def get_model_bundle(*, bench: Bench, caller: ReadJobs, model: str, content: WithContent = False) -> Response:
    """Parameters, dataset manifests, job events, points, checkpoints, results file, analysis, costs, catalogue.

    A manifest holds the SHA-256 of every member. The same state makes the same bytes. `POST /v1/bundles` reads it.
    """
    if content:
        _refuse_without(caller, "datasets:read", "take the content along")
    return _zip(*ExportService(bench).pack_model(caller.project_id, model, content=content))


@router.get(
    "/openai/fine_tuning/jobs",
    operation_id="listOpenAiJobs",
    summary="Jobs in OpenAI's shape",
    response_model=OpenAiJobList,
)
def list_openai_jobs(
    *, request: Request, bench: Bench, caller: ReadJobs, page: Annotated[Page, Depends(page_of("job"))]
) -> Response:
    """For tools that read trainings through OpenAI's client with `base_url=…/v1/openai`, such as W&B's sync."""
    found = ExportService(bench).openai_jobs(caller.project_id, page)
    return answer(request, {"object": "list", "data": found.rows, "has_more": found.has_more})


@router.get(
    "/openai/fine_tuning/jobs/{job}",
    operation_id="getOpenAiJob",
    summary="A job in OpenAI's shape",
    response_model=OpenAiJob,
)
def get_openai_job(*, request: Request, bench: Bench, caller: ReadJobs, job: str) -> Response:
    """Files are dataset versions, and `file-<job>` the results."""
    return answer(request, ExportService(bench).openai_job(caller.project_id, job))


@router.get(
    "/openai/files/{file}/content",
    operation_id="getOpenAiFile",
    summary="A results file, or the content of a dataset version",
    response_class=StreamingResponse,
    responses={**OCTETS, **problems(409)},
    dependencies=[Depends(require("datasets:read"))],
)
def get_openai_file(*, bench: Bench, caller: ReadJobs, file: str) -> Response:
    """The key also needs `datasets:read`."""
    pieces = ExportService(bench).openai_file(caller.project_id, file)
    return StreamingResponse(pieces, media_type="application/octet-stream")


@router.get(
    "/models/{model}/card.md",
    operation_id="getModelCard",
    summary="The model card, as Markdown",
    response_class=Response,
    responses=MARKDOWN,
)
def get_model_card(*, bench: Bench, caller: ReadJobs, model: str) -> Response:
    """With front matter as hubs read it."""
    return _markdown(ExportService(bench).model_card(caller.project_id, model))


@router.get(
    "/models/{model}/card.html",
    operation_id="getModelCardPage",
    summary="The model card, as a page that stands alone",
    response_class=Response,
    responses=HTML,
)
def get_model_card_page(*, bench: Bench, caller: ReadJobs, model: str) -> Response:
    """No script, nothing from elsewhere; the curve is drawn in it."""
    return _html(ExportService(bench).model_card(caller.project_id, model))


@router.post(
    "/bundles",
    operation_id="importBundle",
    summary="Bring in the runs of a bundle",
    status_code=201,
    response_model=ImportRead,
    responses=problems(413),
    dependencies=[Depends(require("datasets:write"))],
    max_body_size=UPLOAD_BODY,
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"application/zip": {"schema": {"type": "string", "format": "binary"}}},
        }
    },
)
async def import_bundle(*, request: Request, bench: Bench, caller: WriteJobs) -> Response:
    """Every hash is verified before anything is kept. Runs become history; content becomes dataset versions.

    The same run again is the one that is here. The key also needs `datasets:write`.
    """
    arriving = Arriving(bench.policy.upload_bytes_max * 2)
    with closing(arriving.file):
        await pour(request, arriving.write)
        brought = await run_in_threadpool(ExportService(bench).bring, caller, arriving.file)
    return answer(request, brought, status=201)


@router.get("/runs", operation_id="listRuns", summary="List imported runs", response_model=ListOf[RunRead])
def list_runs(
    *, request: Request, bench: Bench, caller: ReadJobs, page: Annotated[Page, Depends(page_of("run"))]
) -> Response:
    """Trainings that happened elsewhere, in the order in which they were brought."""
    return answer_page(request, page, ExportService(bench).run_page(caller.project_id, page))


@router.get("/runs/{run}", operation_id="getRun", summary="Read an imported run", response_model=RunDetail)
def get_run(*, request: Request, bench: Bench, caller: ReadJobs, run: str) -> Response:
    """With what its documents say."""
    return answer(request, ExportService(bench).run(caller.project_id, run))


@router.get(
    "/runs/{run}/bundle.zip",
    operation_id="getRunBundle",
    summary="An imported run as an archive again",
    response_class=StreamingResponse,
    responses={**ZIP, **problems(409)},
)
def get_run_bundle(*, bench: Bench, caller: ReadJobs, run: str, content: WithContent = False) -> Response:
    """Byte by byte the bundle of this run alone, as its origin packs it."""
    if content:
        _refuse_without(caller, "datasets:read", "take the content along")
    return _zip(*ExportService(bench).pack_run(caller.project_id, run, content=content))


@router.get(
    "/runs/{run}/card.md",
    operation_id="getRunCard",
    summary="The card of an imported run, as Markdown",
    response_class=Response,
    responses=MARKDOWN,
)
def get_run_card(*, bench: Bench, caller: ReadJobs, run: str) -> Response:
    """As of a model."""
    return _markdown(ExportService(bench).run_card(caller.project_id, run))


@router.get(
    "/runs/{run}/card.html",
    operation_id="getRunCardPage",
    summary="The card of an imported run, as a page",
    response_class=Response,
    responses=HTML,
)
def get_run_card_page(*, bench: Bench, caller: ReadJobs, run: str) -> Response:
    """As of a model."""
    return _html(ExportService(bench).run_card(caller.project_id, run))
