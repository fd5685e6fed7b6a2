"""The steps of an adoption, taken by workers under a claim: read the job, bring its files, write its row.

Everything at Azure is only read. A step that dies is taken again; what it brought and did not write down is
nobody's, and the janitor clears it away.
"""

import re
import time
from collections.abc import Callable
from pathlib import PurePosixPath
from typing import Any, Final, cast

import structlog
from sqlalchemy import func

from app.adoptions import repository
from app.adoptions.service import validation_file
from app.adoptions.states import ADOPTION_LAW, AdoptionStatus
from app.adoptions.tables import Adoption
from app.azure.payloads import job_from
from app.azure.port import AzureTarget, NotThere, Refused, RemoteFile, RemoteJob, is_of_credential
from app.connections.service import ConnectionService, Traffic
from app.datasets.files import mark_of
from app.datasets.service import DatasetService, Upload
from app.datasets.states import VersionStatus
from app.datasets.tables import Dataset, DatasetVersion
from app.jobs.adoption import JobAdoption, method_of
from app.kit import care
from app.kit.caller import Caller
from app.kit.care import Claim
from app.kit.db import storable
from app.kit.errors import Conflict, KitaeError, TooLarge
from app.kit.failpoints import failpoint
from app.kit.ids import new_id
from app.upkeep.marks import is_tagged
from app.workbench import UnitOfWork, Workbench

log = structlog.get_logger("kitae.adoptions")

CHECK_POLL_SECONDS: Final = 1.0
"""How often it is looked whether the brought versions have been checked."""
LEASE_EVERY_SECONDS: Final = 5.0
"""How often a download renews the lease."""
ROLES: Final = ("training", "validation")
NAME_CHARACTERS: Final = 64
"""Of a dataset's name."""


class _Problem(Exception):
    """Why a file becomes no version. The job is adopted all the same."""

    def __init__(self, code: str, message: str, remote: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.told = {"code": code, "message": message, **({"remote": remote} if remote else {})}


class _Hopeless(Exception):
    """Why the job cannot be adopted."""

    def __init__(self, code: str, message: str, hint: str) -> None:
        super().__init__(message)
        self.told = {"code": code, "message": message, "hint": hint}


class AdoptionSteps:
    """What workers do for adoptions."""

    def __init__(self, bench: Workbench) -> None:
        self._bench = bench
        self._policy = bench.policy
        self._connections = ConnectionService(bench)
        self._datasets = DatasetService(bench)

    def advance(self, adoption_id: str) -> None:
        """Take the adoption as far as it goes without waiting."""
        self._bench.tend(Adoption, adoption_id, self._step, noun="job.adoption")

    def _step(self, held: Claim) -> None:
        with self._bench.read() as session:
            row = repository.get_unscoped(session, held.row_id)
        if row.status != AdoptionStatus.READING:
            self._finish(held, check_in_seconds=None)
            return
        try:
            self._go_on(held, row)
        except _Hopeless as hopeless:
            self._fail(held, row, hopeless.told)
        except KitaeError as refused:  # a version, dataset or connection that is gone, or does not fit the job
            self._fail(held, row, {"code": refused.code, "message": refused.detail, "hint": refused.hint or ""})

    def _go_on(self, held: Claim, row: Adoption) -> None:
        if row.remote is None:
            self._read_job(held, row)
            return
        remote = job_from(row.remote)
        for role in ROLES:
            if role not in row.data:
                self._bring(held, row, remote, role)
                return
        versions = {role: self._version(row, role) for role in ROLES}
        if any(_is_being_checked(version) for version in versions.values()):
            self._finish(held, check_in_seconds=CHECK_POLL_SECONDS)
            return
        self._insert(held, row, versions["training"], versions["validation"])

    def _finish(self, held: Claim, *, check_in_seconds: float | None, **values: Any) -> None:
        with self._bench.begin() as work:
            care.finish(work.session, held, check_in_seconds=check_in_seconds, **values)

    # ── the job ─────────────────────────────────────────────────────────────

    def _read_job(self, held: Claim, row: Adoption) -> None:
        target = self._connections.target_of(row.connection_id)
        try:
            with self._connections.data(target, Traffic.READ) as azure:
                remote = azure.get_job(row.remote_id)
        except NotThere:
            raise _Hopeless(
                "not_at_azure",
                f"Azure knows no job {row.remote_id!r} on this resource.",
                "Look at GET /v1/connections/{connection}/remote-jobs for its id.",
            ) from None
        if is_tagged(remote.metadata, self._policy.environment):
            raise _marked()
        self._finish(held, check_in_seconds=0, remote=storable(dict(remote.raw)))
        failpoint("adoptions.job.read")

    # ── its files ───────────────────────────────────────────────────────────

    def _bring(self, held: Claim, row: Adoption, remote: RemoteJob, role: str) -> None:
        """Settle what data the job saw in this role: the version a person named, or the file, or unknown."""
        named = row.wanted.get(role)
        file_id = remote.training_file if role == "training" else validation_file(remote)
        if named is not None:
            version = self._datasets.version(row.project_id, named)
            self._settle(held, row, role, {"version": version.id, "file": file_id, "problem": None})
        elif file_id is None and role == "validation":
            self._settle(held, row, role, None)
        else:
            try:
                self._download(held, row, remote, role, file_id)
            except _Problem as problem:
                log.warning("adoption.data_unknown", id=row.id, role=role, code=problem.told["code"])
                self._settle(held, row, role, {"version": None, "file": file_id, "problem": problem.told})

    def _settle(self, held: Claim, row: Adoption, role: str, settled: dict[str, Any] | None) -> None:
        self._finish(held, check_in_seconds=0, data={**row.data, role: settled})

    def _download(self, held: Claim, row: Adoption, remote: RemoteJob, role: str, file_id: str | None) -> None:
        if file_id is None:
            raise _Problem("no_file_named", f"Azure names no {role} file of this job.")
        target = self._connections.target_of(row.connection_id)
        file = self._look(target, file_id, role)
        base_model = self._checked_for(remote)
        try:
            with self._datasets.receive() as upload:
                self._pour(held, target, file_id, upload)
        except TooLarge as error:
            raise _Problem("file_too_large", error.detail) from error
        except NotThere as error:
            raise _Problem("file_is_gone", f"Azure no longer has the {role} file.", error.remote) from error
        except Refused as error:
            if is_of_credential(error):
                raise
            raise _Problem(
                error.code, f"Azure does not give the {role} file's content: {error.message}", error.remote
            ) from error
        failpoint("adoptions.file.downloaded")
        fresh = False
        try:
            with self._bench.begin() as work:
                dataset = self._dataset(work, row, remote, role, file)
                version, fresh = self._datasets.place(
                    work,
                    dataset,
                    upload,
                    original_name=file.filename,
                    base_model=base_model,
                    lineage={
                        "source": "azure_file",
                        "connection": row.connection_id,
                        "file": file_id,
                        "job": row.remote_id,
                        "adoption": row.id,
                    },
                )
                settled = {"version": version.id, "file": file_id, "problem": None}
                care.finish(work.session, held, check_in_seconds=0, data={**row.data, role: settled})
        finally:
            if not fresh:
                self._datasets.forget(upload)
        failpoint("adoptions.file.recorded")

    def _look(self, target: AzureTarget, file_id: str, role: str) -> RemoteFile:
        try:
            with self._connections.data(target, Traffic.READ) as azure:
                file = azure.get_file(file_id)
        except NotThere as error:
            raise _Problem("file_is_gone", f"Azure no longer has the {role} file.", error.remote) from error
        mark = mark_of(file.filename or "")
        if mark is not None and mark.environment == self._policy.environment:
            raise _marked()
        if file.bytes is not None and file.bytes > self._policy.upload_bytes_max:
            raise _Problem("file_too_large", f"The {role} file has {file.bytes:,} bytes, more than is taken in.")
        return file

    def _pour(self, held: Claim, target: AzureTarget, file_id: str, upload: Upload) -> None:
        with self._connections.data(target, Traffic.READ) as azure:
            azure.read_file(file_id, self._kept_alive(held, upload), max_bytes=upload.limit_bytes)

    def _kept_alive(self, held: Claim, upload: Upload) -> Callable[[bytes], None]:
        """Writes into the upload and renews the lease, so that a slow download stays ours."""
        last = time.monotonic()

        def write(chunk: bytes) -> None:
            nonlocal last
            upload.write(chunk)
            if time.monotonic() - last > min(LEASE_EVERY_SECONDS, self._policy.lease_seconds / 3):
                last = time.monotonic()
                with self._bench.begin() as work:
                    care.extend(work.session, held, lease_seconds=self._policy.lease_seconds)

        return write

    def _checked_for(self, remote: RemoteJob) -> str:
        """The base model whose rules the data is checked by; the usual one where the catalogue lacks the job's."""
        base = self._bench.catalogue.find(remote.model or "")
        return self._datasets.known_model(base.id if base else None)

    def _dataset(self, work: UnitOfWork, row: Adoption, remote: RemoteJob, role: str, file: RemoteFile) -> Dataset:
        """The dataset that gets the file: the named one, or one named after the file; made where there is none."""
        method = method_of(remote)
        asked = row.wanted.get("dataset" if role == "training" else "validation_dataset")
        candidates = [asked] if asked else _names(file.filename or row.remote_id, role, method)
        for name in candidates:
            found = self._datasets.obtain(work, row.project_id, name, method)
            if found.method == method:
                return found
        raise Conflict(
            f"The dataset {candidates[-1]!r} holds data for another method, the job trains by {method}.",
            code="data-of-another-method",
            hint="Name another dataset and ask again.",
        )

    # ── its row ─────────────────────────────────────────────────────────────

    def _version(self, row: Adoption, role: str) -> DatasetVersion | None:
        settled = row.data[role]
        if settled is None or settled["version"] is None:
            return None
        return self._datasets.version(row.project_id, settled["version"])

    def _insert(
        self, held: Claim, row: Adoption, training: DatasetVersion | None, validation: DatasetVersion | None
    ) -> None:
        """The job and the end of its adoption in one transaction: there is never one without the other."""
        adoption = JobAdoption(self._bench)
        caller = Caller(project_id=row.project_id, key_id=row.key_id, scopes=frozenset())
        wanted = adoption.prepare_foreign(
            caller,
            job_id=new_id("job"),
            connection_id=row.connection_id,
            remote=cast("dict[str, Any]", row.remote),
            training=training,
            validation=validation,
        )
        endpoint = self._connections.target_of(row.connection_id).endpoint
        with self._bench.begin() as work:
            repository.hold_remote(work.session, endpoint, row.remote_id)
            followed = repository.followed(work.session, endpoint, [row.remote_id]).get(row.remote_id)
            if followed is not None:
                raise _taken(followed.id if followed.project_id == row.project_id else None)
            adoption.insert_foreign(work, wanted, adoption_id=row.id)
            self._end(work, held, row, AdoptionStatus.ADOPTED, job_id=wanted.id)
            self._tell(work, row, AdoptionStatus.ADOPTED, job=wanted.id)
        failpoint("adoptions.job.recorded")

    def _fail(self, held: Claim, row: Adoption, error: dict[str, Any]) -> None:
        with self._bench.begin() as work:
            self._end(work, held, row, AdoptionStatus.FAILED, error=error)
            self._tell(work, row, AdoptionStatus.FAILED, error=error["code"])

    @staticmethod
    def _end(work: UnitOfWork, held: Claim, row: Adoption, wanted: AdoptionStatus, **values: Any) -> None:
        ADOPTION_LAW.check(AdoptionStatus(row.status), wanted)
        care.finish(
            work.session,
            held,
            check_in_seconds=None,
            status=wanted,
            ended_at=func.clock_timestamp(),
            **values,
        )

    @staticmethod
    def _tell(work: UnitOfWork, row: Adoption, wanted: AdoptionStatus, **more: Any) -> None:
        work.announce(
            f"job.adoption.{wanted}",
            project_id=row.project_id,
            subject_id=row.id,
            **{"from": row.status, "to": str(wanted)},
            remote_id=row.remote_id,
            **more,
        )


def _is_being_checked(version: DatasetVersion | None) -> bool:
    return version is not None and version.status == VersionStatus.CHECKING and version.parked_reason is None


def _names(filename: str, role: str, method: str) -> list[str]:
    """What a dataset for this file may be called, the nicest first."""
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", PurePosixPath(filename).stem).strip("-_.")[:40].strip("-_.")
    name = stem or f"adopted-{role}"
    return [name, f"{name}-{role}", f"{name}-{method}"[:NAME_CHARACTERS]]


def _marked() -> _Hopeless:
    return _Hopeless(
        "carries_our_mark",
        "This installation made the job, and no row names it.",
        "It is a stray: sweep the connection, then decide under /v1/strays.",
    )


def _taken(job_id: str | None) -> _Hopeless:
    if job_id is None:
        return _Hopeless("not_at_azure", "This resource shows this project no such job.", "List the remote jobs.")
    return _Hopeless("already_followed", f"This project follows it already, as {job_id}.", f"See {job_id}.")
