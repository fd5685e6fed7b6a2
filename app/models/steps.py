"""What workers do for copies of models: ask Azure once, follow it to its end. It knows no door.

Azure's list of a checkpoint's copies is the truth: it is read before every asking, so that a lost answer, a doubled
task or a kill at any place makes no second copy. Copying is not billed, as far as Microsoft publishes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import structlog
from sqlalchemy import func

from app.azure.port import AzureTarget, OutcomeUnknown, Refused, RemoteCopy, Unauthorised
from app.connections.service import ConnectionService, Traffic
from app.kit import care
from app.kit.care import Claim
from app.kit.failpoints import failpoint
from app.models import repository
from app.models.states import COPY_LAW, CopyStatus
from app.models.tables import Model, ModelCopy
from app.workbench import UnitOfWork, Workbench, describe

log = structlog.get_logger("kitae.models")

ASKS_MAX: Final = 3
"""How often Azure is asked for one copy that it then does not list."""
COMPLETED, FAILED, IN_PROGRESS = "Completed", "Failed", "InProgress"
"""Source: v1 OpenAPI, 2026-02-02, CopiedAccountDetails."""
_RANK: Final = {COMPLETED: 0, IN_PROGRESS: 1, FAILED: 2}
"""Of several copies to one destination, such as one that failed before: which tells how it stands."""


@dataclass(frozen=True, slots=True)
class _Errand:
    """What is to be copied, and whereto."""

    row: ModelCopy
    model: Model
    remote_job: str
    remote_checkpoint: str
    source: AzureTarget
    destination: AzureTarget
    now: datetime


class CopySteps:
    """The steps of one copy."""

    def __init__(self, bench: Workbench) -> None:
        self._bench = bench
        self._policy = bench.policy
        self._connections = ConnectionService(bench)

    def advance(self, copy_id: str) -> None:
        """Take the copy as far as it goes without waiting."""
        self._bench.tend(ModelCopy, copy_id, self._step, noun="model_copy")

    def _step(self, held: Claim) -> None:
        with self._bench.read() as session:
            row, model, now = repository.load_copy(session, held.row_id)
            checkpoint = repository.remote_checkpoint(session, model)
        if CopyStatus(row.status) not in {CopyStatus.REQUESTED, CopyStatus.COPYING}:
            with self._bench.begin() as work:
                care.finish(work.session, held, check_in_seconds=None)
            return
        if checkpoint is None:
            message = "Azure no longer lists the checkpoint that was to be copied."
            self._end(held, row, model, CopyStatus.FAILED, error={"code": "checkpoint_gone", "message": message})
            return
        source = self._connections.target_of(model.connection_id)
        destination = self._connections.target_of(row.connection_id)
        errand = _Errand(row, model, *checkpoint, source, destination, now)
        with self._connections.data(source, Traffic.READ) as azure:
            copies = azure.checkpoint_copies(errand.remote_job, errand.remote_checkpoint)
        found = _of(destination, copies)
        if found is None or (found.status == FAILED and row.sent_at is None):
            self._ask(held, errand)
        else:
            self._take_in(held, row, model, found, now)

    def _ask(self, held: Claim, errand: _Errand) -> None:
        """Azure lists no such copy: ask for it, unless it was asked a moment ago."""
        row, model, now, destination = errand.row, errand.model, errand.now, errand.destination
        settle = timedelta(seconds=self._policy.settle_seconds)
        if row.sent_at is not None and now - row.sent_at < settle:
            self._wait(held, row, (row.sent_at + settle - now).total_seconds())
            return
        if row.asks >= ASKS_MAX:
            message = f"Azure was asked {row.asks} times and lists no such copy."
            self._end(held, row, model, CopyStatus.FAILED, error={"code": "copy_not_listed", "message": message})
            return
        with self._bench.begin() as work:
            care.write(work.session, held, sent_at=func.clock_timestamp(), asks=ModelCopy.asks + 1)
        failpoint("copies.intent")
        try:
            with self._connections.data(errand.source, Traffic.WRITE) as azure:
                copies = azure.copy_checkpoint(
                    errand.remote_job,
                    errand.remote_checkpoint,
                    destination_id=account_id(destination),
                    region=destination.region or "",
                )
        except OutcomeUnknown as error:
            log.warning("copy.outcome_unknown", id=row.id, error=error.message)
            self._wait(held, row, self._policy.settle_seconds)
            return
        except Unauthorised:
            raise  # waits for a person, and is no failure of the copy
        except Refused as error:
            self._end(held, row, model, CopyStatus.FAILED, error=describe(error))
            return
        failpoint("copies.sent")
        found = _of(destination, copies)
        if found is None or found.status == FAILED:
            self._wait(held, row, self._policy.deployment_poll_seconds)
        else:
            self._take_in(held, row, model, found, now)

    def _take_in(self, held: Claim, row: ModelCopy, model: Model, found: RemoteCopy, now: datetime) -> None:
        if found.status == COMPLETED:
            self._end(held, row, model, CopyStatus.READY, remote_status=found.status)
        elif found.status == FAILED:
            if row.sent_at is not None and now - row.sent_at < timedelta(seconds=self._policy.settle_seconds):
                self._wait(held, row, self._policy.deployment_poll_seconds)  # it may be the one that failed before
                return
            error = {
                "code": "copy_failed",
                "message": "Azure could not copy the model.",
                "hint": "The destination must have had a fine-tuning job and be reachable from the public network, "
                "and the source's identity needs the role Azure AI User on it.",
            }
            self._end(held, row, model, CopyStatus.FAILED, error=error, remote_status=found.status)
        elif row.status == CopyStatus.COPYING:
            self._wait(held, row, self._policy.deployment_poll_seconds, remote_status=found.status)
        else:
            with self._bench.begin() as work:
                self._move(
                    work,
                    held,
                    row,
                    model,
                    CopyStatus.COPYING,
                    check_in_seconds=self._policy.deployment_poll_seconds,
                    remote_status=found.status,
                )

    def _wait(self, held: Claim, row: ModelCopy, seconds: float, **values: Any) -> None:
        log.debug("copy.waits", id=row.id, seconds=seconds)
        with self._bench.begin() as work:
            care.finish(work.session, held, check_in_seconds=max(seconds, 0.05), **values)

    def _end(self, held: Claim, row: ModelCopy, model: Model, wanted: CopyStatus, **values: Any) -> None:
        with self._bench.begin() as work:
            values["finished_at"] = func.clock_timestamp()
            self._move(work, held, row, model, wanted, check_in_seconds=None, **values)
        failpoint("copies.recorded")

    @staticmethod
    def _move(
        work: UnitOfWork,
        held: Claim,
        row: ModelCopy,
        model: Model,
        wanted: CopyStatus,
        *,
        check_in_seconds: float | None,
        **values: Any,
    ) -> None:
        """The one way a copy changes its status: by law, under the fence, with its event."""
        care.move(
            work.session,
            held,
            COPY_LAW,
            CopyStatus(row.status),
            wanted,
            check_in_seconds=check_in_seconds,
            **values,
        )
        work.announce(
            f"model_copy.{wanted}",
            project_id=row.project_id,
            subject_id=row.id,
            **{"from": row.status, "to": str(wanted)},
            model=model.id,
            connection=row.connection_id,
            **({"error": values["error"]} if values.get("error") else {}),
        )


def account_id(target: AzureTarget) -> str:
    """The ARM id of a connection's account."""
    return (
        f"/subscriptions/{target.subscription_id}/resourceGroups/{target.resource_group}"
        f"/providers/Microsoft.CognitiveServices/accounts/{target.account}"
    )


def _of(destination: AzureTarget, copies: Sequence[RemoteCopy]) -> RemoteCopy | None:
    """How the copy to this destination stands; None = Azure lists none. ARM ids know no letter case."""
    wanted = account_id(destination).lower()
    ours = [copy for copy in copies if copy.destination_id.rstrip("/").lower() == wanted]
    return min(ours, key=lambda copy: _RANK.get(copy.status, 1), default=None)
