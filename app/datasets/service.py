"""What one can do with datasets: name them, add versions, check, change, compare."""

import hashlib
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from shutil import copyfileobj
from typing import Any, BinaryIO, Final

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import func
from sqlalchemy.orm import Session

from app.costs.estimates import Counts
from app.costs.schemas import DatasetEstimate
from app.datasets import engine, repository
from app.datasets.engine import reading
from app.datasets.engine.findings import ORDER
from app.datasets.engine.reading import How
from app.datasets.estimates import counts_of, estimate_of
from app.datasets.schemas import DatasetCreate, DatasetPatch, EstimateRequest, Method, VersionRead
from app.datasets.states import VERSION_LAW, VersionStatus
from app.datasets.tables import Dataset, DatasetVersion
from app.kit import care, named
from app.kit.care import Claim
from app.kit.clock import utc_now
from app.kit.errors import Conflict, FieldError, Invalid, KitaeError, NotFound, TooLarge
from app.kit.failpoints import failpoint
from app.kit.ids import is_id, new_id
from app.kit.markers import CheckMarker, any_marker
from app.kit.pagination import Page, Slice
from app.storage.port import MissingObject
from app.workbench import UnitOfWork, Workbench

DEFAULT_BASE_MODEL: Final = "gpt-4.1-mini-2025-04-14"
"""Whose limits a version is checked against when the upload names no model."""
COPY_BYTES: Final = 1 << 20
OTHERS_COMPARED_MAX: Final = 20
"""Other datasets of the project, the newest ones, that a version is compared with at the end of its check."""
NEARLY_COMPARED_EXAMPLES_MAX: Final = 200_000
"""Of both versions together: beyond them that end looks for the same words only (a second and 100 MB at most)."""
ANCESTORS_MAX: Final = 200
PROGRESS_SECONDS: Final = 2.0
"""How often a running check writes how far it is; the lease is renewed with it."""


@dataclass(slots=True)
class Upload:
    """Bytes on their way in; the version exists only when they are whole."""

    version_id: str
    file: BinaryIO
    limit_bytes: int
    size: int = 0
    digest: Any = field(default_factory=hashlib.sha256)

    def write(self, chunk: bytes) -> None:
        """Raises `TooLarge` beyond the limit; nothing of the upload is kept then."""
        self.size += len(chunk)
        if self.size > self.limit_bytes:
            raise TooLarge(
                f"The file is larger than {self.limit_bytes:,} bytes.",
                hint="Split it, or raise KITAE_UPLOAD_MAX_BYTES if Azure takes more by now.",
            )
        self.digest.update(chunk)
        self.file.write(chunk)


class DatasetService:
    """The datasets of a project."""

    def __init__(self, bench: Workbench) -> None:
        self._bench = bench

    # ── names ───────────────────────────────────────────────────────────────

    def create(self, project_id: str, wanted: DatasetCreate) -> Dataset:
        """Raises `Conflict` (`name_taken`)."""
        dataset = Dataset(
            id=new_id("ds"),
            project_id=project_id,
            name=wanted.name,
            method=wanted.method,
            description=wanted.description,
            labels=wanted.labels,
        )
        with self._bench.begin() as work:
            if named.find(work.session, Dataset, project_id, wanted.name):
                raise Conflict(f"A dataset named {wanted.name!r} exists already.", code="name_taken")
            repository.add(work.session, dataset)
            work.announce("dataset.created", project_id=project_id, subject_id=dataset.id, name=dataset.name)
        return dataset

    @staticmethod
    def obtain(work: UnitOfWork, project_id: str, name: str, method: Method) -> Dataset:
        """The dataset of this name, made within the caller's transaction where there is none.

        One that is there already may be of another method: the caller looks.
        """
        found = named.find(work.session, Dataset, project_id, name)
        if found is None:
            found = Dataset(id=new_id("ds"), project_id=project_id, name=name, method=method)
            repository.add(work.session, found)
            work.announce("dataset.created", project_id=project_id, subject_id=found.id, name=name)
        return found

    def get(self, project_id: str, ref: str) -> Dataset:
        with self._bench.read() as session:
            dataset = named.find(session, Dataset, project_id, ref)
        if dataset is None:
            raise NotFound(f"There is no dataset {ref!r} in this project.", code="dataset_not_found")
        return dataset

    def page(self, project_id: str, wanted: Page) -> Slice[Dataset]:
        with self._bench.read() as session:
            return named.page(session, Dataset, project_id, wanted)

    def change(
        self, project_id: str, ref: str, wanted: DatasetPatch, *, check: CheckMarker = any_marker
    ) -> Dataset:
        """Raises `Stale` when `check` was given another state than the row's."""
        dataset = self.get(project_id, ref)
        with self._bench.begin() as work:
            check(named.lock_marker(work.session, Dataset, dataset.id))
            values = wanted.model_dump(exclude_unset=True, exclude_none=True)
            named.change(work.session, Dataset, dataset.id, values)
            work.note("dataset.changed", project_id=project_id, subject_id=dataset.id, fields=sorted(values))
        return self.get(project_id, dataset.id)

    def archive(self, project_id: str, ref: str, *, check: CheckMarker = any_marker) -> None:
        """Hide the dataset; its versions stay, because jobs and models point at them."""
        dataset = self.get(project_id, ref)
        with self._bench.begin() as work:
            check(named.lock_marker(work.session, Dataset, dataset.id))
            named.change(work.session, Dataset, dataset.id, {"archived_at": func.clock_timestamp()})
            work.announce("dataset.archived", project_id=project_id, subject_id=dataset.id, name=dataset.name)

    # ── versions ────────────────────────────────────────────────────────────

    @contextmanager
    def receive(self) -> Iterator[Upload]:
        """A place for the bytes of a new version; they are on disk, or gone, when the context ends."""
        version_id = new_id("dsv")
        with self._bench.storage.writer(f"datasets/{version_id}/raw") as file:
            yield Upload(version_id=version_id, file=file, limit_bytes=self._bench.policy.upload_bytes_max)

    def add_version(
        self,
        project_id: str,
        ref: str,
        upload: Upload,
        *,
        original_name: str | None,
        base_model: str | None,
        lineage: dict[str, Any] | None = None,
        how: How | None = None,
    ) -> tuple[DatasetVersion, bool]:
        """Make the received bytes a version and have it checked.

        Args:
            how: what the caller says of a file that is not JSON Lines.

        Returns:
            The version and True, or the version that has the same bytes already and False.
        """
        try:
            dataset = self.get(project_id, ref)
            model = self.known_model(base_model)
            with self._bench.begin() as work:
                version, fresh = self.place(
                    work,
                    dataset,
                    upload,
                    original_name=original_name,
                    base_model=model,
                    lineage=with_how(lineage or {"source": "upload"}, how),
                )
        except KitaeError:
            self.forget(upload)
            raise
        if not fresh:
            self.forget(upload)
        return version, fresh

    def place(
        self,
        work: UnitOfWork,
        dataset: Dataset,
        upload: Upload,
        *,
        original_name: str | None,
        base_model: str,
        lineage: dict[str, Any],
    ) -> tuple[DatasetVersion, bool]:
        """`add_version` within the caller's transaction; who gets False must `forget` the upload after it.

        Args:
            base_model: an id of the catalogue, as `known_model` answers it.
            lineage: with what `with_how` adds, if the caller says how the bytes are read.
        """
        named.lock_marker(work.session, Dataset, dataset.id)  # two uploads of the same bytes must see each other
        digest = upload.digest.hexdigest()
        same = repository.find_same(
            work.session, dataset.id, sha256=digest, base_model=base_model, how=lineage.get("how", {})
        )
        if same is not None:
            return same, False
        version = DatasetVersion(
            id=upload.version_id,
            project_id=dataset.project_id,
            dataset_id=dataset.id,
            number=repository.next_number(work.session, dataset.id),
            status=VersionStatus.CHECKING,
            original_name=original_name,
            base_model=base_model,
            bytes=upload.size,
            sha256=digest,
            lineage=lineage,
            next_check_at=func.clock_timestamp(),
        )
        repository.add(work.session, version)
        work.announce(
            "dataset.version.checking",
            project_id=version.project_id,
            subject_id=version.id,
            dataset=dataset.name,
            number=version.number,
            bytes=upload.size,
        )
        work.nudge("datasets.check", version.id)
        return version, True

    def forget(self, upload: Upload) -> None:
        """Throw received bytes away that became no version."""
        self._bench.storage.delete(f"datasets/{upload.version_id}/raw")

    def known_model(self, name: str | None) -> str:
        """The catalogue's id for a base model's name or alias. Raises `Invalid` (`unknown_model`)."""
        base = self._bench.catalogue.find(name or DEFAULT_BASE_MODEL)
        if base is None:
            detail = f"{name!r} is not a base model in the catalogue."
            raise Invalid(
                detail,
                code="unknown_model",
                hint="GET /v1/base-models lists what there is; an operator can add to the catalogue file.",
                errors=[FieldError(pointer="/model", detail=detail, code="unknown_model")],
            )
        return base.id

    def version(self, project_id: str, ref: str) -> DatasetVersion:
        """`dsv_…`, `name@3`, `ds_…@3`, or a dataset's name or id for its newest ready version (else its newest)."""
        with self._bench.read() as session:
            if is_id(ref, "dsv"):
                found = repository.find_version(session, project_id, ref)
            else:
                name, _, number = ref.partition("@")
                dataset = named.find(session, Dataset, project_id, name)
                if dataset is None:
                    raise NotFound(f"There is no dataset {name!r} in this project.", code="dataset_not_found")
                if number:
                    found = (
                        repository.find_numbered(session, dataset.id, int(number))
                        if number.isascii() and number.isdigit() and len(number) < 10
                        else None
                    )
                else:
                    found = repository.newest(session, dataset.id, ready=True) or repository.newest(
                        session, dataset.id, ready=False
                    )
        if found is None:
            raise NotFound(f"There is no dataset version {ref!r} in this project.", code="version_not_found")
        return found

    def version_page(self, project_id: str, ref: str, wanted: Page) -> Slice[DatasetVersion]:
        dataset = self.get(project_id, ref)
        with self._bench.read() as session:
            return repository.version_page(session, dataset.id, wanted)

    def describe(self, version: DatasetVersion) -> VersionRead:
        """The version as callers see it."""
        with self._bench.read() as session:
            dataset = repository.dataset_of(session, version)
        report = version.report or {}
        counts: dict[str, int] = {"error": 0, "warning": 0, "note": 0}
        for finding in report.get("findings", []):
            counts[finding["severity"]] += 1
        return VersionRead(
            id=version.id,
            dataset=dataset.id,
            dataset_name=dataset.name,
            method=dataset.method,
            number=version.number,
            status=version.status,
            original_name=version.original_name,
            base_model=version.base_model,
            bytes=version.bytes,
            sha256=version.sha256,
            content_bytes=version.content_bytes,
            content_sha256=version.content_sha256,
            examples=version.examples,
            tokens=version.tokens,
            checked_bytes=version.checked_bytes,
            verdict=report.get("verdict"),
            format=report.get("format"),
            reading=report.get("reading"),
            findings=counts,
            lineage=version.lineage,
            parked_reason=version.parked_reason,
            last_error=version.last_error,
            created_at=version.created_at,
            checked_at=version.checked_at,
        )

    def report(self, project_id: str, ref: str) -> dict[str, Any]:
        """The check's report. Raises `Conflict` (`still_checking`)."""
        version = self.version(project_id, ref)
        if version.report is None:
            raise Conflict("The version is still being checked.", code="still_checking", retry_after_seconds=1)
        return version.report

    @contextmanager
    def content(self, project_id: str, ref: str) -> Iterator[tuple[DatasetVersion, BinaryIO]]:
        """The cleaned content of a version. Raises `Conflict` (`still_checking`)."""
        version = self.version(project_id, ref)
        if version.content_sha256 is None:
            raise Conflict("The version is still being checked.", code="still_checking", retry_after_seconds=1)
        with self._bench.storage.reader(version.content_key) as file:
            yield version, file

    @contextmanager
    def original(self, project_id: str, ref: str) -> Iterator[tuple[DatasetVersion, BinaryIO]]:
        """The bytes as they were sent, of a version whose content was converted from them.

        Raises:
            Conflict: the version is still being checked (`still_checking`).
            NotFound: its content is what was sent, but for a byte-order mark (`no_original`).
        """
        version = self.version(project_id, ref)
        if version.report is None:
            raise Conflict("The version is still being checked.", code="still_checking", retry_after_seconds=1)
        try:
            with self._bench.storage.reader(version.original_key) as file:
                yield version, file
        except MissingObject:
            raise NotFound(
                "The content of this version is what was sent.",
                code="no_original",
                hint="Leave `original` out.",
            ) from None

    # ── the check, by a worker ──────────────────────────────────────────────

    def check(self, version_id: str) -> None:
        """Read the whole version once and write what was found."""
        self._bench.tend(DatasetVersion, version_id, self._check_step, noun="dataset.version")

    def profile(self, base_model: str, method: str) -> engine.Profile:
        """What a version is checked against: the model's tokenizer and limits, the method's rules."""
        base = self._bench.catalogue.find(base_model)
        limits = engine.Limits(
            tokens_per_example=base.tokens_per_example if base else None,
            file_bytes_max=self._bench.catalogue.limits.file_bytes,
            examples_min=self._bench.catalogue.limits.examples_min,
            examples_with_images_max=self._bench.catalogue.limits.examples_with_images,
            tokens_times_epochs_max=self._bench.catalogue.limits.tokens_times_epochs,
        )
        tokenizer = base.tokenizer if base else "o200k_base"
        return engine.Profile(
            tokenizer=tokenizer if tokenizer in ("o200k_base", "cl100k_base") else "estimate",  # type: ignore[arg-type]
            limits=limits,
            method=method,  # type: ignore[arg-type]  # the schema lets no other in
        )

    def _check_step(self, held: Claim) -> None:
        failpoint("datasets.check.claimed")
        with self._bench.read() as session:
            version = repository.get_unscoped(session, held.row_id)
            method = repository.dataset_of(session, version).method
        profile = self.profile(version.base_model, method)
        storage = self._bench.storage
        last = time.monotonic()

        def progress(read_bytes: int) -> None:
            nonlocal last
            if time.monotonic() - last < PROGRESS_SECONDS:
                return
            last = time.monotonic()
            with self._bench.begin() as work:
                care.write(work.session, held, checked_bytes=read_bytes)
                care.extend(work.session, held, lease_seconds=self._bench.policy.lease_seconds)

        with (
            storage.reader(version.raw_key) as raw,
            storage.writer(version.content_key) as cleaned,
            storage.writer(version.fingerprints_key) as fingerprints,
            storage.writer(version.sketches_key) as sketches,
        ):
            report = reading.check_any(
                raw,
                profile,
                reading.how_of(**version.lineage.get("how", {})),
                as_version=True,
                bounds=reading.Bounds(
                    unpacked_bytes_max=self._bench.policy.unpacked_bytes_max,
                    unpack_ratio_max=self._bench.policy.unpack_ratio_max,
                ),
                on_progress=progress,
                copy_to=cleaned,
                fingerprints=fingerprints,
                sketches=sketches,
            )
        if report.reading is not None:  # the content is not what was sent, or nothing
            with storage.reader(version.raw_key) as raw, storage.writer(version.original_key) as original:
                copyfileobj(raw, original, COPY_BYTES)
        with storage.reader(version.content_key) as content:
            repeated = engine.repeated_text(content, report.bytes, profile.tokenizer)
        report.stats["repeated_prompt"] = asdict(repeated)
        report.findings[:] = sorted(
            [*report.findings, *self._shared_with_others(held, version, report)],
            key=lambda one: ORDER[one.severity],
        )
        self._store_once(version, report.sha256)
        failpoint("datasets.check.checked")
        self._record_check(held, version, report)
        storage.delete(version.raw_key)

    def _shared_with_others(
        self, held: Claim, version: DatasetVersion, report: engine.Report
    ) -> list[engine.Finding]:
        """What stands in other datasets of the project too, but for those that this version was made from.

        Of a version that is ready: only there the n-th fingerprint is that of line n.
        """
        if report.verdict != "ready":
            return []
        with self._bench.read() as session:
            ancestors = _ancestors(session, version)
            others = [
                (f"{name}@{other.number}", other)
                for name, other in repository.newest_of_others(session, version, limit=OTHERS_COMPARED_MAX)
                if other.id not in ancestors
            ]
        found = []
        for name, other in others:
            with self._bench.begin() as work:
                care.extend(work.session, held, lease_seconds=self._bench.policy.lease_seconds)
            exact = self._exact_pairs(other, version)
            near: dict[int, int] = {}
            if (other.examples or 0) + report.examples <= NEARLY_COMPARED_EXAMPLES_MAX:
                lines = np.array(list(exact), dtype=np.int64)
                near = self._near_pairs(other, version, report.stats["lines"], without=lines)
            found.append(engine.Overlap(name, exact, near))
        return engine.overlap_findings(found)

    def _exact_pairs(self, other: DatasetVersion, version: DatasetVersion) -> dict[int, int]:
        """Line of `version` -> line of `other` with the same example."""
        storage = self._bench.storage
        with storage.reader(other.fingerprints_key) as theirs, storage.reader(version.fingerprints_key) as ours:
            return {here + 1: there + 1 for there, here in engine.shared_examples(theirs, ours)}

    def _near_pairs(
        self, other: DatasetVersion, version: DatasetVersion, lines: int, *, without: NDArray[np.int64]
    ) -> dict[int, int]:
        with ExitStack() as stack:
            try:
                theirs = self._sketched(other, (other.report or {}).get("stats", {}).get("lines", 0), stack)
                ours = self._sketched(version, lines, stack)
            except MissingObject:  # checked before sketches were kept
                return {}
            return {
                here: mate.line for here, mate in engine.near_leaks(theirs, ours, without=without).mates.items()
            }

    def _sketched(self, version: DatasetVersion, lines: int, stack: ExitStack) -> engine.Sketched:
        sketches = stack.enter_context(self._bench.storage.reader(version.sketches_key))
        return engine.Sketched(sketches, partial(self._lines, version), lines)

    def _store_once(self, version: DatasetVersion, content_sha256: str) -> None:
        """Where any version has this content already, rest in the same place.

        It was uploaded and checked like any other before, so that nobody can tell from what we do and answer, nor
        from how long it takes, that somebody else has the same bytes.
        """
        with self._bench.read() as session:
            same = repository.find_same_content(session, version.id, content_sha256)
        if same is not None:
            self._bench.storage.share(version.content_key, same.content_key)

    def _record_check(self, held: Claim, version: DatasetVersion, report: engine.Report) -> None:
        wanted = VersionStatus.READY if report.verdict == "ready" else VersionStatus.REJECTED
        VERSION_LAW.check(VersionStatus(version.status), wanted)
        with self._bench.begin() as work:
            care.finish(
                work.session,
                held,
                check_in_seconds=None,
                status=wanted,
                checked_bytes=version.bytes,
                content_bytes=report.bytes,
                content_sha256=report.sha256,
                examples=report.examples,
                tokens=report.tokens.total,
                report=report.to_json(),
                checked_at=func.clock_timestamp(),
            )
            work.announce(
                f"dataset.version.{wanted}",
                project_id=version.project_id,
                subject_id=version.id,
                **{"from": version.status, "to": wanted},
                examples=report.examples,
                tokens=report.tokens.total,
            )

    # ── questions about versions ────────────────────────────────────────────

    def estimate(self, project_id: str, ref: str, wanted: EstimateRequest) -> DatasetEstimate:
        """What training on a version may cost, take and be worth.

        Raises:
            Conflict: it is still being checked.
            Invalid: see `estimates.estimate_of`.
        """
        counts = self._counts(self.version(project_id, ref))
        if wanted.validation is not None:
            other = self._counts(self.version(project_id, wanted.validation))
            counts = replace(counts, validation_examples=other.examples, validation_tokens=other.tokens)
        return estimate_of(self._bench.catalogue, counts, wanted, today=utc_now().date())

    def _counts(self, version: DatasetVersion) -> Counts:
        if version.report is None:
            raise Conflict("The version is still being checked.", code="still_checking", retry_after_seconds=1)
        described = self.describe(version)
        subject = f"{described.dataset_name}@{version.number}"
        return counts_of(version.report, subject=subject, method=described.method)

    def leakage(self, training: DatasetVersion, validation: DatasetVersion) -> dict[str, Any] | None:
        """The finding that validation examples also stand in the training data, or None."""
        if training.content_sha256 is None or validation.content_sha256 is None:
            raise Conflict("A version is still being checked.", code="still_checking", retry_after_seconds=1)
        storage = self._bench.storage
        with (
            storage.reader(training.fingerprints_key) as ours,
            storage.reader(validation.fingerprints_key) as theirs,
        ):
            finding = engine.leakage(ours, theirs)
        return asdict(finding) if finding else None

    def near_leakage(self, training: DatasetVersion, validation: DatasetVersion) -> dict[str, Any] | None:
        """The finding that validation examples stand in the training data in almost the same words, or None.

        None also for versions that were checked before sketches were kept.
        """
        storage = self._bench.storage
        with ExitStack() as stack:
            try:
                sketched = [
                    self._sketched(version, (version.report or {}).get("stats", {}).get("lines", 0), stack)
                    for version in (training, validation)
                ]
            except MissingObject:
                return None
            ours = stack.enter_context(storage.reader(training.fingerprints_key))
            theirs = stack.enter_context(storage.reader(validation.fingerprints_key))
            exact = np.array([at + 1 for _, at in engine.shared_examples(ours, theirs)], dtype=np.int64)
            finding = engine.near_leakage(*sketched, without=exact)
        return asdict(finding) if finding else None

    def _lines(self, version: DatasetVersion) -> Iterator[bytes]:
        with self._bench.storage.reader(version.content_key) as content:
            yield from engine.plain_lines(content, engine.Limits().line_bytes_max)


def _ancestors(session: Session, version: DatasetVersion) -> set[str]:
    """Ids of the versions that this one was made from, and those were made from."""
    found: set[str] = set()
    left = [version]
    while left and len(found) < ANCESTORS_MAX:
        lineage = left.pop().lineage
        fresh = {one for one in (lineage.get("parent"), *lineage.get("others", ())) if one} - found
        found |= fresh
        left += [repository.get_unscoped(session, one) for one in sorted(fresh)]
    return found


def with_how(lineage: dict[str, Any], how: How | None) -> dict[str, Any]:
    """The lineage of a version whose bytes are read in a way that the caller said."""
    said = how.to_json() if how is not None else {}
    return {**lineage, "how": said} if said else lineage


def how_to_read(
    *,
    format: str | None,  # noqa: A002  as it is called in requests
    mapping: str | dict[str, Any] | None,
    encoding: str | None,
    sheet: str | None,
) -> How:
    """What a request says of a file. Raises `Invalid` (`bad_how`)."""
    try:
        return reading.how_of(format=format, mapping=mapping, encoding=encoding, sheet=sheet)
    except reading.BadHowError as error:
        raise Invalid(str(error), code="bad_how", hint=error.hint) from error
