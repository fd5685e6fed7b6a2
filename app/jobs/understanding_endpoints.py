"""HTTP for what trainings mean. Its paths come before `/v1/jobs/{job}`, which would take `compare` for a job."""

from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request, Response

from app.http.access import ReadJobs
from app.http.bench import Bench
from app.http.openapi import problems
from app.http.responses import answer, as_attachment
from app.http.security import PICTURE_POLICY
from app.jobs.analysis import FEWEST_POINTS_KEPT, MOST_RUNS, POLICY
from app.jobs.schemas import JobComparison
from app.jobs.understanding import FEWEST_COMPARED, Understanding

router = APIRouter(prefix="/v1/jobs", tags=["Jobs"])

Compared = Annotated[
    list[str],
    Query(
        alias="job",
        min_length=FEWEST_COMPARED,
        max_length=MOST_RUNS,
        description="Ids of the jobs, in the order in which they are told: `job=…&job=…`.",
    ),
]
SVG: Final[dict[int | str, dict[str, Any]]] = {200: {"content": {"image/svg+xml": {"schema": {"type": "string"}}}}}


@router.get(
    "/compare",
    operation_id="compareJobs",
    summary="In what jobs differ, and which learned best",
    response_model=JobComparison,
    responses=problems(404),
)
def compare_jobs(
    *,
    request: Request,
    bench: Bench,
    caller: ReadJobs,
    jobs: Compared,
    points: Annotated[
        int, Query(ge=FEWEST_POINTS_KEPT, le=5000, description="At most so many points of each curve.")
    ] = 500,
) -> Response:
    """Data, parameters, outcome and cost in one table, and the curves over the same steps."""
    return answer(request, Understanding(bench).compare(caller.project_id, jobs, points=points))


@router.get(
    "/compare.svg",
    operation_id="compareJobsChart",
    summary="Curves of jobs over one another",
    response_class=Response,
    responses={**SVG, **problems(404)},
)
def compare_jobs_chart(*, bench: Bench, caller: ReadJobs, jobs: Compared) -> Response:
    """SVG without scripts or outside references."""
    picture = Understanding(bench).overlay_svg(caller.project_id, jobs)
    headers = {"Content-Security-Policy": PICTURE_POLICY}
    return Response(picture, media_type="image/svg+xml", headers=headers)


@router.get(
    "/{job}/report.html",
    operation_id="getReport",
    summary="A page about a job that stands alone",
    response_class=Response,
    responses={200: {"content": {"text/html": {"schema": {"type": "string"}}}}},
)
def get_report(*, bench: Bench, caller: ReadJobs, job: str) -> Response:
    """Verdict, curve, evidence, next experiment, data, parameters and cost; needs no network, prints well."""
    page = Understanding(bench).report_html(caller.project_id, job)
    headers = {
        "Content-Security-Policy": f"{POLICY}; frame-ancestors 'none'; sandbox",
        "Content-Disposition": as_attachment(f"{job}.html"),
    }
    return Response(page, media_type="text/html; charset=utf-8", headers=headers)
