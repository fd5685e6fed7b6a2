"""What one can do with past trainings: tell one on a card, pack it, bring packed ones in, and read those."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from importlib.metadata import version as installed
from tempfile import SpooledTemporaryFile
from typing import Any, BinaryIO, Final, cast

from app.datasets.service import DatasetService
from app.datasets.tables import DatasetVersion
from app.exports import bundle, card, openai_shape, repository
from app.exports.bundle import Bundle, BundleRefused, Content
from app.exports.record import (
    ROLES,
    RUN,
    DataFacts,
    Record,
    RecordRefused,
    RunFacts,
    document,
    lines_of,
    moment,
    number,
)
from app.exports.schemas import ImportRead, RunDetail, RunRead
from app.exports.tables import ImportedRun
from app.jobs.service import JobService
from app.jobs.tables import Job
from app.kit.caller import Caller
from app.kit.db import storable
from app.kit.errors import Conflict, FieldError, Invalid, NotFound
from app.kit.ids import new_id
from app.kit.pagination import Page, Slice
from app.models.schemas import DataSource, ModelDetail
from app.models.service import ModelService
from app.workbench import UnitOfWork, Workbench

EVENTS_PAGE: Final = 1000
_UNNAMED: Final = re.compile(r"[^A-Za-z0-9._-]+")
HELD_BYTES: Final = 8 << 20
"""A bundle larger than this waits on disk while it is verified."""


class ExportService:
    """Cards, bundles and imported runs of a project."""

    def __init__(self, bench: Workbench) -> None:
        self._bench = bench
        self._datasets = DatasetService(bench)
        self._jobs = JobService(bench)
        self._models = ModelService(bench)

    # ── a model's record ────────────────────────────────────────────────────

    def record(self, project_id: str, ref: str) -> Record:
        """Everything known of the run that made a model. Raises `NotFound`."""
        model = self._models.read(project_id, ref)
        job = self._jobs.job(project_id, model.job)
        facts = self._facts(project_id, model, job)
        documents = {
            RUN: document(facts),
            "plan.json": document(job.plan),
            "remote.json": document(job.remote or {}),
            "events.jsonl": lines_of(self._events(project_id, job.id)),
            "points.jsonl": lines_of(
                {"step": point.step, **{name: number(value) for name, value in point.values.items()}}
                for point in self._jobs.results(project_id, job.id).points
            ),
            "checkpoints.json": document(
                [
                    {
                        "id": item.remote_id,
                        "step": item.step,
                        "model_name": item.model_name,
                        "metrics": item.metrics,
                        "created_at": moment(item.created_at),
                    }
                    for item in self._jobs.checkpoints(project_id, job.id)
                ]
            ),
            "ledger.json": document(self._ledger(project_id, job.id)),
        }
        if job.analysis is not None:
            documents["analysis.json"] = document(job.analysis)
        base = self._bench.catalogue.find(job.base_model)
        if base is not None:
            documents["catalogue.json"] = document(
                self._models.base_model(project_id, base.id).model_dump(mode="json")
            )
        with suppress(NotFound):  # Azure wrote none; the points tell the curve
            documents["results.csv"] = self._jobs.results_csv(project_id, job.id)
        return Record(documents)

    def _facts(self, project_id: str, model: ModelDetail, job: Job) -> RunFacts:
        remote = job.remote or {}
        made = model.lineage
        return RunFacts.model_validate(
            {
                "origin": "kitae",
                "id": model.id,
                "name": model.name,
                "status": job.status,
                "base_model": job.base_model,
                "method": job.method,
                "training_type": job.training_type,
                "model": {
                    "name": model.name,
                    "remote_name": model.remote_name,
                    "kind": model.kind,
                    "step": model.step,
                    "metrics": made.metrics,
                    "created_at": moment(model.created_at),
                },
                "job": {
                    "id": job.id,
                    "origin": job.origin,
                    "remote_id": job.remote_id,
                    "started_at": moment(job.started_at),
                    "metadata": job.user_metadata,
                },
                "hyperparameters": job.hyperparameters,
                "used_hyperparameters": remote.get("hyperparameters") or {},
                "choices": job.plan.get("choices") or [],
                "suffix": job.suffix,
                "seed": job.seed,
                "trained_tokens": job.trained_tokens,
                "cost_usd": None if job.cost_usd is None else format(job.cost_usd, "f"),
                "created_at": job.created_at,
                "finished_at": job.finished_at,
                "data": {
                    "training": self._data(project_id, made.training),
                    "validation": self._data(project_id, made.validation),
                },
                "made_by": f"kitae {installed('kitae')}",
            }
        )

    def _data(self, project_id: str, source: DataSource | None) -> DataFacts | None:
        if source is None:
            return None
        version = self._datasets.version(project_id, source.version)
        with self._bench.read() as session:
            dataset = repository.dataset(session, version.dataset_id)
        return DataFacts(
            dataset=dataset.name,
            number=version.number,
            sha256=version.sha256,
            content_sha256=version.content_sha256,
            content_bytes=version.content_bytes,
            examples=version.examples,
            tokens=version.tokens,
            labels=dataset.labels,
            lineage=version.lineage,
        )

    def _events(self, project_id: str, job_id: str) -> Iterator[dict[str, Any]]:
        page = Page(limit=EVENTS_PAGE, descending=False)
        while True:
            found = self._jobs.event_page(project_id, job_id, page)
            for event in found.rows:
                yield {
                    "id": event.remote_id,
                    "created_at": moment(event.created_at),
                    "level": event.level,
                    "type": event.type,
                    "message": event.message,
                    "data": event.data,
                }
            if not found.has_more:
                return
            page = Page(limit=EVENTS_PAGE, after=found.rows[-1].id, descending=False)

    def _ledger(self, project_id: str, job_id: str) -> list[dict[str, Any]]:
        with self._bench.read() as session:
            lines = repository.ledger(session, project_id, job_id)
        return [line | {"created_at": moment(line["created_at"])} for line in lines]

    # ── telling and packing ─────────────────────────────────────────────────

    def model_card(self, project_id: str, ref: str) -> card.Card:
        return card.Card(self.record(project_id, ref))

    def run_card(self, project_id: str, run_id: str) -> card.Card:
        return card.Card(next(iter(self._stored(self._run(project_id, run_id)).values())))

    def pack_model(self, project_id: str, ref: str, *, content: bool) -> tuple[str, Iterator[bytes]]:
        """A name for the file, and the archive piece by piece.

        Raises:
            Conflict: a version whose content is wanted is still being checked.
        """
        record = self.record(project_id, ref)
        facts = record.facts()
        lineage = self._models.read(project_id, ref).lineage
        ids = {role: source.version for role in ROLES if (source := getattr(lineage, role)) is not None}
        contents = self._contents(project_id, facts, ids) if content else []
        return facts.name, bundle.pack({facts.id: record}, contents)

    def pack_run(self, project_id: str, run_id: str, *, content: bool) -> tuple[str, Iterator[bytes]]:
        """As `pack_model`, of an imported run: the same bytes as the bundle of it alone that brought it."""
        run = self._run(project_id, run_id)
        records = self._stored(run)
        found = {"training": run.training_version_id, "validation": run.validation_version_id}
        ids = {role: version_id for role, version_id in found.items() if version_id is not None}
        facts = next(iter(records.values())).facts()
        contents = self._contents(project_id, facts, ids) if content else []
        return facts.name, bundle.pack(records, contents)

    def _contents(self, project_id: str, facts: RunFacts, ids: Mapping[str, str]) -> list[Content]:
        found: dict[str, Content] = {}
        for role, version_id in ids.items():
            version = self._datasets.version(project_id, version_id)
            described = facts.data.get(cast("Any", role))
            if version.content_sha256 is None:
                raise Conflict(
                    f"The {role} data is still being checked.", code="still_checking", retry_after_seconds=1
                )
            if described is None or described.content_sha256 != version.content_sha256:
                raise Conflict(
                    f"The {role} data here is not, byte by byte, what the run was trained on.",
                    code="content_differs",
                    hint="Leave `content` out.",
                )
            found[version.content_sha256] = Content(
                version.content_sha256, version.content_bytes or 0, partial(self._open, version)
            )
        return list(found.values())

    @contextmanager
    def _open(self, version: DatasetVersion) -> Iterator[BinaryIO]:
        with self._bench.storage.reader(version.content_key) as file:
            yield file

    # ── in OpenAI's shape ───────────────────────────────────────────────────

    def openai_jobs(self, project_id: str, wanted: Page) -> Slice[dict[str, Any]]:
        found = self._jobs.page(project_id, wanted)
        return Slice([self.openai_job(project_id, row["id"]) for row in found.rows], found.has_more)

    def openai_job(self, project_id: str, job_id: str) -> dict[str, Any]:
        """Raises `NotFound`."""
        return openai_shape.job_of(self._jobs.job(project_id, job_id))

    def openai_file(self, project_id: str, file_id: str) -> Iterator[bytes]:
        """The results of a job, or the content of a dataset version. Raises `NotFound`, `Conflict`."""
        if file_id.startswith(openai_shape.RESULTS):
            results = self._jobs.results(project_id, file_id.removeprefix(openai_shape.RESULTS))
            return iter([openai_shape.results_csv(results)])
        version = self._datasets.version(project_id, file_id)
        self._datasets.report(project_id, version.id)  # refused before the answer begins
        return self._pieces(version)

    def _pieces(self, version: DatasetVersion) -> Iterator[bytes]:
        with self._open(version) as source:
            while chunk := source.read(bundle.CHUNK_BYTES):
                yield chunk

    # ── bringing in ─────────────────────────────────────────────────────────

    def bring(self, caller: Caller, file: BinaryIO) -> ImportRead:
        """Verify a bundle whole, then bring its runs and their data in; one run after the other, each in one piece.

        Raises:
            Invalid: it is no sound bundle (`bundle_refused`); nothing of it was brought.
        """
        try:
            opened = bundle.unpack(file, data_bytes_max=self._bench.policy.upload_bytes_max)
            facts = {name: record.check() for name, record in opened.records.items()}
        except (BundleRefused, RecordRefused) as refused:
            error = FieldError(pointer="", detail=str(refused), code="bundle_refused")
            raise Invalid(str(refused), code="bundle_refused", errors=[error]) from None
        brought = [self._bring_run(caller, opened, name, facts[name]) for name in opened.records]
        return ImportRead(data=[read(run) for run, _ in brought], known=sum(not fresh for _, fresh in brought))

    def _bring_run(self, caller: Caller, opened: Bundle, name: str, facts: RunFacts) -> tuple[ImportedRun, bool]:
        record = opened.records[name]
        digest = record.digest()
        with self._bench.read() as session:
            known = repository.by_digest(session, caller.project_id, digest)
        if known is not None:
            return known, False
        run = ImportedRun(
            id=new_id("run"),
            project_id=caller.project_id,
            key_id=caller.key_id,
            digest=digest,
            origin=facts.origin,
            source_id=facts.id,
            name=storable(facts.name),
            base_model=storable(facts.base_model),
            method=facts.method,
            status=storable(facts.status),
            finished_at=facts.finished_at,
            problems=[],
        )
        with self._bench.storage.writer(run.record_key) as target:
            for piece in bundle.pack({name: record}):
                target.write(piece)
        data = {role: self._bring_data(caller, opened, facts, role, run) for role in ROLES}
        run.training_version_id, run.validation_version_id = data["training"], data["validation"]
        with self._bench.begin() as work:
            repository.hold(work.session, caller.project_id, digest)
            known = repository.by_digest(work.session, caller.project_id, digest)
            if known is None:
                repository.add(work.session, run)
                self._tell(work, run)
        if known is not None:  # somebody brought the same at the same time, and was first
            self._bench.storage.delete(run.record_key)
            return known, False
        return run, True

    @staticmethod
    def _tell(work: UnitOfWork, run: ImportedRun) -> None:
        work.announce(
            "run.imported",
            project_id=run.project_id,
            subject_id=run.id,
            origin=run.origin,
            source_id=run.source_id,
            digest=run.digest,
            training=run.training_version_id,
            validation=run.validation_version_id,
        )

    def _bring_data(
        self, caller: Caller, opened: Bundle, facts: RunFacts, role: str, run: ImportedRun
    ) -> str | None:
        """The id of the version that holds the data in this role; None and a problem where there is none."""
        described = facts.data.get(cast("Any", role))
        if described is None:
            return None
        content = opened.contents.get(described.content_sha256 or "")
        if content is not None:
            return self._place(caller, content, described, facts, run)
        with self._bench.read() as session:
            known = repository.with_content(session, caller.project_id, described.content_sha256 or "")
        if known is not None:
            return known.id
        run.problems.append(
            {
                "code": "content_not_there",
                "message": f"The bundle does not hold the content of the {role} data, and this project has it not.",
            }
        )
        return None

    def _place(
        self, caller: Caller, content: Content, described: DataFacts, facts: RunFacts, run: ImportedRun
    ) -> str:
        """A version of the content, in the dataset of its own name if that is for this method."""
        base = self._bench.catalogue.find(facts.base_model)
        base_model = self._datasets.known_model(base.id if base else None)
        with self._datasets.receive() as upload, content.open() as source:
            while chunk := source.read(bundle.CHUNK_BYTES):
                upload.write(chunk)
        fresh = False
        try:
            with self._bench.begin() as work:
                name = _name(described.dataset)
                dataset = self._datasets.obtain(work, caller.project_id, name, facts.method)
                if dataset.method != facts.method:
                    name = f"{name[:50]}-{facts.method}"
                    dataset = self._datasets.obtain(work, caller.project_id, name, facts.method)
                version, fresh = self._datasets.place(
                    work,
                    dataset,
                    upload,
                    original_name=f"{described.dataset}@{described.number}.jsonl"[:200],
                    base_model=base_model,
                    lineage={"source": "bundle", "run": run.id, "origin": facts.origin, "sha256": described.sha256},
                )
        finally:
            if not fresh:
                self._datasets.forget(upload)
        return version.id

    # ── imported runs ───────────────────────────────────────────────────────

    def run(self, project_id: str, run_id: str) -> RunDetail:
        """Raises `NotFound`."""
        found = self._run(project_id, run_id)
        record = next(iter(self._stored(found).values()))
        return RunDetail(
            **read(found).model_dump(exclude={"object"}),
            facts=record.json(RUN),
            analysis=record.json("analysis.json"),
            checkpoints=record.json("checkpoints.json") or [],
            documents={name: len(content) for name, content in sorted(record.documents.items())},
        )

    def run_page(self, project_id: str, wanted: Page) -> Slice[RunRead]:
        with self._bench.read() as session:
            found = repository.page(session, project_id, wanted)
        return Slice([read(run) for run in found.rows], found.has_more)

    def _run(self, project_id: str, run_id: str) -> ImportedRun:
        with self._bench.read() as session:
            run = repository.find(session, project_id, run_id)
        if run is None:
            raise NotFound(f"There is no run {run_id!r} in this project.", code="run_not_found")
        return run

    def _stored(self, run: ImportedRun) -> Mapping[str, Record]:
        with self._bench.storage.reader(run.record_key) as file:
            return bundle.unpack(file, data_bytes_max=0).records


class Arriving:
    """The bytes of a bundle on their way in; in memory while they are few, then on disk."""

    def __init__(self, limit_bytes: int) -> None:
        self.file = cast("BinaryIO", SpooledTemporaryFile(max_size=HELD_BYTES))  # noqa: SIM115  closed by its owner
        self._limit_bytes = limit_bytes
        self._size = 0

    def write(self, chunk: bytes) -> None:
        """Raises `Invalid` (`bundle_too_large`)."""
        self._size += len(chunk)
        if self._size > self._limit_bytes:
            detail = f"The bundle is larger than {self._limit_bytes:,} bytes."
            raise Invalid(detail, code="bundle_too_large", hint="Pack fewer runs, or leave their content out.")
        self.file.write(chunk)


def read(run: ImportedRun) -> RunRead:
    """The row as callers see it."""
    return RunRead(
        training=run.training_version_id,
        validation=run.validation_version_id,
        **{
            name: getattr(run, name)
            for name in RunRead.model_fields
            if name not in {"object", "training", "validation"}
        },
    )


def _name(dataset: str) -> str:
    """A dataset's name as it may stand here."""
    return _UNNAMED.sub("-", dataset)[:64].strip("-_.") or "imported"
