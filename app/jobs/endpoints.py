"""HTTP for jobs."""

from typing import Annotated, Final

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from app.events.endpoints import page_response, stream
from app.events.schemas import EventRead
from app.http.access import ReadJobs, WriteJobs
from app.http.bench import Bench
from app.http.etags import etag_of
from app.http.idempotency import IdempotentRoute, ReservationId
from app.http.openapi import STREAM_RESPONSES, problems, stream_responses
from app.http.paging import ListOf, answer_page, page_of
from app.http.responses import answer, as_attachment
from app.http.security import PICTURE_POLICY
from app.http.streams import answer_stream, wants_stream
from app.jobs import live
from app.jobs.analysis import FEWEST_POINTS_KEPT, MAX_POINTS
from app.jobs.checkpoints import CheckpointService
from app.jobs.schemas import (
    AnalysisRead,
    CheckpointList,
    JobCreate,
    JobEventRead,
    JobPlan,
    JobProgress,
    JobRead,
    JobResume,
    Metrics,
)
from app.jobs.service import JobService
from app.jobs.states import JobStatus
from app.jobs.watchdog import WatchPolicy
from app.kit.markers import marker
from app.kit.pagination import Page, Slice

router = APIRouter(prefix="/v1/jobs", tags=["Jobs"], route_class=IdempotentRoute)

LastEventId = Annotated[str | None, Header(max_length=60, description="For streams: go on behind this event.")]
NOTHING_ACCEPTED: Final = JobResume()
"""The body of a resume that has none."""
_POINTS_STREAM: Final = stream_responses(
    "The curve",
    "event: points\n"
    'data: {"object":"job.points","job":"job_01kz8q7v1efn9s0a2b3c4d5e6f",'
    '"points":[{"step":10,"values":{"train_loss":1.4}}]}\n'
    "id: 7-10\n\n",
)
_EVENTS_STREAM: Final = stream_responses(
    "A page",
    "event: message\n"
    'data: {"object":"job.event","id":"jev_01kz8q7v1efn9s0a2b3c4d5e6f","type":"message","message":"Job started."}\n'
    "id: 3-jev_01kz8q7v1efn9s0a2b3c4d5e6f\n\n",
)


def _answer(request: Request, service: JobService, project_id: str, job: str, *, status: int = 200) -> Response:
    row = service.read(project_id, job)
    return answer(
        request,
        row,
        status=status,
        etag=etag_of(marker(row["id"], row["updated_at"])),
        location=f"/v1/jobs/{row['id']}" if status == 202 else None,
    )


@router.post(
    "",
    operation_id="createJob",
    summary="Train a model",
    status_code=202,
    response_model=JobRead,
    responses={200: {"model": JobPlan, "description": "The plan, when `dry_run` is true."}, **problems(404, 409)},
)
def create_job(
    *, request: Request, bench: Bench, caller: WriteJobs, new: JobCreate, reservation: ReservationId
) -> Response:
    """Checked and reserved at once, then taken to Azure by a worker; `status` tells how far it is.

    With `dry_run` nothing is made: the answer is the plan, every check with its verdict, and the cost range.
    """
    service = JobService(bench)
    if new.dry_run:
        return answer(request, service.plan(caller, new))
    job = service.create(caller, new, reservation_id=reservation)
    return _answer(request, service, caller.project_id, job, status=202)


@router.get(
    "", operation_id="listJobs", summary="List jobs", response_model=ListOf[JobRead], responses=problems(404)
)
def list_jobs(
    *,
    request: Request,
    bench: Bench,
    caller: ReadJobs,
    page: Annotated[Page, Depends(page_of("job"))],
    status: Annotated[JobStatus | None, Query(description="Only jobs in this status.")] = None,
    connection: Annotated[str | None, Query(max_length=200, description="Only jobs of this connection.")] = None,
) -> Response:
    """Newest first. No call to Azure."""
    rows = JobService(bench).page(caller.project_id, page, status=status, connection=connection)
    return answer_page(request, page, rows)


@router.get("/{job}", operation_id="getJob", summary="Read a job", response_model=JobRead)
def get_job(*, request: Request, bench: Bench, caller: ReadJobs, job: str) -> Response:
    """What is known now, from the database; never a call to Azure."""
    return _answer(request, JobService(bench), caller.project_id, job)


@router.post(
    "/{job}/cancel",
    operation_id="cancelJob",
    summary="Cancel a job",
    status_code=202,
    response_model=JobRead,
    responses=problems(409),
)
def cancel_job(*, request: Request, bench: Bench, caller: WriteJobs, job: str) -> Response:
    """Possible at any moment. Azure's word counts: a job that had finished first is `succeeded`."""
    service = JobService(bench)
    service.cancel(caller.project_id, job)
    return _answer(request, service, caller.project_id, job, status=202)


@router.post(
    "/{job}/pause",
    operation_id="pauseJob",
    summary="Pause a training",
    status_code=202,
    response_model=JobRead,
    responses=problems(409),
)
def pause_job(*, request: Request, bench: Bench, caller: WriteJobs, job: str) -> Response:
    """Azure allows it while running and after the first step."""
    service = JobService(bench)
    service.pause(caller.project_id, job)
    return _answer(request, service, caller.project_id, job, status=202)


@router.post(
    "/{job}/resume",
    operation_id="resumeJob",
    summary="Resume a training",
    status_code=202,
    response_model=JobRead,
    responses=problems(409),
)
def resume_job(
    *, request: Request, bench: Bench, caller: WriteJobs, job: str, wanted: JobResume = NOTHING_ACCEPTED
) -> Response:
    """Only a paused job. One that was paused for its cost goes on only for `accept_further_cost_usd`, which is set
    aside in the budget; its `paused_because` says what it has cost and what is left.
    """
    service = JobService(bench)
    service.resume(caller, job, wanted)
    return _answer(request, service, caller.project_id, job, status=202)


@router.put(
    "/{job}/watch",
    operation_id="putJobWatch",
    summary="Change what the watch-dog looks out for",
    response_model=JobRead,
    responses=problems(409),
)
def put_watch(*, request: Request, bench: Bench, caller: WriteJobs, job: str, policy: WatchPolicy) -> Response:
    """In force from the next look on. A rule that has fired fires again only on something new."""
    service = JobService(bench)
    service.set_watch(caller.project_id, job, policy)
    return _answer(request, service, caller.project_id, job)


@router.get(
    "/{job}/progress",
    operation_id="getJobProgress",
    summary="How far a job is, and what it has cost",
    response_model=JobProgress,
)
def get_progress(*, request: Request, bench: Bench, caller: ReadJobs, job: str) -> Response:
    """Steps, pace, when it will be done, what it has cost so far; while it waits, how long that usually takes."""
    return answer(request, JobService(bench).progress(caller.project_id, job))


@router.post(
    "/{job}/retry",
    operation_id="retryJob",
    summary="Look again at a parked job",
    status_code=202,
    response_model=JobRead,
    responses=problems(409),
)
def retry_job(*, request: Request, bench: Bench, caller: WriteJobs, job: str) -> Response:
    """After `parked_reason` was dealt with. Nothing is sent to Azure twice."""
    service = JobService(bench)
    service.retry(caller.project_id, job)
    return _answer(request, service, caller.project_id, job, status=202)


@router.get(
    "/{job}/events",
    operation_id="listJobEvents",
    summary="Read or follow what happened to a job",
    response_model=ListOf[EventRead],
    responses=STREAM_RESPONSES,
)
async def job_events(
    *,
    request: Request,
    bench: Bench,
    caller: ReadJobs,
    job: str,
    page: Annotated[Page, Depends(page_of("evt"))],
    last_event_id: LastEventId = None,
) -> Response:
    """Our log of this job: every status it had, and its progress with the newest measured values.

    With `Accept: text/event-stream` the answer stays open and brings everything from the start, then what comes.
    """
    await run_in_threadpool(JobService(bench).read, caller.project_id, job)
    if wants_stream(request):
        return await stream(
            request,
            bench,
            project_id=caller.project_id,
            subject_id=job,
            last_event_id=last_event_id or page.after,
            from_start=True,
        )
    return await run_in_threadpool(
        page_response, request, bench, page, project_id=caller.project_id, subject_id=job
    )


@router.get(
    "/{job}/remote-events",
    operation_id="listRemoteJobEvents",
    summary="Read or follow Azure's own job events",
    response_model=ListOf[JobEventRead],
    responses=_EVENTS_STREAM,
)
async def remote_job_events(
    *,
    request: Request,
    bench: Bench,
    caller: ReadJobs,
    job: str,
    page: Annotated[Page, Depends(page_of("jev"))],
    last_event_id: LastEventId = None,
) -> Response:
    """As Azure told them, newest first.

    With `Accept: text/event-stream` all of them, oldest first, then what comes, until the job has ended.
    """
    await run_in_threadpool(JobService(bench).read, caller.project_id, job)
    if wants_stream(request):
        look = live.events_stream(bench, caller.project_id, job, last_event_id)
        return answer_stream(request, look, look_seconds=live.LOOK_SECONDS)
    found = await run_in_threadpool(JobService(bench).event_page, caller.project_id, job, page)
    names = set(JobEventRead.model_fields) - {"object"}
    shown = [JobEventRead(**{name: getattr(row, name) for name in names}) for row in found.rows]
    return answer_page(request, page, Slice(shown, found.has_more))


@router.get(
    "/{job}/checkpoints",
    operation_id="listCheckpoints",
    summary="States of the model during the training",
    response_model=CheckpointList,
)
def list_checkpoints(*, request: Request, bench: Bench, caller: ReadJobs, job: str) -> Response:
    """All there ever were, oldest first: which is best by which rule, and which Azure would deploy now.

    Azure keeps the last three deployable, those of a paused training included. What it no longer lists stays here
    with what it measured.
    """
    return answer(request, CheckpointService(bench).board(caller.project_id, job))


@router.get(
    "/{job}/metrics",
    operation_id="getJobMetrics",
    summary="Read or follow the curve",
    response_model=Metrics,
    responses=_POINTS_STREAM,
)
async def get_metrics(
    *,
    request: Request,
    bench: Bench,
    caller: ReadJobs,
    job: str,
    points: Annotated[
        int | None,
        Query(
            ge=FEWEST_POINTS_KEPT,
            le=MAX_POINTS,
            description="At most so many points: of each stretch its lowest and highest value stay, so that no "
            "spike is lost. Left out: all of them.",
        ),
    ] = None,
    last_event_id: LastEventId = None,
) -> Response:
    """One list per measured name, aligned with `steps`; null where nothing was measured.

    With `Accept: text/event-stream` the answer stays open: `points` bring everything from the start and then what
    comes (a step comes again when it gains a value), `progress` how far the job is, `end` that it has ended.
    `Last-Event-ID` goes on behind the points seen last.
    """
    service = JobService(bench)
    if wants_stream(request):
        await run_in_threadpool(service.read, caller.project_id, job)
        look = live.points_stream(bench, caller.project_id, job, last_event_id)
        return answer_stream(request, look, look_seconds=live.LOOK_SECONDS)
    return await run_in_threadpool(_metrics, request, service, caller.project_id, job, points)


def _metrics(request: Request, service: JobService, project_id: str, job: str, points: int | None) -> Response:
    return answer(request, service.metrics(project_id, job, points=points))


@router.get(
    "/{job}/results.csv",
    operation_id="getResults",
    summary="Azure's results file",
    response_class=Response,
    responses={200: {"content": {"text/csv": {"schema": {"type": "string"}}}}},
)
def get_results(*, bench: Bench, caller: ReadJobs, job: str) -> Response:
    """Byte by byte as Azure wrote it."""
    content = JobService(bench).results_csv(caller.project_id, job)
    headers = {"Content-Disposition": as_attachment(f"{job}-results.csv")}
    return Response(content, media_type="text/csv; charset=utf-8", headers=headers)


@router.get(
    "/{job}/analysis",
    operation_id="getAnalysis",
    summary="What the curve says, and what to do",
    response_model=AnalysisRead,
)
def get_analysis(*, request: Request, bench: Bench, caller: ReadJobs, job: str) -> Response:
    """Kept once the training has ended; made afresh while it runs."""
    return answer(request, JobService(bench).analysis(caller.project_id, job))


@router.get(
    "/{job}/chart.svg",
    operation_id="getChart",
    summary="The curve as a picture",
    response_class=Response,
    responses={200: {"content": {"image/svg+xml": {"schema": {"type": "string"}}}}},
)
def get_chart(*, bench: Bench, caller: ReadJobs, job: str) -> Response:
    """SVG without scripts or outside references."""
    picture = JobService(bench).chart_svg(caller.project_id, job)
    headers = {"Content-Security-Policy": PICTURE_POLICY}
    return Response(picture, media_type="image/svg+xml", headers=headers)
