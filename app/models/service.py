"""What one can do with models: register what a job left, find them, and see where they come from."""

import re
from collections.abc import Iterator
from typing import Any, Final

import structlog

from app.azure.catalogue.catalogue import BaseModel, Price
from app.azure.catalogue.live import Fact, LiveModels, Said, facts, is_of
from app.connections.resources import ResourceService, live_of
from app.connections.service import ConnectionService
from app.connections.tables import ResourceFacts
from app.datasets.service import DatasetService
from app.jobs.checkpoints import CheckpointService
from app.jobs.service import JobService
from app.jobs.states import JobStatus
from app.jobs.tables import Job
from app.kit.errors import Conflict, NotFound
from app.kit.failpoints import failpoint
from app.kit.ids import is_id, new_id
from app.kit.pagination import Page, Slice
from app.models import repository
from app.models.schemas import (
    BaseModelList,
    BaseModelRead,
    DataSource,
    FactRead,
    LiveRead,
    ModelDetail,
    ModelLineage,
    ModelRead,
    PriceRead,
    RetirementRead,
    SaidRead,
)
from app.models.tables import Model
from app.workbench import UnitOfWork, Workbench

log = structlog.get_logger("kitae.models")

NAME_CHARACTERS: Final = 40
"""Of a model's name without number and step, so that deployments named after it stay within Azure's 64."""
ANCESTORS_MAX: Final = 32
"""Generations of a dataset version that a lineage shows."""
_DATE: Final = re.compile(r"-\d{4}-\d{2}-\d{2}$")
_PRICED: Final = ("training", "training_hours", "input", "cached_input", "output", "hosting")


class ModelService:
    """The models of a project, and the catalogue."""

    def __init__(self, bench: Workbench) -> None:
        self._bench = bench

    # ── a job left a model ──────────────────────────────────────────────────

    def register(self, job_id: str) -> None:
        """Make the job's final model and its deployable checkpoints known. Doing it twice changes nothing."""
        with self._bench.begin() as work:
            job = repository.job_unscoped(work.session, job_id)
            if job is None or job.status != JobStatus.SUCCEEDED or job.fine_tuned_model is None:
                log.warning("models.nothing_to_register", job=job_id)
                return
            wanted: list[tuple[str, str, int | None]] = [(job.fine_tuned_model, "final", None)]
            wanted += [
                (item.model_name, "checkpoint", item.step)
                for item in repository.checkpoints(work.session, job_id)
                if item.model_name != job.fine_tuned_model
            ]
            for remote_name, kind, step in wanted:
                self._register(work, job, remote_name, kind=kind, step=step)
        failpoint("models.register.registered")

    @staticmethod
    def _register(work: UnitOfWork, job: Job, remote_name: str, *, kind: str, step: int | None) -> None:
        """One model under a name that is free; nothing happens where it is known already."""
        if repository.is_registered(work.session, job.id, remote_name):
            return
        model = Model(
            id=new_id("mdl"),
            project_id=job.project_id,
            connection_id=job.connection_id,
            job_id=job.id,
            remote_name=remote_name,
            base_model=job.base_model,
            kind=kind,
            step=step,
        )
        name = _name_of(job)
        for numbered in _numbered(name if step is None else f"{name}-step-{step}"):
            model.name = numbered
            if repository.add_if_new(work.session, model):
                work.announce(
                    "model.registered",
                    project_id=job.project_id,
                    subject_id=model.id,
                    name=model.name,
                    job=job.id,
                    kind=kind,
                    remote_name=remote_name,
                )
                return
            if repository.is_registered(work.session, job.id, remote_name):
                return  # somebody registers the same job at the same time, and was first

    # ── reading ─────────────────────────────────────────────────────────────

    def find(self, project_id: str, ref: str) -> Model | None:
        """By id or name."""
        with self._bench.read() as session:
            return repository.find(session, project_id, ref)

    def find_remote(self, project_id: str, remote_name: str) -> Model | None:
        """By Azure's name of it."""
        with self._bench.read() as session:
            return repository.find_remote(session, project_id, remote_name)

    def get(self, project_id: str, ref: str) -> Model:
        """By id or name. Raises `NotFound`."""
        model = self.find(project_id, ref)
        if model is None:
            raise NotFound(f"There is no model {ref!r} in this project.", code="model_not_found")
        return model

    def resolve(self, project_id: str, ref: str) -> Model:
        """A model by id or name, or the model that a checkpoint (`ckp_…`) is; that one becomes known by it.

        Raises:
            NotFound: there is none.
            Conflict: the checkpoint cannot be deployed, so it is no model (`checkpoint_not_deployable`).
        """
        if not is_id(ref, "ckp"):
            return self.get(project_id, ref)
        checkpoint, job, deployable = CheckpointService(self._bench).find(project_id, ref)
        with self._bench.begin() as work:
            known = repository.of_job(work.session, job.id, checkpoint.model_name)
            if known is not None:
                return known
            if deployable.now is False:
                raise Conflict(
                    f"The checkpoint of step {checkpoint.step} cannot be deployed: {deployable.why}",
                    code="checkpoint_not_deployable",
                )
            self._register(work, job, checkpoint.model_name, kind="checkpoint", step=checkpoint.step)
            made = repository.of_job(work.session, job.id, checkpoint.model_name)
            assert made is not None  # noqa: S101  it was registered, by us or at the same time
            return made

    def page(self, project_id: str, wanted: Page, *, job: str | None = None) -> Slice[ModelRead]:
        with self._bench.read() as session:
            found = repository.page(session, project_id, wanted, job_id=job)
        return Slice([_read(model) for model in found.rows], found.has_more)

    def read(self, project_id: str, ref: str) -> ModelDetail:
        """The model with its lineage: model ← job ← dataset versions ← what those were made from."""
        model = self.get(project_id, ref)
        job = JobService(self._bench).job(project_id, model.job_id)
        with self._bench.read() as session:
            measured = {item.model_name: item.metrics for item in repository.checkpoints(session, job.id)}
        training, validation = job.training_version_id, job.validation_version_id
        lineage = ModelLineage(
            job=job.id,
            method=job.method,
            training_type=job.training_type,
            hyperparameters=job.hyperparameters,
            seed=job.seed,
            trained_tokens=job.trained_tokens,
            cost_usd=job.cost_usd,
            finished_at=job.finished_at,
            metrics=measured.get(model.remote_name, {}),
            training=self._source(project_id, training) if training else None,
            validation=self._source(project_id, validation) if validation else None,
        )
        return ModelDetail(**_fields(model), lineage=lineage)

    def _source(self, project_id: str, version_id: str, generation: int = 0) -> DataSource:
        datasets = DatasetService(self._bench)
        shown = datasets.describe(datasets.version(project_id, version_id))
        parent = shown.lineage.get("parent")
        follow = isinstance(parent, str) and generation < ANCESTORS_MAX
        return DataSource(
            version=shown.id,
            ref=f"{shown.dataset_name}@{shown.number}",
            sha256=shown.sha256,
            content_sha256=shown.content_sha256,
            examples=shown.examples,
            tokens=shown.tokens,
            lineage=shown.lineage,
            parents=[self._source(project_id, parent, generation + 1)] if follow and parent else [],
        )

    # ── the catalogue ───────────────────────────────────────────────────────

    def base_models(self, project_id: str, connection: str | None = None) -> BaseModelList:
        """The catalogue; with a connection, merged with what ARM last said of that resource. Asks nobody."""
        known = self._known(project_id, connection)
        live = live_of(known)
        return BaseModelList(
            data=[self._base(base, known) for base in self._bench.catalogue.base_models()],
            live=None
            if connection is None
            else LiveRead(
                connection=ConnectionService(self._bench).get(project_id, connection).id,
                read_at=known.models_read_at if known else None,
                asked_at=known.models_asked_at if known else None,
                error=known.models_error if known else None,
                not_in_catalogue=self._strangers(live) if live else [],
            ),
        )

    def _known(self, project_id: str, connection: str | None) -> ResourceFacts | None:
        if connection is None:
            return None
        return ResourceService(self._bench).facts(ConnectionService(self._bench).get(project_id, connection).id)

    def _strangers(self, live: LiveModels) -> list[str]:
        """What ARM says can be trained and the catalogue does not know, so that an operator can add it."""
        bases = self._bench.catalogue.base_models()
        return sorted(
            {
                f"{model.name} ({model.version})"
                for model in live.models
                if not model.is_tuned and model.is_trained and not any(is_of(model, base) for base in bases)
            }
        )

    def base_model(self, project_id: str, name: str, connection: str | None = None) -> BaseModelRead:
        """By id, alias or the name of a model tuned from it. Raises `NotFound`."""
        base = self._bench.catalogue.find(name)
        if base is None:
            raise NotFound(
                f"There is no base model {name!r} in the catalogue.",
                code="base_model_not_found",
                hint="GET /v1/base-models lists what there is; an operator can add to the catalogue file.",
            )
        return self._base(base, self._known(project_id, connection))

    def _base(self, base: BaseModel, known: ResourceFacts | None) -> BaseModelRead:
        return BaseModelRead(
            id=base.id,
            aliases=list(base.aliases),
            family=base.family,
            methods=list(base.methods),
            training_types={str(name): offered for name, offered in base.training_types.items()},
            deployment_skus=list(base.deployment_skus),
            regions={str(name): list(regions) for name, regions in base.regions.items()},
            tokens_per_example=base.tokens_per_example,
            context_input_tokens=base.context_input_tokens,
            context_output_tokens=base.context_output_tokens,
            tokenizer=base.tokenizer,
            modality=list(base.modality),
            preview=base.preview,
            note=base.note,
            retirements=[
                RetirementRead(kind=item.kind, on=item.on, source=item.source) for item in base.retirements
            ],
            prices=[_price(price) for price in self._prices(base)],
            source=base.source,
            as_of=base.as_of,
            facts=[_fact(fact) for fact in facts(base, live_of(known))],
            tuned_capacity=((known.capacity if known else None) or {}).get(base.id),
        )

    def _prices(self, base: BaseModel) -> Iterator[Price]:
        """Every price that is known today, derived ones too."""
        trained = [name for name, offered in base.training_types.items() if offered]
        for kind in _PRICED:
            tiers = trained if kind.startswith("training") else base.deployment_skus
            for tier in tiers:
                price = self._bench.catalogue.price(base.id, kind, tier)
                if price is not None:
                    yield price


def short_name(base_model: str) -> str:
    """A base model's id without its date: `gpt-4.1-mini`."""
    return _DATE.sub("", base_model)


def _name_of(job: Job) -> str:
    """The suffix a person chose, else the base model and the end of the job's id."""
    return (job.suffix or f"{short_name(job.base_model)}-{job.id[-6:]}")[:NAME_CHARACTERS].strip("-_.") or job.id[
        -8:
    ]


def _numbered(name: str) -> Iterator[str]:
    """The name, then `name-2`, `name-3`, …"""
    yield name
    number = 2
    while True:
        yield f"{name}-{number}"
        number += 1


def _fields(model: Model) -> dict[str, Any]:
    return {
        "id": model.id,
        "name": model.name,
        "remote_name": model.remote_name,
        "base_model": model.base_model,
        "kind": model.kind,
        "step": model.step,
        "connection": model.connection_id,
        "job": model.job_id,
        "created_at": model.created_at,
    }


def _read(model: Model) -> ModelRead:
    return ModelRead(**_fields(model))


def _fact(fact: Fact) -> FactRead:
    return FactRead(
        name=fact.name,
        contradicted_by=[_said(one) for one in fact.contradicted_by],
        **_said(fact.holds).model_dump(),
    )


def _said(said: Said) -> SaidRead:
    return SaidRead(value=said.value, origin=said.origin, source=said.source, as_of=said.as_of.isoformat())


def _price(price: Price) -> PriceRead:
    return PriceRead(
        kind=price.kind,
        tier=price.tier,
        usd=price.usd,
        unit=price.unit,
        source=price.source,
        valid_from=price.valid_from,
        confidence=price.confidence,
    )
