"""Changes of versions: accepted at once, applied by a worker, recorded with what they made. It knows no door."""

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import asdict
from typing import Any, BinaryIO, Final, cast

import structlog
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from sqlalchemy import func

from app.datasets import engine, repository
from app.datasets.engine import changes, reading
from app.datasets.engine.changes import (
    OPERATIONS_MAX,
    AnyOperation,
    CannotChange,
    Convert,
    Drop,
    Merge,
    Outcome,
)
from app.datasets.engine.report import Method, printable
from app.datasets.schemas import (
    ChangeRead,
    Changes,
    OperationDone,
    OriginRead,
    RowLineage,
    TransformOutput,
    TransformRead,
)
from app.datasets.service import PROGRESS_SECONDS, DatasetService, Upload
from app.datasets.states import TRANSFORM_LAW, TransformStatus
from app.datasets.tables import Dataset, DatasetTransform, DatasetVersion
from app.kit import care, named
from app.kit.care import Claim
from app.kit.errors import Conflict, FieldError, Invalid, NotFound, TooLarge
from app.kit.failpoints import failpoint
from app.kit.ids import new_id
from app.kit.pagination import Page, Slice
from app.kit.wire import Name, RequestModel
from app.storage.port import MissingObject
from app.workbench import UnitOfWork, Workbench

log = structlog.get_logger("kitae.transforms")

DEPTH_MAX: Final = 20
"""Versions that a row's lineage is followed back through."""
LINEAGES_MAX: Final = 50
"""Origins told of one row; a row of many sources, each of many, could have any number."""
_OPERATIONS: Final[TypeAdapter[list[AnyOperation]]] = TypeAdapter(list[AnyOperation])
_NAME: Final[TypeAdapter[str]] = TypeAdapter(Name)


class Transform(RequestModel):
    """Operations that make a version, or several, out of one."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"operations": [{"type": "drop", "code": "over-long-example"}]},
                {
                    "operations": [
                        {"type": "fix"},
                        {
                            "type": "split",
                            "parts": [{"name": "train", "share": 0.9}, {"name": "validation", "share": 0.1}],
                            "seed": 7,
                        },
                    ]
                },
            ]
        }
    )

    operations: list[AnyOperation] = Field(
        min_length=1, max_length=OPERATIONS_MAX, description="Applied one after the other; a split is the last."
    )
    into: Name | None = Field(
        default=None,
        description="The dataset that gets the outcome, named if there is none; left out: the one that is changed, "
        "or `NAME-METHOD` when the outcome is for another method. Of a split it gets the first part; the others go "
        "into `NAME-PART`.",
    )


class TransformService:
    """Changes of a project's versions, and what may be asked about them."""

    def __init__(self, bench: Workbench) -> None:
        self._bench = bench
        self._datasets = DatasetService(bench)

    # ── accepting ───────────────────────────────────────────────────────────

    def begin(self, project_id: str, ref: str, wanted: Transform) -> TransformRead:
        """Have operations applied. What can be refused without reading the rows is refused at once.

        Raises:
            Invalid: the operations cannot be meant for this version.
            NotFound: a version that they name does not exist.
            Conflict: a version is still being checked, the dataset that gets the outcome is of another method, or
                the project has too many changes under way (`too_many_transforms`).
        """
        parent = self._datasets.version(project_id, ref)
        report = self._datasets.report(project_id, parent.id)
        with self._bench.read() as session:
            dataset = repository.dataset_of(session, parent)
        _refuse_hopeless(wanted.operations, report)
        sources = self._sources(project_id, wanted.operations)
        method = self._method_after(dataset, wanted.operations, sources)
        into = wanted.into or (dataset.name if method == dataset.method else f"{dataset.name}-{method}")
        outputs: list[dict[str, Any]] = [
            {"part": part, "dataset": _name_of(into, part, index), "id": new_id("dsv")}
            for index, part in enumerate(changes.parts_of(wanted.operations))
        ]
        row = DatasetTransform(
            id=new_id("trf"),
            project_id=project_id,
            dataset_id=dataset.id,
            version_id=parent.id,
            status=TransformStatus.RUNNING,
            operations=_OPERATIONS.dump_python(wanted.operations, mode="json", exclude_defaults=False),
            sources={name: version.id for name, version in sources.items()},
            outputs=outputs,
            edition=changes.EDITION,
            next_check_at=care.in_seconds(0),
        )
        with self._bench.begin() as work:
            most = self._bench.policy.transforms_per_project_max
            if repository.transforms_under_way(work.session, project_id) >= most:
                raise Conflict(
                    f"The project has {most} changes under way, as many as it may.",
                    code="too_many_transforms",
                    hint="Wait for one to end, or cancel it.",
                )
            for output in outputs:
                target = self._target(work, project_id, output["dataset"], method, make=False)
                output["dataset_id"] = target.id if target is not None else None
            repository.add(work.session, row)
            work.announce(
                "dataset.transform.running",
                project_id=project_id,
                subject_id=row.id,
                dataset=dataset.name,
                version=parent.id,
                operations=[operation.type for operation in wanted.operations],
            )
            work.nudge("datasets.transform", row.id)
        return self.describe(row)

    def _sources(self, project_id: str, operations: Sequence[AnyOperation]) -> dict[str, DatasetVersion]:
        found = {name: self._datasets.version(project_id, name) for name in changes.others_of(operations)}
        for name, version in found.items():
            if version.content_sha256 is None:
                raise Conflict(f"{name} is still being checked.", code="still_checking", retry_after_seconds=1)
        return found

    def _method_after(
        self, dataset: Dataset, operations: Sequence[AnyOperation], sources: Mapping[str, DatasetVersion]
    ) -> Method:
        """Whose examples come out. Refuses versions of another method than the rows have where they come in."""
        method = cast("Method", dataset.method)
        for index, operation in enumerate(operations):
            names: tuple[str, ...] = ()
            if isinstance(operation, Merge):
                names = operation.versions
            elif isinstance(operation, Convert):
                if operation.to == method:
                    _refuse(index, "nothing_to_convert", f"the rows are {method} examples already", "to")
                names = (operation.worse,) if operation.worse is not None else ()
            for name in names:
                with self._bench.read() as session:
                    theirs = repository.dataset_of(session, sources[name]).method
                if theirs != method:
                    detail = f"{name} holds data for {theirs} training; the rows here are {method} examples"
                    _refuse(index, "data-of-another-method", detail, "")
            method = operation.to if isinstance(operation, Convert) else method
        return method

    def _target(
        self, work: UnitOfWork, project_id: str, name: str, method: Method, *, make: bool
    ) -> Dataset | None:
        """The dataset of this name. Raises `Conflict` when it is of another method."""
        found = named.find(work.session, Dataset, project_id, name)
        if found is not None and found.method != method:
            raise Conflict(
                f"The dataset {name!r} holds data for {found.method} training, the outcome is for {method}.",
                code="data-of-another-method",
                hint="Name another dataset with `into`.",
            )
        if found is None and make:
            found = Dataset(id=new_id("ds"), project_id=project_id, name=name, method=method)
            repository.add(work.session, found)
            work.announce("dataset.created", project_id=project_id, subject_id=found.id, name=name)
        return found

    # ── reading ─────────────────────────────────────────────────────────────

    def get(self, project_id: str, ref: str, transform_id: str) -> TransformRead:
        return self.describe(self._find(project_id, ref, transform_id))

    def page(self, project_id: str, ref: str, wanted: Page) -> Slice[TransformRead]:
        dataset = self._datasets.get(project_id, ref)
        with self._bench.read() as session:
            found = repository.transform_page(session, dataset.id, wanted)
        return Slice([self.describe(row) for row in found.rows], found.has_more)

    def cancel(self, project_id: str, ref: str, transform_id: str) -> None:
        """Give it up; again is no mistake. Raises `Conflict` when it has ended otherwise."""
        row = self._find(project_id, ref, transform_id)
        if row.status == TransformStatus.CANCELLED:
            return
        TRANSFORM_LAW.check(TransformStatus(row.status), TransformStatus.CANCELLED)
        with self._bench.begin() as work:
            if not repository.stop_transform(work.session, row.id, {"status": TransformStatus.CANCELLED}):
                raise Conflict("The change has ended.", code="transform_ended", hint="Look at it again.")
            work.announce(
                "dataset.transform.cancelled",
                project_id=project_id,
                subject_id=row.id,
                **{"from": TransformStatus.RUNNING, "to": TransformStatus.CANCELLED},
            )

    def _find(self, project_id: str, ref: str, transform_id: str) -> DatasetTransform:
        dataset = self._datasets.get(project_id, ref)
        with self._bench.read() as session:
            row = repository.find_transform(session, dataset.id, transform_id)
        if row is None:
            raise NotFound(
                f"There is no change {transform_id!r} of this dataset's versions.", code="transform_not_found"
            )
        return row

    def describe(self, row: DatasetTransform) -> TransformRead:
        """The change as callers see it."""
        outcome = row.outcome or {}
        made = outcome.get("made", [{}] * len(row.outputs))
        with self._bench.read() as session:
            number = repository.get_unscoped(session, row.version_id).number
        return TransformRead(
            id=row.id,
            dataset=row.dataset_id,
            version=row.version_id,
            version_number=number,
            status=row.status,
            operations=row.operations,
            edition=row.edition,
            operation=row.operation,
            read_bytes=row.read_bytes,
            outputs=[
                TransformOutput(
                    part=output["part"],
                    dataset_name=output["dataset"],
                    version=one.get("version"),
                    version_number=one.get("number"),
                    rows=one.get("rows"),
                    is_new=one.get("is_new"),
                )
                for output, one in zip(row.outputs, made, strict=True)
            ],
            done=[OperationDone(**done) for done in outcome.get("operations", [])],
            error=row.error,
            last_error=row.last_error,
            parked_reason=row.parked_reason,
            created_at=row.created_at,
            ended_at=row.ended_at,
        )

    # ── questions about rows ────────────────────────────────────────────────

    def lineage(self, version: DatasetVersion, row: int) -> RowLineage:
        """Where a row came from. Raises `NotFound` (`row_not_found`), `Conflict` (`still_checking`)."""
        if version.content_sha256 is None:
            raise Conflict("The version is still being checked.", code="still_checking", retry_after_seconds=1)
        with self._bench.storage.reader(version.content_key) as file:
            line = next((line for number, line in enumerate(file, 1) if number == row), None)
        if line is None:
            raise NotFound(f"The version has no row {row:,}.", code="row_not_found")
        return RowLineage(row=row, content=changes.shown(line), lineage=_Traces(self._bench).of(version, row, row))

    def changes(self, version: DatasetVersion, since: DatasetVersion, *, skip: int, limit: int) -> Changes:
        """What changed, row by row. Raises `Conflict` (`still_checking`)."""
        if version.content_sha256 is None or since.content_sha256 is None:
            raise Conflict("A version is still being checked.", code="still_checking", retry_after_seconds=1)
        has_lineage = (
            version.lineage.get("parent") == since.id and self._bench.storage.size(version.lineage_key) is not None
        )
        found = changes.differences(
            self._opening(since.content_key),
            self._opening(version.content_key),
            lineage=self._opening(version.lineage_key) if has_lineage else None,
            line_bytes_max=engine.Limits().line_bytes_max,
            skip=skip,
            limit=limit,
        )
        told = {name: getattr(found, name) for name in ("same", "added", "removed", "changed", "moved")}
        return Changes(
            since=since.id,
            version=version.id,
            by="lineage" if has_lineage else "content",
            data=[ChangeRead.model_validate(_storable(asdict(change))) for change in found.page],
            skip=skip,
            has_more=found.has_more,
            **told,
        )

    def _opening(self, key: str) -> Callable[[], AbstractContextManager[BinaryIO]]:
        return lambda: self._bench.storage.reader(key)

    # ── applying, by a worker ───────────────────────────────────────────────

    def advance(self, transform_id: str) -> None:
        """Apply the operations and make the outcome versions."""
        self._bench.tend(DatasetTransform, transform_id, self._step, noun="dataset.transform")

    def _step(self, held: Claim) -> None:
        failpoint("transforms.claimed")
        with self._bench.read() as session:
            row = repository.get_transform(session, held.row_id)
            parent = repository.get_unscoped(session, row.version_id)
            dataset = repository.dataset_of(session, parent)
        operations = _OPERATIONS.validate_python(row.operations)
        try:
            outcome, uploads = self._apply(held, row, parent, dataset, operations)
        except CannotChange as refused:
            self._fail(held, row, {"code": refused.code, "message": str(refused), "hint": refused.hint})
            return
        except TooLarge as refused:
            self._fail(held, row, {"code": refused.code, "message": refused.detail, "hint": refused.hint})
            return
        failpoint("transforms.made")
        try:
            surplus = self._record(held, row, parent, outcome, uploads)
        except Conflict as refused:
            self._fail(held, row, {"code": refused.code, "message": refused.detail, "hint": refused.hint})
            return
        failpoint("transforms.recorded")
        self._forget(surplus)

    def _apply(
        self,
        held: Claim,
        row: DatasetTransform,
        parent: DatasetVersion,
        dataset: Dataset,
        operations: Sequence[AnyOperation],
    ) -> tuple[Outcome, list[Upload]]:
        storage = self._bench.storage
        with self._bench.read() as session:
            others = {name: repository.get_unscoped(session, id_) for name, id_ in row.sources.items()}
        with ExitStack() as stack:
            uploads = [
                Upload(
                    version_id=output["id"],
                    file=stack.enter_context(storage.writer(f"datasets/{output['id']}/raw")),
                    limit_bytes=self._bench.policy.upload_bytes_max,
                )
                for output in row.outputs
            ]
            lineages = [
                stack.enter_context(storage.writer(f"datasets/{output['id']}/lineage")) for output in row.outputs
            ]
            outcome = changes.transform(
                self._opening(parent.content_key),
                operations,
                [changes.Target(upload, lineage) for upload, lineage in zip(uploads, lineages, strict=True)],
                profile=self._datasets.profile(parent.base_model, dataset.method),
                scratch=tempfile.TemporaryFile,
                others={name: self._opening(version.content_key) for name, version in others.items()},
                on_progress=self._telling(held),
            )
        return outcome, uploads

    def _telling(self, held: Claim) -> Callable[[int, int], None]:
        last = time.monotonic()

        def progress(operation: int, read_bytes: int) -> None:
            nonlocal last
            if time.monotonic() - last < PROGRESS_SECONDS:
                return
            last = time.monotonic()
            with self._bench.begin() as work:
                care.write(work.session, held, operation=operation, read_bytes=read_bytes)
                care.extend(work.session, held, lease_seconds=self._bench.policy.lease_seconds)

        return progress

    def _record(
        self,
        held: Claim,
        row: DatasetTransform,
        parent: DatasetVersion,
        outcome: Outcome,
        uploads: Sequence[Upload],
    ) -> list[str]:
        """The versions and the end of the change, in one transaction; returns ids whose bytes nobody needs."""
        TRANSFORM_LAW.check(TransformStatus(row.status), TransformStatus.DONE)
        operations = _OPERATIONS.validate_python(row.operations)
        made: list[dict[str, Any]] = []
        surplus: list[str] = []
        told = [asdict(done) for done in outcome.operations]
        with self._bench.begin() as work:
            dataset = work.session.get_one(Dataset, row.dataset_id)
            method = changes.method_after(operations, cast("Method", dataset.method))
            for output, upload, rows in zip(row.outputs, uploads, outcome.rows, strict=True):
                target = self._target(work, row.project_id, output["dataset"], cast("Method", method), make=True)
                assert target is not None  # noqa: S101  it was made if there was none
                if output.get("dataset_id") not in {None, target.id}:
                    raise Conflict(
                        f"The dataset {output['dataset']!r} was archived while the change ran.",
                        code="dataset_archived",
                        hint="Change the version again; `into` names the dataset that gets the outcome.",
                    )
                version, is_new = self._datasets.place(
                    work,
                    target,
                    upload,
                    original_name=parent.original_name,
                    base_model=parent.base_model,
                    lineage={
                        "source": "transform",
                        "transform": row.id,
                        "parent": parent.id,
                        "parent_number": parent.number,
                        "others": [row.sources[name] for name in changes.others_of(operations)],
                        "operations": row.operations,
                        "part": output["part"],
                        "edition": row.edition,
                        "too_long": outcome.too_long,
                        "done": told,
                    },
                )
                if not is_new:
                    surplus.append(upload.version_id)
                made.append({"version": version.id, "number": version.number, "rows": rows, "is_new": is_new})
            care.finish(
                work.session,
                held,
                check_in_seconds=None,
                status=TransformStatus.DONE,
                outcome={"operations": told, "made": made, "too_long": outcome.too_long},
                ended_at=func.clock_timestamp(),
            )
            work.announce(
                "dataset.transform.done",
                project_id=row.project_id,
                subject_id=row.id,
                **{"from": row.status, "to": TransformStatus.DONE},
                versions=[one["version"] for one in made],
            )
        return surplus

    def _fail(self, held: Claim, row: DatasetTransform, error: dict[str, Any]) -> None:
        TRANSFORM_LAW.check(TransformStatus(row.status), TransformStatus.FAILED)
        error = {name: printable(text or "") for name, text in error.items()}
        with self._bench.begin() as work:
            care.finish(
                work.session,
                held,
                check_in_seconds=None,
                status=TransformStatus.FAILED,
                error=error,
                ended_at=func.clock_timestamp(),
            )
            work.announce(
                "dataset.transform.failed",
                project_id=row.project_id,
                subject_id=row.id,
                **{"from": row.status, "to": TransformStatus.FAILED},
                error=error,
            )
        self._forget([output["id"] for output in row.outputs])

    def _forget(self, version_ids: Sequence[str]) -> None:
        for version_id in version_ids:
            for name in ("raw", "lineage"):
                self._bench.storage.delete(f"datasets/{version_id}/{name}")


class _Traces:
    """Follows rows back from version to version."""

    def __init__(self, bench: Workbench) -> None:
        self._bench = bench
        self._left = LINEAGES_MAX

    def of(self, version: DatasetVersion, first: int, last: int, depth: int = 0) -> OriginRead:
        with self._bench.read() as session:
            dataset = repository.dataset_of(session, version)
        told = OriginRead(
            version=version.id,
            dataset_name=dataset.name,
            version_number=version.number,
            lines=(first, last),
            source=str(version.lineage.get("source", "upload")),
            **_in_the_file(version.report or {}, first, last),
        )
        if "transform" not in version.lineage or depth >= DEPTH_MAX:
            return told
        sources = [version.lineage["parent"], *version.lineage.get("others", [])]
        touched: set[int] = set()
        for origin, operations in self._origins(version, first, last):
            touched.update(operations)
            if self._left <= 0:
                break
            self._left -= 1
            with self._bench.read() as session:
                source = repository.get_unscoped(session, sources[origin.source])
            told.origins.append(self.of(source, origin.first, origin.last, depth + 1))
        told.operations = [version.lineage["operations"][number] for number in sorted(touched)]
        return told

    def _origins(
        self, version: DatasetVersion, first: int, last: int
    ) -> Iterator[tuple[changes.Origin, tuple[int, ...]]]:
        try:
            with self._bench.storage.reader(version.lineage_key) as file:
                for row in range(first, min(last, first + LINEAGES_MAX) + 1):
                    found = changes.lineage_of(file, row)
                    for origin in found.origins if found else ():
                        yield origin, found.operations if found else ()
        except MissingObject:
            return


def _in_the_file(report: Mapping[str, Any], first: int, last: int) -> dict[str, Any]:
    """Where lines came from in the file that was converted; versions checked before that was kept do not tell."""
    read = report.get("reading") or {}
    kept = read.get("origin")
    if kept is None:
        return {}
    ends = [reading.origin_of(kept, line) for line in (first, last)]
    if None in ends:
        return {}
    return {"records": ends, "unit": kept["unit"], "sheet": read.get("sheet")}


def _refuse_hopeless(operations: Sequence[AnyOperation], report: Mapping[str, Any]) -> None:
    for index, operation in enumerate(operations):
        if operation.type == "split" and index + 1 < len(operations):
            _refuse(index, "split_not_last", "a split is the last operation; change its parts afterwards", "")
    first = operations[0]
    codes = {finding["code"] for finding in report["findings"]}
    if isinstance(first, Drop) and first.code is not None and first.code not in codes:
        _refuse(0, "no_such_finding", f"this version has no finding {first.code!r}", "code")


def _refuse(index: int, code: str, detail: str, member: str) -> None:
    pointer = f"/operations/{index}" + (f"/{member}" if member else "")
    error = FieldError(pointer=pointer, detail=detail, code=code)
    raise Invalid(f"Operation {index + 1} cannot be meant: {detail}.", code=code, errors=[error])


def _name_of(into: str, part: str, index: int) -> str:
    """Of the dataset that gets a part: the first carries on the name. Raises `Invalid` (`name_too_long`)."""
    name = into if index == 0 else f"{into}-{part}"
    try:
        return _NAME.validate_python(name)
    except ValidationError:
        error = FieldError(pointer="/into", detail=f"{name!r} is no name of a dataset", code="bad_name")
        raise Invalid(
            f"{name!r} is no name that a dataset can have.", code="bad_name", hint="Say `into`.", errors=[error]
        ) from None


def _storable(value: Any) -> Any:
    """JSON values whose texts can be sent."""
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, dict):
        return {printable(str(key)): _storable(item) for key, item in value.items()}
    return [_storable(item) for item in value] if isinstance(value, list | tuple) else value
