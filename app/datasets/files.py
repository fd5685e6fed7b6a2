"""Azure's copies of dataset versions: made for one owner, found again by name, deleted when nobody needs them.

The owner (a job) holds a claim on its own row; every write here goes under that claim's fence.
"""

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import structlog

from app.azure.port import (
    AzureError,
    AzureTarget,
    Busy,
    NotThere,
    OutcomeUnknown,
    Refused,
    RemoteFile,
    SentParts,
    Throttled,
    Unauthorised,
)
from app.connections.service import ConnectionService, Traffic
from app.datasets import repository
from app.datasets.tables import DatasetVersion, RemoteFileRow
from app.kit import care
from app.kit.care import Claim
from app.kit.failpoints import failpoint
from app.kit.ids import new_id
from app.workbench import UnitOfWork, Workbench, describe

log = structlog.get_logger("kitae.files")

LOST_UPLOAD_SECONDS: Final = 30.0
"""How long a lost upload may take to show in the list before the bytes are sent again; a file costs nothing."""
UPLOAD_BYTES_PER_SECOND: Final = 1_000_000
"""The slowest line we wait for: the lease grows with the file's size by this."""
_NAME: Final = re.compile(
    r"kitae-(?P<env>[a-z0-9-]{1,24})-(?P<owner>[a-z]+_[0-9a-z]{26})-(?P<role>[a-z]+)-a(?P<attempt>[0-9]{1,9})\.jsonl"
)
_READY: Final = "processed"
_TORN: Final = "torn"
"""Not a word of Azure's: it had other bytes than were sent, and they were deleted there."""
_BROKEN: Final = frozenset({"error", "failed", "deleted", "deleting"})


@dataclass(frozen=True, slots=True, kw_only=True)
class FileStep:
    """How one look at a file ended: ready under `remote_id`, refused with `error`, or look again."""

    remote_id: str | None = None
    error: dict[str, Any] | None = None
    wait_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class FileMark:
    """What the name of a file at Azure says of it."""

    environment: str
    owner_id: str
    role: str
    attempt: int


def op_key(environment: str, owner_id: str, role: str, attempt: int) -> str:
    """The file's name at Azure, and its identity there: `kitae-prod-job_01…-training-a1.jsonl`.

    A file carries no metadata, so its name also says which installation it belongs to.
    """
    return f"kitae-{environment}-{owner_id}-{role}-a{attempt}.jsonl"


def mark_of(filename: str) -> FileMark | None:
    """What `op_key` put into a name; None for a name that it did not make."""
    found = _NAME.fullmatch(filename)
    return FileMark(found["env"], found["owner"], found["role"], int(found["attempt"])) if found else None


class FileService:
    """Uploads, finds, follows and deletes remote files."""

    def __init__(self, bench: Workbench) -> None:
        self._bench = bench
        self._connections = ConnectionService(bench)

    def _name(self, owner_id: str, role: str, attempt: int) -> str:
        return op_key(self._bench.policy.environment, owner_id, role, attempt)

    def advance(
        self, held: Claim, target: AzureTarget, version: DatasetVersion, *, owner_id: str, role: str, attempt: int
    ) -> FileStep:
        """One step of getting this version to Azure: at most one upload, or one look."""
        name = self._name(owner_id, role, attempt)
        with self._bench.read() as session:
            row = repository.find_file(session, name)
        if row is None:
            return self._upload(held, target, version, name, None, owner_id=owner_id, role=role, attempt=attempt)
        if row.remote_id is None:
            return self._find_lost(held, target, version, row)
        if row.remote_status == _READY:
            return FileStep(remote_id=row.remote_id)
        return self._follow(target, row)

    @staticmethod
    def try_again(work: UnitOfWork, owner_id: str) -> None:
        """A person says so: its files may be sent as often as new ones."""
        repository.forget_sends(work.session, owner_id)

    def _upload(
        self,
        held: Claim,
        target: AzureTarget,
        version: DatasetVersion,
        name: str,
        sent: SentParts | None,
        *,
        owner_id: str,
        role: str,
        attempt: int,
    ) -> FileStep:
        """Send the bytes; of a large file, what is not there yet."""
        size = version.content_bytes or version.bytes
        intent = {
            "id": new_id("rf"),
            "project_id": version.project_id,
            "connection_id": target.connection_id,
            "version_id": version.id,
            "owner_id": owner_id,
            "role": role,
            "attempt": attempt,
            "op_key": name,
            "bytes": size,
        }
        try:
            with (
                self._bench.storage.reader(version.content_key) as content,
                self._connections.data(target, Traffic.WRITE) as azure,
            ):
                self._write_intent(held, intent, size)
                failpoint("jobs.files.intent")
                try:
                    remote = azure.upload_file(
                        filename=name,
                        content=content,
                        purpose="fine-tune",
                        sent=sent,
                        keep=lambda parts: self._keep_parts(held, name, parts),
                    )
                except AzureError as error:
                    self._note(held, name, error)
                    raise
        except OutcomeUnknown as error:
            log.warning("file.outcome_unknown", name=name, error=error.message)
            return FileStep(wait_seconds=self._pause_seconds(name))
        except Refused as error:
            if sent is None or isinstance(error, Unauthorised):
                raise
            log.warning("file.parts_forgotten", name=name, error=error.message)
            self._keep_parts(held, name, None)
            return FileStep(wait_seconds=0.0)  # if the parts were put together after all, its name is found
        failpoint("jobs.files.uploaded")
        if not _is_whole(remote, size):
            return FileStep(wait_seconds=0.0)  # found by its name and deleted by the next step
        with self._bench.begin() as work:
            self._record(work, held, name, remote)
        failpoint("jobs.files.recorded")
        return FileStep(wait_seconds=self._bench.policy.file_poll_seconds)

    def _keep_parts(self, held: Claim, name: str, parts: SentParts | None) -> None:
        """Write down how far the upload is; the lease outlasts the slowest next part."""
        with self._bench.begin() as work:
            care.extend(work.session, held, lease_seconds=self._patience(parts.part_bytes if parts else 0))
            row = repository.find_file(work.session, name)
            if row is not None:
                repository.change_file(work.session, row.id, {"sent_parts": asdict(parts) if parts else None})
        if parts is not None and parts.part_ids and not parts.completing:
            failpoint("files.part.recorded")

    def _note(self, held: Claim, name: str, error: AzureError) -> None:
        """Keep what Azure said last. Where it says when to come back, that was no failure of the upload."""
        with self._bench.begin() as work:
            care.extend(work.session, held, lease_seconds=self._bench.policy.lease_seconds)
            row = repository.find_file(work.session, name)
            if row is not None:
                sends = max(row.sends - 1, 0) if isinstance(error, Throttled | Busy) else row.sends
                repository.change_file(work.session, row.id, {"sends": sends, "error": describe(error)})

    def _pause_seconds(self, name: str) -> float:
        """After an upload without an answer: longer each time."""
        with self._bench.read() as session:
            row = repository.find_file(session, name)
        sends = min(row.sends, 10) if row is not None else 1
        return min(2.0**sends, max(2.0, self._bench.policy.backoff_max_seconds))

    def _patience(self, size_bytes: int) -> float:
        return self._bench.policy.lease_seconds + size_bytes / UPLOAD_BYTES_PER_SECOND

    def _write_intent(self, held: Claim, intent: dict[str, Any], size_bytes: int) -> None:
        """From this commit on the file may be at Azure. The lease outlasts the slowest upload, or part of one."""
        policy = self._bench.policy
        in_parts = size_bytes >= policy.azure_parts_from_bytes
        patience = self._patience(min(size_bytes, policy.azure_part_bytes) if in_parts else size_bytes)
        with self._bench.begin() as work:
            care.extend(work.session, held, lease_seconds=patience)
            repository.add_file_intent(work.session, intent)

    def _record(self, work: UnitOfWork, held: Claim, name: str, remote: RemoteFile) -> None:
        care.extend(work.session, held, lease_seconds=self._bench.policy.lease_seconds)
        row = repository.find_file(work.session, name)
        if row is not None:
            repository.change_file(
                work.session,
                row.id,
                {
                    "remote_id": remote.remote_id,
                    "remote_status": remote.status,
                    "sent_parts": None,
                    "sends": 0,
                    "error": None,
                    "deleted_at": None,
                },
            )

    def _find_lost(self, held: Claim, target: AzureTarget, version: DatasetVersion, row: RemoteFileRow) -> FileStep:
        """An upload of which no end is known. One in parts that nobody asked Azure to put together made no file."""
        sent = _parts_of(row)
        if sent is not None and not sent.completing:
            return self._send_again(held, target, version, row, sent)
        found = self._named(target, row.op_key)
        whole = [file for file in found if _is_whole(file, row.bytes)]
        if whole:
            with self._bench.begin() as work:
                self._record(work, held, row.op_key, whole[0])
            return FileStep(wait_seconds=0.0)
        if found:
            return self._torn(held, target, row, found[0])
        with self._bench.read() as session:
            age = repository.file_age_seconds(session, row.id)
        settled = min(LOST_UPLOAD_SECONDS, self._bench.policy.settle_seconds)
        patience = min(
            settled * 2.0 ** min(max(row.sends - 1, 0), 10), max(settled, self._bench.policy.backoff_max_seconds)
        )
        if age < patience:
            return FileStep(wait_seconds=max(0.2, patience - age))
        return self._send_again(held, target, version, row, sent)

    def _send_again(
        self,
        held: Claim,
        target: AzureTarget,
        version: DatasetVersion,
        row: RemoteFileRow,
        sent: SentParts | None,
    ) -> FileStep:
        """Not for ever; every part that has arrived makes up for one time that it did not go well."""
        if row.sends >= self._bench.policy.park_after_failures + (len(sent.part_ids) if sent else 0):
            return FileStep(error=_unanswered(row))
        return self._upload(
            held, target, version, row.op_key, sent, owner_id=row.owner_id, role=row.role, attempt=row.attempt
        )

    def _torn(self, held: Claim, target: AzureTarget, row: RemoteFileRow, remote: RemoteFile) -> FileStep:
        """Azure has other bytes under our name: clear them away once; a second time nothing will help."""
        log.warning("file.torn", name=row.op_key, bytes=remote.bytes, wanted=row.bytes)
        if row.remote_status == _TORN:
            with self._bench.begin() as work:
                self._record(work, held, row.op_key, remote)
            return FileStep(error=_torn_error(row, remote))
        with self._connections.data(target, Traffic.STOP_MONEY) as azure:
            azure.delete_file(remote.remote_id)
        with self._bench.begin() as work:
            care.extend(work.session, held, lease_seconds=self._bench.policy.lease_seconds)
            repository.change_file(work.session, row.id, {"remote_status": _TORN})
        return FileStep(wait_seconds=0.0)

    def _named(self, target: AzureTarget, name: str) -> Sequence[RemoteFile]:
        """Azure's files of this name, oldest first."""
        with self._connections.data(target, Traffic.READ) as azure:
            found = [file for file in azure.list_files(purpose="fine-tune") if file.filename == name]
        return sorted(found, key=lambda file: (file.created_at is None, file.created_at, file.remote_id))

    def _follow(self, target: AzureTarget, row: RemoteFileRow) -> FileStep:
        assert row.remote_id is not None  # noqa: S101  the caller looked
        try:
            with self._connections.data(target, Traffic.READ) as azure:
                remote = azure.get_file(row.remote_id)
        except NotThere:
            return self._vanished(row)
        if remote.status != row.remote_status:
            with self._bench.begin() as work:
                repository.change_file(work.session, row.id, {"remote_status": remote.status})
        if not _is_whole(remote, row.bytes):
            return FileStep(error=_torn_error(row, remote))
        if remote.status == _READY:
            return FileStep(remote_id=row.remote_id)
        if remote.status in _BROKEN:
            return FileStep(
                error={
                    "code": "azure_file_refused",
                    "message": f"Azure could not process the {row.role} file (status {remote.status!r}).",
                    "hint": "Check the version's findings; Azure gives no reason here, the portal may show one.",
                    "remote": dict(remote.raw),
                }
            )
        return FileStep(wait_seconds=self._bench.policy.file_poll_seconds)

    def _vanished(self, row: RemoteFileRow) -> FileStep:
        """A fresh file may not show yet; an older one was deleted by somebody, so the bytes are sent again."""
        with self._bench.begin() as work:
            if repository.file_age_seconds(work.session, row.id) > LOST_UPLOAD_SECONDS:
                repository.change_file(work.session, row.id, {"remote_id": None, "remote_status": None})
        return FileStep(wait_seconds=self._bench.policy.file_poll_seconds)

    @staticmethod
    def adopt(
        work: UnitOfWork, mark: FileMark, version: DatasetVersion, *, connection_id: str, name: str, remote_id: str
    ) -> None:
        """Write down a file that Azure has and whose row is lost; it is deleted with its owner's others."""
        repository.add_file_intent(
            work.session,
            {
                "id": new_id("rf"),
                "project_id": version.project_id,
                "connection_id": connection_id,
                "version_id": version.id,
                "owner_id": mark.owner_id,
                "role": mark.role,
                "attempt": mark.attempt,
                "op_key": name,
                "bytes": version.content_bytes or version.bytes,
            },
        )
        row = repository.find_file(work.session, name)
        if row is not None:
            repository.change_file(work.session, row.id, {"remote_id": remote_id, "remote_status": _READY})

    @staticmethod
    def gone(work: UnitOfWork, file_id: str, remote_id: str, *, wanted_again: bool) -> bool:
        """Somebody deleted the file at Azure: keep that in mind, or have the bytes sent again.

        Returns:
            False when the row no longer says that the file is there.
        """
        return repository.file_gone(work.session, file_id, remote_id, wanted_again=wanted_again)

    # ── deletion ────────────────────────────────────────────────────────────

    def fence(self, held: Claim, target: AzureTarget, *, owner_id: str, attempt: int) -> None:
        """Delete the training file of one attempt, so that a lost POST of that attempt can never train.

        Source: Azure allows deleting a file that a job uses (authoring API 2025-04-01-preview, Files_Delete).
        """
        with self._bench.read() as session:
            row = repository.find_file(session, self._name(owner_id, "training", attempt))
        if row is not None and row.remote_id is not None and row.deleted_at is None:
            self._delete(held, target, row)

    def tidy_one(self, held: Claim, target: AzureTarget, *, owner_id: str) -> bool:
        """Delete one remote file of an owner that has ended. True when none is left."""
        with self._bench.read() as session:
            left = [row for row in repository.files_of(session, owner_id) if row.deleted_at is None]
        if not left:
            return True
        row = left[0]
        if row.remote_id is None:
            lost = self._named(target, row.op_key)
            if lost:
                with self._bench.begin() as work:
                    self._record(work, held, row.op_key, lost[0])
                return False
            with self._bench.begin() as work:
                care.extend(work.session, held, lease_seconds=self._bench.policy.lease_seconds)
                repository.change_file(work.session, row.id, {"deleted_at": care.in_seconds(0)})
            return len(left) == 1
        self._delete(held, target, row)
        return len(left) == 1

    def _delete(self, held: Claim, target: AzureTarget, row: RemoteFileRow) -> None:
        assert row.remote_id is not None  # noqa: S101  both callers looked
        with self._connections.data(target, Traffic.STOP_MONEY) as azure:
            azure.delete_file(row.remote_id)
        failpoint("jobs.tidy.deleted")
        with self._bench.begin() as work:
            care.extend(work.session, held, lease_seconds=self._bench.policy.lease_seconds)
            repository.change_file(
                work.session, row.id, {"deleted_at": care.in_seconds(0), "remote_status": "deleted"}
            )

    def remote_ids(self, owner_id: str) -> frozenset[str]:
        """Every file id ever recorded for an owner: one of the marks by which its job is known at Azure."""
        with self._bench.read() as session:
            return frozenset(row.remote_id for row in repository.files_of(session, owner_id) if row.remote_id)

    def remote_id_of(self, owner_id: str, role: str, attempt: int) -> str | None:
        """Azure's id of one file, or None while it has none."""
        with self._bench.read() as session:
            row = repository.find_file(session, self._name(owner_id, role, attempt))
        return row.remote_id if row else None


def _parts_of(row: RemoteFileRow) -> SentParts | None:
    kept = row.sent_parts
    return SentParts(**{**kept, "part_ids": tuple(kept["part_ids"])}) if kept else None


def _is_whole(remote: RemoteFile, size_bytes: int) -> bool:
    """Whether Azure has as many bytes as were sent. It may not say at first, and never tells a digest."""
    return remote.bytes is None or remote.bytes == size_bytes


def _unanswered(row: RemoteFileRow) -> dict[str, Any]:
    said = row.error or {}
    return {
        "code": "azure_upload_unanswered",
        "message": f"Azure did not take the {row.role} file, which was sent {row.sends} times.",
        "hint": "Create the job again once Azure answers; nothing was trained and nothing is billed.",
        "http_status": said.get("http_status"),
        "remote": said.get("remote"),
    }


def _torn_error(row: RemoteFileRow, remote: RemoteFile) -> dict[str, Any]:
    return {
        "code": "azure_file_torn",
        "message": f"Azure has {remote.bytes:,} bytes of the {row.role} file; {row.bytes:,} were sent.",
        "hint": "Create the job again. If it happens again, something between here and Azure changes uploads.",
        "remote": dict(remote.raw),
    }
