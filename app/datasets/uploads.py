"""Uploads in parts: bytes that may stop and go on until they are whole and become a version. It knows no door."""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Final, NoReturn

from app.datasets import repository
from app.datasets.engine.reading import How
from app.datasets.schemas import PART_BYTES_MAX, PartRead, UploadComplete, UploadCreate, UploadRead
from app.datasets.service import DatasetService, Upload, how_to_read, with_how
from app.datasets.states import UPLOAD_LAW, UploadStatus
from app.datasets.tables import Dataset, DatasetUpload, DatasetVersion, UploadPart, part_key
from app.kit import care
from app.kit.errors import Conflict, FieldError, Invalid, KitaeError, NotFound, TooLarge
from app.kit.failpoints import failpoint
from app.kit.ids import new_id
from app.storage.port import MissingObject
from app.workbench import Workbench

LIFE_SECONDS: Final = 24 * 3600.0
"""How long an upload waits for its parts."""
READ_BYTES: Final = 1 << 20
"""Read at once while parts are put together."""
SWEPT_AT_ONCE: Final = 200
"""Abandoned parts that the beginning of another upload takes along; more than one upload usually has."""
GAPS_NAMED: Final = 20
"""Missing parts that an error names."""


@dataclass(slots=True)
class IncomingPart:
    """A part whose bytes are arriving."""

    id: str
    dataset_id: str
    upload_id: str
    number: int
    file: BinaryIO
    limit_bytes: int
    size: int = 0
    digest: Any = field(default_factory=hashlib.sha256)

    def write(self, chunk: bytes) -> None:
        """Raises `TooLarge` beyond the limit; nothing of the part is kept then."""
        self.size += len(chunk)
        if self.size > self.limit_bytes:
            raise TooLarge(
                f"Part {self.number} is larger than {self.limit_bytes:,} bytes.",
                code="part_too_large",
                hint=f"A part holds at most {PART_BYTES_MAX:,} bytes, and no more than the whole upload announced.",
            )
        self.digest.update(chunk)
        self.file.write(chunk)

    def check(self, announced: Sequence[str]) -> None:
        """Raises `Invalid` (`part_empty`, `digest_mismatch`)."""
        if self.size == 0:
            raise Invalid(f"Part {self.number} is empty.", code="part_empty", hint="Send its bytes as the body.")
        found = self.digest.hexdigest()
        for wanted in announced:
            if found != wanted:
                raise Invalid(
                    f"Part {self.number} arrived with the SHA-256 {found}, but {wanted} was announced.",
                    code="digest_mismatch",
                    hint="Nothing of it was kept. Send the part again.",
                )


class UploadService:
    """Uploads of a project's datasets."""

    def __init__(self, bench: Workbench) -> None:
        self._bench = bench
        self._datasets = DatasetService(bench)

    def begin(self, project_id: str, ref: str, wanted: UploadCreate) -> UploadRead:
        """Refuses at once, so that nobody sends for hours in vain.

        Raises:
            TooLarge: more bytes than are taken.
            Conflict: the project has too many uploads open (`too_many_uploads`).
        """
        limit = self._bench.policy.upload_bytes_max
        if wanted.bytes > limit:
            raise TooLarge(
                f"The upload is to hold {wanted.bytes:,} bytes; at most {limit:,} are taken.",
                hint="Split it, or raise KITAE_UPLOAD_MAX_BYTES if Azure takes more by now.",
            )
        dataset = self._datasets.get(project_id, ref)
        model = self._datasets.known_model(wanted.model)
        self.sweep()
        if wanted.resume:
            with self._bench.read() as session:
                earlier = repository.find_resumable(
                    session, dataset.id, size=wanted.bytes, sha256=wanted.sha256 or "", base_model=model
                )
                if earlier is not None:
                    return _read(earlier, repository.received_parts(session, earlier.id))
        row = DatasetUpload(
            id=new_id("upl"),
            project_id=project_id,
            dataset_id=dataset.id,
            status=UploadStatus.RECEIVING,
            bytes=wanted.bytes,
            sha256=wanted.sha256,
            original_name=wanted.filename,
            base_model=model,
            expires_at=care.in_seconds(LIFE_SECONDS),
        )
        with self._bench.begin() as work:
            most = self._bench.policy.uploads_per_project_max
            if repository.open_uploads(work.session, project_id) >= most:
                raise Conflict(
                    f"The project has {most} uploads open, as many as it may.",
                    code="too_many_uploads",
                    hint="Complete or cancel one of them; an abandoned one ends after a day.",
                )
            repository.add(work.session, row)
            work.note("upload.begun", project_id=project_id, subject_id=row.id, dataset=dataset.id, bytes=row.bytes)
        return _read(row, ())

    def get(self, project_id: str, ref: str, upload_id: str) -> UploadRead:
        """With the parts that are there, so that a client knows where to go on."""
        dataset = self._datasets.get(project_id, ref)
        with self._bench.read() as session:
            row = self._known(repository.find_upload(session, dataset.id, upload_id), upload_id)
            parts = repository.received_parts(session, row.id) if _status(row) == UploadStatus.RECEIVING else ()
        return _read(row, parts)

    # ── parts ───────────────────────────────────────────────────────────────

    @contextmanager
    def receive_part(
        self, project_id: str, ref: str, upload_id: str, number: int, *, announced: Sequence[str] = ()
    ) -> Iterator[IncomingPart]:
        """A place for the bytes of a part; they are on disk, or gone, when the context ends. Then `keep_part`.

        Args:
            announced: SHA-256 digests in hexadecimal; the bytes must have every one of them.
        """
        dataset = self._datasets.get(project_id, ref)
        part_id = new_id("prt")
        with self._bench.begin() as work:
            row = self._known(repository.find_upload(work.session, dataset.id, upload_id), upload_id)
            _refuse_closed(row)
            repository.add(work.session, UploadPart(id=part_id, upload_id=row.id, number=number))
        try:
            with self._bench.storage.writer(part_key(part_id)) as file:
                limit = min(PART_BYTES_MAX, row.bytes)
                part = IncomingPart(part_id, dataset.id, row.id, number, file, limit_bytes=limit)
                yield part
                part.check(announced)
        except BaseException:
            self._discard([part_id])
            raise

    def keep_part(self, part: IncomingPart) -> PartRead:
        """Make the stored bytes the part of their number, in place of what it had before.

        Raises:
            TooLarge: with it, the parts hold more than the upload announced.
            Conflict: the upload was completed or cancelled while the bytes came.
        """
        try:
            with self._bench.begin() as work:
                found = repository.find_upload(work.session, part.dataset_id, part.upload_id, lock=True)
                row = self._known(found, part.upload_id)
                _refuse_closed(row)
                there = repository.received_parts(work.session, row.id)
                _refuse_surplus(row, part.size + sum(one.bytes or 0 for one in there if one.number != part.number))
                kept = repository.part_received(
                    work.session, part.id, size=part.size, sha256=part.digest.hexdigest()
                )
                replaced = repository.replaced_parts(work.session, row.id, number=part.number, by=part.id)
        except KitaeError:
            self._discard([part.id])
            raise
        self._discard(replaced)
        return _read_part(kept)

    # ── the end ─────────────────────────────────────────────────────────────

    def complete(
        self, project_id: str, ref: str, upload_id: str, wanted: UploadComplete
    ) -> tuple[DatasetVersion, bool]:
        """Put the parts together and have them checked as a version. After any failure it may be repeated.

        Returns:
            The version and True, or the version that has the same bytes already and False.

        Raises:
            Conflict: parts are missing, or the upload was cancelled or has expired.
            Invalid: the bytes are not what was announced.
        """
        dataset = self._datasets.get(project_id, ref)
        how = how_to_read(
            format=wanted.format, mapping=wanted.mapping, encoding=wanted.encoding, sheet=wanted.sheet
        )
        with self._bench.read() as session:
            row = self._known(repository.find_upload(session, dataset.id, upload_id), upload_id)
            parts = repository.received_parts(session, row.id)
        if row.version_id is not None:
            return self._datasets.version(project_id, row.version_id), False
        _refuse_closed(row)
        chosen = _choose(parts, wanted.parts)
        _refuse_incomplete(row, chosen)
        with self._datasets.receive() as upload:
            self._assemble(upload, chosen)
            _check_digest(upload, [digest for digest in (wanted.sha256, row.sha256) if digest is not None])
        failpoint("uploads.complete.assembled")
        try:
            version, fresh = self._record(dataset, row.id, upload, chosen, how)
        except KitaeError:
            self._datasets.forget(upload)
            raise
        failpoint("uploads.complete.recorded")
        if version.id != upload.version_id:
            self._datasets.forget(upload)
        self._discard_all(row.id)
        return version, fresh

    def _assemble(self, upload: Upload, parts: Sequence[UploadPart]) -> None:
        try:
            for part in parts:
                with self._bench.storage.reader(part.key) as file:
                    while chunk := file.read(READ_BYTES):
                        upload.write(chunk)
        except MissingObject:
            _refuse_changed()

    def _record(
        self, dataset: Dataset, upload_id: str, upload: Upload, used: Sequence[UploadPart], how: How
    ) -> tuple[DatasetVersion, bool]:
        """The version and the end of the upload, in one transaction."""
        with self._bench.begin() as work:
            row = self._known(repository.find_upload(work.session, dataset.id, upload_id, lock=True), upload_id)
            if row.version_id is not None:
                done = repository.find_version(work.session, row.project_id, row.version_id)
                assert done is not None  # noqa: S101  a foreign key holds it
                return done, False
            _refuse_closed(row)
            UPLOAD_LAW.check(UploadStatus(row.status), UploadStatus.COMPLETED)
            there = {part.id for part in repository.received_parts(work.session, row.id)}
            if not there.issuperset(part.id for part in used):
                _refuse_changed()
            version, fresh = self._datasets.place(
                work,
                dataset,
                upload,
                original_name=row.original_name,
                base_model=row.base_model,
                lineage=with_how({"source": "upload", "upload": row.id}, how),
            )
            repository.change_upload(
                work.session, row.id, {"status": UploadStatus.COMPLETED, "version_id": version.id}
            )
        return version, fresh

    def cancel(self, project_id: str, ref: str, upload_id: str) -> None:
        """Give the upload up and delete its parts; again is no mistake. Raises `Conflict` (`upload_completed`)."""
        dataset = self._datasets.get(project_id, ref)
        with self._bench.begin() as work:
            row = self._known(repository.find_upload(work.session, dataset.id, upload_id, lock=True), upload_id)
            if row.version_id is not None:
                _refuse_closed(row)
            if row.status == UploadStatus.RECEIVING:
                UPLOAD_LAW.check(UploadStatus(row.status), UploadStatus.CANCELLED)
                repository.change_upload(work.session, row.id, {"status": UploadStatus.CANCELLED})
                work.note("upload.cancelled", project_id=project_id, subject_id=row.id)
        self._discard_all(row.id)

    def sweep(self) -> int:
        """Delete parts, of any project, whose upload has ended or expired; some at a time. Returns how many."""
        with self._bench.read() as session:
            abandoned = repository.abandoned_parts(session, limit=SWEPT_AT_ONCE)
        self._discard(abandoned)
        return len(abandoned)

    def _discard_all(self, upload_id: str) -> None:
        with self._bench.read() as session:
            ids = repository.part_ids(session, upload_id)
        self._discard(ids)

    def _discard(self, part_ids: Sequence[str]) -> None:
        """The objects first: a crash between the two leaves rows that are swept again, never a forgotten object."""
        if not part_ids:
            return
        for part_id in part_ids:
            self._bench.storage.delete(part_key(part_id))
        with self._bench.begin() as work:
            repository.delete_parts(work.session, part_ids)

    @staticmethod
    def _known(row: DatasetUpload | None, upload_id: str) -> DatasetUpload:
        if row is None:
            raise NotFound(f"There is no upload {upload_id!r} of this dataset.", code="upload_not_found")
        return row


def _status(row: DatasetUpload) -> str:
    return "expired" if row.status == UploadStatus.RECEIVING and row.is_over else row.status


def _read(row: DatasetUpload, parts: Sequence[UploadPart]) -> UploadRead:
    return UploadRead(
        id=row.id,
        dataset=row.dataset_id,
        status=_status(row),
        bytes=row.bytes,
        sha256=row.sha256,
        filename=row.original_name,
        model=row.base_model,
        received_bytes=row.bytes if row.version_id else sum(part.bytes or 0 for part in parts),
        parts=[_read_part(part) for part in parts],
        version=row.version_id,
        created_at=row.created_at,
        expires_at=row.expires_at,
    )


def _read_part(part: UploadPart) -> PartRead:
    return PartRead(number=part.number, bytes=part.bytes, sha256=part.sha256, received_at=part.received_at)


# ── refusals ────────────────────────────────────────────────────────────────


def _refuse_closed(row: DatasetUpload) -> None:
    status = _status(row)
    if status == UploadStatus.COMPLETED:
        raise Conflict(f"The upload is complete; it became {row.version_id}.", code="upload_completed")
    if status != UploadStatus.RECEIVING:
        raise Conflict(
            f"The upload was cancelled or has expired; it is {status}.",
            code=f"upload_{status}",
            hint="Begin a new one and send its parts again.",
        )


def _refuse_surplus(row: DatasetUpload, total: int) -> None:
    if total > row.bytes:
        raise TooLarge(
            f"With this part the upload would hold {total:,} bytes; it announced {row.bytes:,}.",
            code="upload_too_large",
            hint="Nothing of the part was kept. Cancel the upload and begin one of the right size.",
        )


def _refuse_changed() -> NoReturn:
    raise Conflict(
        "Parts were replaced, or the upload was ended, while it was put together.",
        code="upload_changed",
        hint="Look at the upload, then complete it again.",
        retry_after_seconds=1,
    )


def _choose(parts: Sequence[UploadPart], numbers: Sequence[int] | None) -> list[UploadPart]:
    """The parts named, in that order, or all of them. Raises `Invalid` for one that is not there or named twice."""
    if numbers is None:
        return list(parts)
    by_number = {part.number: part for part in parts}
    errors = []
    for index, number in enumerate(numbers):
        if number not in by_number:
            errors.append(_of_part(index, "part_missing", f"part {number} has not arrived"))
        elif number in numbers[:index]:
            errors.append(_of_part(index, "part_doubled", f"part {number} is named twice"))
    if errors:
        raise Invalid(
            f"The list of parts does not fit: {errors[0].detail}.",
            code=errors[0].code,
            hint="GET the upload to see which parts are there.",
            errors=errors,
        )
    return [by_number[number] for number in numbers]


def _of_part(index: int, code: str, detail: str) -> FieldError:
    return FieldError(pointer=f"/parts/{index}", code=code, detail=detail)


def _refuse_incomplete(row: DatasetUpload, parts: Sequence[UploadPart]) -> None:
    total = sum(part.bytes or 0 for part in parts)
    if total == row.bytes:
        return
    numbers = {part.number for part in parts}
    gaps = [str(number) for number in range(1, max(numbers, default=1)) if number not in numbers]
    missing = f" Missing before the last one: {', '.join(gaps[:GAPS_NAMED])}." if gaps else ""
    raise Conflict(
        f"The parts hold {total:,} of the {row.bytes:,} bytes that were announced.{missing}",
        code="upload_incomplete",
        hint="GET the upload to see which parts are there, send the others, then complete it again.",
    )


def _check_digest(upload: Upload, announced: Sequence[str]) -> None:
    found = upload.digest.hexdigest()
    for wanted in announced:
        if found != wanted:
            raise Invalid(
                f"The parts together have the SHA-256 {found}, but {wanted} was announced.",
                code="digest_mismatch",
                hint="Compare each part's sha256 in GET of the upload with your own, and send what differs again.",
            )
