"""What one can do about jobs that others made at Azure: see them, and have one adopted."""

import re
from typing import Any, Final, Literal

from app.adoptions import repository
from app.adoptions.schemas import AdoptedData, AdoptionRead, AdoptRemoteJob, RemoteJobList, RemoteJobRead
from app.adoptions.states import ADOPTION_LAW, AdoptionStatus
from app.adoptions.tables import Adoption
from app.azure.port import Refused, RemoteJob
from app.connections.service import ConnectionService, Traffic
from app.datasets.service import DatasetService
from app.jobs.tables import Job
from app.kit import care
from app.kit.caller import Caller
from app.kit.clock import utc_now
from app.kit.errors import Conflict, FieldError, Invalid, NotFound
from app.kit.pagination import Page, Slice
from app.upkeep.marks import is_tagged
from app.workbench import Workbench

REMOTE_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]*")
"""What Azure and OpenAI name jobs."""
BAD_REQUEST: Final = 400
"""Azure's answer to a page behind a job that it does not know."""


class AdoptionService:
    """The adoptions of a project."""

    def __init__(self, bench: Workbench) -> None:
        self._bench = bench
        self._connections = ConnectionService(bench)

    # ── what is there ───────────────────────────────────────────────────────

    def remote_jobs(self, project_id: str, ref: str, *, limit: int, after: str | None) -> RemoteJobList:
        """One page of Azure's list, through the gate of reads. Raises `AzureError`; `Invalid` for an `after` that
        Azure does not know.
        """
        connection = self._connections.get(project_id, ref)
        with self._connections.data(self._connections.target(connection), Traffic.READ) as azure:
            try:
                listed = list(next(iter(azure.list_jobs(page_size=limit, after=after)), ()))
            except Refused as error:
                if after is None or error.http_status != BAD_REQUEST:
                    raise
                raise _no_such_place(after) from error
        ids = [job.remote_id for job in listed]
        with self._bench.read() as session:
            rows = repository.followed(session, connection.endpoint, ids)
            asked = repository.by_remote_id(session, connection.id, ids)
        mine = [job for job in listed if not self._is_of_another(job, rows.get(job.remote_id), project_id)]
        return RemoteJobList(
            data=[self._shown(job, rows.get(job.remote_id), asked.get(job.remote_id)) for job in mine],
            left_out=len(listed) - len(mine),
            next_after=ids[-1] if len(listed) >= limit else None,
            read_at=utc_now(),
        )

    def _is_of_another(self, job: RemoteJob, row: Job | None, project_id: str) -> bool:
        """Whether another project of this installation made or follows it: then it is not this one's to see."""
        if row is not None:
            return row.project_id != project_id
        tagged = is_tagged(job.metadata, self._bench.policy.environment)
        return tagged and job.metadata.get("project") != project_id

    def _shown(self, job: RemoteJob, row: Job | None, asked: Adoption | None) -> RemoteJobRead:
        state: Literal["adoptable", "followed", "marked"] = "adoptable"
        if row is not None:
            state = "followed"
        elif is_tagged(job.metadata, self._bench.policy.environment):
            state = "marked"
        return RemoteJobRead(
            remote_id=job.remote_id,
            state=state,
            job=row.id if row is not None else None,
            adoption=asked.id if asked is not None else None,
            status=job.status,
            model=job.model,
            fine_tuned_model=job.fine_tuned_model,
            suffix=job.suffix,
            training_file=job.training_file,
            validation_file=validation_file(job),
            trained_tokens=job.trained_tokens,
            metadata=dict(job.metadata),
            created_at=job.created_at,
            finished_at=job.finished_at,
        )

    # ── adopting ────────────────────────────────────────────────────────────

    def adopt(self, caller: Caller, ref: str, remote_id: str, wanted: AdoptRemoteJob) -> AdoptionRead:
        """Have a worker bring the job in. Twice is no mistake; after a failure, or when parked, it begins anew.

        Raises:
            Conflict: this project follows the job already, and has not adopted it (`already_followed`).
            NotFound: no such connection or dataset version; or the job is another project's.
        """
        connection = self._connections.get(caller.project_id, ref)
        datasets = DatasetService(self._bench)
        for version in (wanted.training, wanted.validation):
            if version is not None:
                datasets.version(caller.project_id, version)
        if not REMOTE_ID.fullmatch(remote_id):
            raise no_such_remote_job(remote_id)
        with self._bench.read() as session:
            row = repository.followed(session, connection.endpoint, [remote_id]).get(remote_id)
        if row is not None and row.project_id != caller.project_id:
            raise no_such_remote_job(remote_id)
        with self._bench.begin() as work:
            asked, is_new = repository.ask(
                work.session,
                {
                    "project_id": caller.project_id,
                    "connection_id": connection.id,
                    "key_id": caller.key_id,
                    "remote_id": remote_id,
                    "wanted": wanted.model_dump(mode="json", exclude_none=True),
                    "status": AdoptionStatus.READING,
                    "next_check_at": care.in_seconds(0),
                },
            )
            if asked.status == AdoptionStatus.ADOPTED:
                return read(asked)
            if row is not None:
                raise Conflict(
                    f"This project follows it already, as {row.id}.", code="already_followed", hint=f"See {row.id}."
                )
            if not is_new:
                self._begin_anew(work.session, asked, caller, wanted)
            if is_new or asked.status == AdoptionStatus.FAILED:
                work.announce(
                    "job.adoption.reading",
                    project_id=caller.project_id,
                    subject_id=asked.id,
                    connection=connection.id,
                    remote_id=remote_id,
                )
            else:
                work.note(
                    "job.adoption.asked_again",
                    project_id=caller.project_id,
                    subject_id=asked.id,
                    remote_id=remote_id,
                )
            work.nudge("adoptions.advance", asked.id)
            adoption_id = asked.id
        return self.get(caller.project_id, adoption_id)

    @staticmethod
    def _begin_anew(session: Any, asked: Adoption, caller: Caller, wanted: AdoptRemoteJob) -> None:
        if asked.status == AdoptionStatus.FAILED:
            ADOPTION_LAW.check(AdoptionStatus.FAILED, AdoptionStatus.READING)
            values: dict[str, Any] = {
                "status": AdoptionStatus.READING,
                "key_id": caller.key_id,
                "wanted": wanted.model_dump(mode="json", exclude_none=True),
                "remote": None,
                "data": {},
                "error": None,
                "ended_at": None,
            }
            repository.begin_anew(session, asked.id, values)
        elif asked.parked_reason is not None:
            repository.begin_anew(session, asked.id, {})

    def get(self, project_id: str, adoption_id: str) -> AdoptionRead:
        """Raises `NotFound`."""
        with self._bench.read() as session:
            row = repository.find(session, project_id, adoption_id)
        if row is None:
            raise NotFound(f"There is no adoption {adoption_id!r} in this project.", code="adoption_not_found")
        return read(row)

    def page(self, project_id: str, wanted: Page, *, connection: str | None = None) -> Slice[AdoptionRead]:
        connection_id = self._connections.get(project_id, connection).id if connection else None
        with self._bench.read() as session:
            found = repository.page(session, project_id, wanted, connection_id=connection_id)
        return Slice([read(row) for row in found.rows], found.has_more)


def validation_file(job: RemoteJob) -> str | None:
    """Azure's id of the job's validation file."""
    named = job.raw.get("validation_file")
    return named if isinstance(named, str) and named else None


def read(row: Adoption) -> AdoptionRead:
    """The row as callers see it."""
    data = {role: AdoptedData.model_validate(settled) for role, settled in row.data.items() if settled}
    return AdoptionRead(
        id=row.id,
        connection=row.connection_id,
        remote_id=row.remote_id,
        status=AdoptionStatus(row.status),
        job=row.job_id,
        training=data.get("training"),
        validation=data.get("validation"),
        error=row.error,
        last_error=row.last_error if row.status == AdoptionStatus.READING else None,
        parked_reason=row.parked_reason,
        created_at=row.created_at,
        ended_at=row.ended_at,
    )


def no_such_remote_job(remote_id: str) -> NotFound:
    return NotFound(
        f"This resource shows this project no job {remote_id!r}.",
        code="remote_job_not_found",
        hint="GET /v1/connections/{connection}/remote-jobs lists what there is.",
    )


def _no_such_place(after: str) -> Invalid:
    detail = f"Azure has no job {after[:100]!r} behind which the list could go on."
    return Invalid(
        detail,
        code="unknown_cursor",
        hint="Pass the `next_after` of the page before.",
        errors=[FieldError(parameter="after", detail=detail, code="unknown_cursor")],
    )
