"""A job that Azure has and no row names becomes a row: one of ours that was lost, or one that others made.

It knows nothing of how the job was found.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from sqlalchemy import func

from app.azure.payloads import job_from
from app.azure.port import RemoteJob
from app.connections.service import ConnectionService
from app.costs.schemas import CostEstimate
from app.costs.service import CostService
from app.datasets.estimates import counts_of
from app.datasets.schemas import Method
from app.datasets.service import DatasetService
from app.datasets.tables import DatasetVersion
from app.jobs import repository
from app.jobs.marks import derived_seed, derived_suffix
from app.jobs.schemas import Hyperparameters, JobPlan, PlanCheck
from app.jobs.states import JobOrigin, JobStatus, SendState
from app.jobs.tables import Job
from app.kit.caller import Caller
from app.kit.errors import Conflict, FieldError, Invalid, NotFound
from app.workbench import UnitOfWork, Workbench

_LOST: Final = "The job was found at Azure and adopted; what it was planned with is lost."
_MADE_ELSEWHERE: Final = "The job was made elsewhere and adopted; nobody planned it here, and no budget bears it."
OURS: Final = frozenset({"svc", "env", "op_key", "project", "training", "validation"})
"""Metadata that we put on every job besides the caller's own."""


@dataclass(frozen=True, slots=True)
class AdoptableJob:
    """A row that could be, ready to be written."""

    row: Job
    reserve_usd: Decimal
    training: DatasetVersion
    validation: DatasetVersion | None


class JobAdoption:
    """Takes jobs in that were made here and that the database has lost."""

    def __init__(self, bench: Workbench) -> None:
        self._bench = bench
        self._connections = ConnectionService(bench)
        self._datasets = DatasetService(bench)
        self._costs = CostService(bench)

    def prepare(
        self,
        caller: Caller,
        *,
        op_key: str,
        connection_id: str,
        remote: Mapping[str, Any],
        training: str | None,
        validation: str | None,
    ) -> AdoptableJob:
        """Everything a row needs, from Azure's object and from what the caller adds. Writes nothing.

        Args:
            op_key: becomes the row's id again.
            remote: Azure's job object, verbatim.
            training: ref of a dataset version; None = what the job's metadata names.

        Raises:
            Invalid: nobody says what it was trained on (`training_unknown`).
        """
        found = job_from(dict(remote))
        trained_on = self._version(caller, "training", training, found)
        if trained_on is None:
            detail = "Nothing tells which dataset version this job was trained on."
            error = FieldError(pointer="/training", detail=detail, code="training_unknown")
            hint = "Name it as `training`; upload the data again first if it is gone."
            raise Invalid(detail, code="training_unknown", hint=hint, errors=[error])
        checked_on = self._version(caller, "validation", validation, found)
        row, estimate = self._row(caller, op_key, connection_id, found, trained_on, checked_on, _LOST)
        row.suffix, row.seed = _asked(found, op_key)
        row.user_metadata = {name: value for name, value in found.metadata.items() if name not in OURS}
        reserve = estimate.high_usd if estimate and estimate.high_usd is not None else Decimal(0)
        return AdoptableJob(row, reserve, trained_on, checked_on)

    def prepare_foreign(
        self,
        caller: Caller,
        *,
        job_id: str,
        connection_id: str,
        remote: Mapping[str, Any],
        training: DatasetVersion | None,
        validation: DatasetVersion | None,
    ) -> Job:
        """The row of a job that was made elsewhere. Writes nothing.

        Args:
            training: None = nobody knows what it was trained on.
        """
        found = job_from(dict(remote))
        row, _ = self._row(caller, job_id, connection_id, found, training, validation, _MADE_ELSEWHERE)
        row.origin = JobOrigin.ELSEWHERE
        return row

    def _row(  # noqa: PLR0917  everything that a row is made from
        self,
        caller: Caller,
        job_id: str,
        connection_id: str,
        found: RemoteJob,
        trained_on: DatasetVersion | None,
        checked_on: DatasetVersion | None,
        why: str,
    ) -> tuple[Job, CostEstimate | None]:
        """A job in flight as Azure tells of it; its next step, due at once, reads where it stands."""
        remote = found.raw
        base = self._bench.catalogue.find(found.model or "")
        training_type = str(remote.get("trainingType") or remote.get("training_type") or "GlobalStandard")
        chosen = _hyperparameters(found)
        estimate = None
        if base is not None and trained_on is not None and trained_on.report is not None:
            estimate = self._costs.estimate_training(
                counts_of(trained_on.report, subject=trained_on.id, method=method_of(found)),
                base_model=base.id,
                training_type=training_type,
                n_epochs=chosen.n_epochs,
            )
        base_model = base.id if base else (found.model or "unknown")
        plan = _plan(found, base_model, training_type, chosen, trained_on, checked_on, estimate, why)
        row = Job(
            id=job_id,
            project_id=caller.project_id,
            connection_id=connection_id,
            key_id=caller.key_id,
            training_version_id=trained_on.id if trained_on else None,
            validation_version_id=checked_on.id if checked_on else None,
            base_model=base_model,
            model=found.model or base_model,
            method=plan.method,
            training_type=training_type,
            hyperparameters=plan.hyperparameters,
            suffix=found.suffix,
            seed=found.seed,
            user_metadata=dict(found.metadata),
            plan=plan.model_dump(mode="json"),
            status=JobStatus.QUEUED,
            send_state=SendState.CONFIRMED,
            remote_id=found.remote_id,
            remote_status=found.status,
            remote=dict(remote),
            fine_tuned_model=found.fine_tuned_model,
            trained_tokens=found.trained_tokens,
            next_check_at=func.clock_timestamp(),
        )
        return row, estimate

    def insert(self, work: UnitOfWork, caller: Caller, wanted: AdoptableJob, *, attempt: int) -> None:
        """Write the row and have it followed to its end, like any other.

        Raises:
            BudgetExceeded: a cap does not bear what it may cost.
            Conflict: the row is there already (`already_there`).
        """
        row = wanted.row
        if work.session.get(Job, row.id) is not None:
            raise Conflict(f"The job {row.id} has a row already.", code="already_there")
        self._costs.reserve(
            work,
            caller,
            subject_id=row.id,
            category="training",
            amount_usd=wanted.reserve_usd,
            note=f"{row.base_model}, adopted",
        )
        row.attempt = attempt
        repository.add(work.session, row)
        work.announce(
            "job.adopted",
            project_id=row.project_id,
            subject_id=row.id,
            remote_id=row.remote_id,
            base_model=row.base_model,
            training=row.training_version_id,
            reserved_usd=f"{wanted.reserve_usd:.4f}",
        )
        self._connections.watch_in(work, row.connection_id, 0)
        work.nudge("jobs.advance", row.id)

    def insert_foreign(self, work: UnitOfWork, row: Job, *, adoption_id: str) -> None:
        """Write the row of a job that was made elsewhere. Nothing is reserved: nobody asked our budget for it."""
        repository.add(work.session, row)
        work.announce(
            "job.adopted",
            project_id=row.project_id,
            subject_id=row.id,
            remote_id=row.remote_id,
            base_model=row.base_model,
            training=row.training_version_id,
            adoption=adoption_id,
            reserved_usd="0",
        )
        self._connections.watch_in(work, row.connection_id, 0)
        work.nudge("jobs.advance", row.id)

    def _version(self, caller: Caller, role: str, ref: str | None, found: RemoteJob) -> DatasetVersion | None:
        """The version a caller names, else the one that the job's metadata names if the project still has it."""
        if ref is not None:
            return self._datasets.version(caller.project_id, ref)
        kept = found.metadata.get(role)
        if kept is None:
            return None
        try:
            return self._datasets.version(caller.project_id, kept)
        except NotFound:
            return None


def _hyperparameters(found: RemoteJob) -> Hyperparameters:
    """What Azure says was chosen; -1 and "auto" mean that it has not said yet."""

    def number(name: str) -> int | float | None:
        value = found.hyperparameters.get(name)
        return value if isinstance(value, int | float) and not isinstance(value, bool) and value > 0 else None

    epochs, batch, rate = number("n_epochs"), number("batch_size"), number("learning_rate_multiplier")
    return Hyperparameters.model_construct(
        n_epochs=None if epochs is None else int(epochs),
        batch_size=None if batch is None else int(batch),
        learning_rate_multiplier=rate,
    )


def _asked(found: RemoteJob, op_key: str) -> tuple[str | None, int | None]:
    """Suffix and seed as they had been asked for, without what marks a job where Azure keeps no metadata."""
    suffix, tail = found.suffix, derived_suffix(op_key)
    if suffix is not None and suffix.endswith(tail):
        suffix = suffix.removesuffix(tail).removesuffix("-") or None
    return suffix, None if found.seed == derived_seed(op_key) else found.seed


def method_of(found: RemoteJob) -> Method:
    """How the job trains; supervised where Azure does not say."""
    method = found.raw.get("method")
    said = method.get("type") if isinstance(method, dict) else None
    if said == "dpo":
        return "dpo"
    return "reinforcement" if said == "reinforcement" else "supervised"


def _plan(  # noqa: PLR0917  everything that a plan is about
    found: RemoteJob,
    base_model: str,
    training_type: str,
    chosen: Hyperparameters,
    training: DatasetVersion | None,
    validation: DatasetVersion | None,
    estimate: CostEstimate | None,
    why: str,
) -> JobPlan:
    """What would have been planned; nothing is checked, because it runs already."""
    return JobPlan(
        ok=True,
        base_model=base_model,
        method=method_of(found),
        training_type=training_type,
        training=training.id if training else None,
        validation=validation.id if validation else None,
        hyperparameters=chosen.model_dump(exclude_none=True),
        examples=training.examples if training else None,
        tokens=training.tokens if training else None,
        checks=[
            PlanCheck(
                code="adopted",
                verdict="note",
                detail=why,
            )
        ],
        estimate=estimate,
    )
