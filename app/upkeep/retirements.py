"""The retirement planner: what of a project ends when, told in time, with what to train instead. It asks nobody."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from datetime import date

import structlog

from app.azure.catalogue.catalogue import BaseModel, Successor
from app.azure.catalogue.placement import Place
from app.connections.resources import ResourceService
from app.costs.service import CostService
from app.datasets.estimates import counts_of
from app.datasets.service import DatasetService
from app.jobs.tables import Job
from app.kit.clock import utc_now
from app.models.retirement import Ending, Subject, endings
from app.upkeep import repository
from app.upkeep.schemas import Retirement, RetirementList, Retraining
from app.workbench import Workbench

log = structlog.get_logger("kitae.retirements")


class RetirementService:
    """What ends, for people and for the worker that tells them."""

    def __init__(self, bench: Workbench) -> None:
        self._bench = bench
        self._catalogue = bench.catalogue

    def plan(self, project_id: str, *, within_days: int) -> RetirementList:
        """Everything of the project that ends within so many days, the soonest first, with what to do."""
        found = sorted(
            (ending for ending in self._endings(project_id) if ending.days_left <= within_days),
            key=lambda ending: (ending.on, ending.subject.kind, ending.subject.name, ending.kind),
        )
        with self._bench.read() as session:
            jobs = repository.jobs_of_models(session, project_id, {item.subject.id for item in found})
        drafts: dict[str, Retraining | None] = {}
        rows = []
        for ending in found:
            job = jobs.get(ending.subject.id)
            if job is not None and job.id not in drafts:
                drafts[job.id] = self._retraining(project_id, job, ending.subject.base)
            rows.append(_read(ending, drafts[job.id] if job is not None else None))
        return RetirementList(data=rows)

    def _endings(self, project_id: str) -> Iterator[Ending]:
        """Of every model and every living deployment."""
        today = utc_now().date()
        places = ResourceService(self._bench).places(project_id)
        with self._bench.read() as session:
            models = repository.models_of_project(session, project_id)
            deployments = repository.living_of_project(session, project_id)
        for model in models:
            base = self._catalogue.find(model.base_model)
            if base is not None:
                yield from self._of(
                    Subject(
                        kind="model",
                        id=model.id,
                        name=model.name,
                        base=base,
                        remote_name=model.remote_name,
                        connection=model.connection_id,
                    ),
                    places,
                    today,
                )
        for row in deployments:
            base = self._catalogue.find(row.base_model)
            if base is not None:
                yield from self._of(
                    Subject(
                        kind="deployment",
                        id=row.id,
                        name=row.name,
                        base=base,
                        remote_name=row.remote_model if row.model_id is not None else None,
                        connection=row.connection_id,
                    ),
                    places,
                    today,
                )

    @staticmethod
    def _of(subject: Subject, places: Mapping[str, Place], today: date) -> Iterator[Ending]:
        place = places.get(subject.connection)
        yield from endings(subject, place.live if place is not None else None, today=today)

    def _retraining(self, project_id: str, job: Job, base: BaseModel) -> Retraining | None:
        """The same data and settings on the successor, as `POST /v1/jobs` takes them, with what it would cost."""
        named = self._catalogue.successor(base, job.method)
        if named is None:
            return None
        successor = self._catalogue.find(named.successor) if named.successor is not None else None
        method = next((known for known in successor.methods if known == job.method), None) if successor else None
        if successor is None or method is None or job.training_version_id is None:
            return _advice(named)
        datasets = DatasetService(self._bench)
        training = datasets.version(project_id, job.training_version_id)
        offered = [name for name, yes in successor.training_types.items() if yes]
        kind = job.training_type if job.training_type in offered else "GlobalStandard"
        draft = {
            "connection": job.connection_id,
            "model": successor.id,
            "method": job.method,
            "training": training.id,
            "validation": job.validation_version_id,
            "hyperparameters": job.hyperparameters,
            "training_type": kind,
            "suffix": job.suffix,
        }
        estimate = None
        if training.report is not None:
            counts = counts_of(training.report, subject=training.id, method=method)
            epochs = job.hyperparameters.get("n_epochs")
            estimate = CostService(self._bench).estimate_training(
                counts, base_model=successor.id, training_type=kind, n_epochs=int(epochs) if epochs else None
            )
        advice = _advice(named)
        return advice.model_copy(
            update={
                "job": {name: value for name, value in draft.items() if value is not None},
                "training": f"{datasets.describe(training).dataset_name}@{training.number}",
                "expected_usd": estimate.expected_usd if estimate else None,
                "high_usd": estimate.high_usd if estimate else None,
                "same_tokenizer": successor.tokenizer == base.tokenizer,
            }
        )

    # ── telling ─────────────────────────────────────────────────────────────

    def tell(self) -> int:
        """For a periodic task: an event for every end that has come nearer than 90, 30 or 7 days, or has come.

        Each is told once for each level and day, by whichever worker is first. Returns how many were told.
        """
        with self._bench.read() as session:
            projects = repository.projects_with_models(session)
        return sum(self._tell(project_id) for project_id in projects)

    def _tell(self, project_id: str) -> int:
        near = [ending for ending in self._endings(project_id) if ending.level != "later"]
        if not near:
            return 0
        told = 0
        with self._bench.begin() as work:
            for ending in near:
                subject = ending.subject
                if not repository.note_retirement(
                    work.session,
                    project_id=project_id,
                    subject_id=subject.id,
                    kind=ending.kind,
                    ends_on=ending.on,
                    level=ending.level,
                ):
                    continue
                told += 1
                log.warning("retirement.near", subject=subject.id, ends=ending.kind, on=str(ending.on))
                work.announce(
                    f"{subject.kind}.retiring",
                    project_id=project_id,
                    subject_id=subject.id,
                    name=subject.name,
                    ends=ending.kind,
                    on=ending.on.isoformat(),
                    level=ending.level,
                    days_left=ending.days_left,
                    message=ending.in_words(),
                    source=ending.end.holds.source,
                )
        return told


def _advice(named: Successor) -> Retraining:
    fields = {name: value for name, value in asdict(named).items() if name in Retraining.model_fields}
    return Retraining(**fields, job=None, training=None, expected_usd=None, high_usd=None, same_tokenizer=None)


def _read(ending: Ending, retraining: Retraining | None) -> Retirement:
    subject, said = ending.subject, ending.end.holds
    return Retirement(
        subject_kind=subject.kind,
        subject=subject.id,
        name=subject.name,
        connection=subject.connection,
        base_model=subject.base.id,
        ends=ending.kind,
        on=ending.on,
        days_left=ending.days_left,
        level=ending.level,
        message=ending.in_words(),
        origin=said.origin,
        source=said.source,
        as_of=said.as_of.isoformat(),
        contradicted_by=[
            {"on": other.value, "origin": other.origin, "source": other.source, "as_of": other.as_of.isoformat()}
            for other in ending.end.contradicted_by
        ],
        retraining=retraining,
    )
