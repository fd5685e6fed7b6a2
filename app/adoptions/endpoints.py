"""HTTP for jobs that others made at Azure, and their adoption."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Request, Response

from app.adoptions.schemas import AdoptionRead, AdoptRemoteJob, RemoteJobList
from app.adoptions.service import REMOTE_ID, AdoptionService
from app.http.access import ReadConnections, ReadJobs, WriteJobs, require
from app.http.bench import Bench
from app.http.idempotency import IdempotentRoute
from app.http.openapi import problems
from app.http.paging import ListOf, answer_page, page_of
from app.http.responses import answer
from app.kit.pagination import Page

router = APIRouter(prefix="/v1", tags=["Adoptions"], route_class=IdempotentRoute)


@router.get(
    "/connections/{connection}/remote-jobs",
    operation_id="listRemoteJobs",
    summary="Azure's own list of jobs",
    response_model=RemoteJobList,
    responses=problems(429, 502),
)
def list_remote_jobs(
    *,
    request: Request,
    bench: Bench,
    caller: ReadConnections,
    connection: str,
    limit: Annotated[int, Query(ge=1, le=100, description="Most jobs that Azure is asked for.")] = 20,
    after: Annotated[
        str | None,
        Query(
            max_length=200,
            pattern=f"^{REMOTE_ID.pattern}$",
            description="Azure's id of the job behind which to go on.",
        ),
    ] = None,
) -> Response:
    """Live, one page: jobs of this project, jobs that can be adopted, and jobs that carry our mark without a row.

    What other projects of this installation made or follow on the same resource is counted and not shown.
    """
    found = AdoptionService(bench).remote_jobs(caller.project_id, connection, limit=limit, after=after)
    return answer(request, found)


@router.post(
    "/connections/{connection}/remote-jobs/{remote_job}/adopt",
    operation_id="adoptRemoteJob",
    summary="Follow a job that was made elsewhere",
    status_code=202,
    response_model=AdoptionRead,
    responses=problems(409),
    dependencies=[Depends(require("datasets:write"))],
)
def adopt_remote_job(
    *,
    request: Request,
    bench: Bench,
    caller: WriteJobs,
    connection: str,
    remote_job: Annotated[str, Path(max_length=200, description="Azure's id of the job.")],
    wanted: AdoptRemoteJob,
) -> Response:
    """A worker reads the job, makes dataset versions of its files, and from then on it is a job like any other.

    Where Azure does not give a file's content the data is unknown, and the adoption says why. Nothing is reserved
    and nothing settled: no budget here was asked for it. The key also needs `datasets:write`.
    """
    begun = AdoptionService(bench).adopt(caller, connection, remote_job, wanted)
    return answer(request, begun, status=202, location=f"/v1/adoptions/{begun.id}")


@router.get(
    "/adoptions",
    operation_id="listAdoptions",
    summary="List adoptions",
    response_model=ListOf[AdoptionRead],
    responses=problems(404),
)
def list_adoptions(
    *,
    request: Request,
    bench: Bench,
    caller: ReadJobs,
    page: Annotated[Page, Depends(page_of("adp"))],
    connection: Annotated[
        str | None, Query(max_length=200, description="Only those through this connection, by id or name.")
    ] = None,
) -> Response:
    """Those that have ended too."""
    return answer_page(request, page, AdoptionService(bench).page(caller.project_id, page, connection=connection))


@router.get(
    "/adoptions/{adoption}", operation_id="getAdoption", summary="Read an adoption", response_model=AdoptionRead
)
def get_adoption(*, request: Request, bench: Bench, caller: ReadJobs, adoption: str) -> Response:
    """How far it has come; `job` names the job once it is there."""
    return answer(request, AdoptionService(bench).get(caller.project_id, adoption))
