"""A deployment's steps, taken by workers under a claim: the PUT, the warming, the watch, the end; and comparisons.

The reaper is this same care: a living row is always looked at no later than its `expires_at`. Each step does at
most one remote mutation, never inside a transaction, and may die at any line.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

import structlog
from sqlalchemy import func

from app.access.service import AccessService
from app.azure.port import (
    AzureError,
    AzureTarget,
    ChatAnswer,
    NewRemoteDeployment,
    NotThere,
    OutcomeUnknown,
    Refused,
    RemoteDeployment,
    Throttled,
    Unauthorised,
    Unavailable,
    is_of_credential,
)
from app.connections.service import ConnectionService, Traffic
from app.costs.service import CostService
from app.deployments import repository
from app.deployments.inference import Question, ask
from app.deployments.service import hosting_usd
from app.deployments.states import (
    COMPARISON_LAW,
    DEPLOYMENT_LAW,
    ComparisonStatus,
    DeleteReason,
    DeploymentStatus,
    OnRemoval,
)
from app.deployments.tables import Comparison, ComparisonAnswer, Deployment
from app.kit import care
from app.kit.care import Claim
from app.kit.db import storable
from app.kit.failpoints import failpoint
from app.workbench import UnitOfWork, Workbench, describe

log = structlog.get_logger("kitae.deployments")

PAUSED_LOOK_SECONDS: Final = 15.0
"""How often a deployment of a paused project looks whether it may go on."""
READY_LOOK_FACTOR: Final = 6
"""A ready deployment is looked at so many times more rarely than one in the making."""
MISSING_FACTOR: Final = 2
"""Azure must not show a deployment twice, so many polls apart, before it counts as gone."""
NOT_YET_FACTOR: Final = 12
"""For so many polls after a PUT (two minutes) a 404 may only mean "not yet".

Source: changelog of Azure's management SDK for Cognitive Services, 15.0.0b4, 2026 (compute answers 404 for a long
time after the create was accepted).
"""
CREATE_LIMIT_FACTOR: Final = 2
"""A creation may take so many warm-up limits before it counts as stuck."""
ENDED_BADLY: Final = frozenset({"Failed", "Canceled"})
"""Words of ARM after which a creation never succeeds. Source: ARM asynchronous operations."""
PROBE: Final = Question(messages=({"role": "user", "content": "ping"},), max_tokens=1)
"""The cheapest question there is."""


class DeploymentSteps:
    """What workers do for deployments."""

    def __init__(self, bench: Workbench) -> None:
        self._bench = bench
        self._policy = bench.policy
        self._access = AccessService(bench)
        self._connections = ConnectionService(bench)
        self._costs = CostService(bench)

    def advance(self, deployment_id: str) -> None:
        """Take the deployment as far as it goes without waiting."""
        self._bench.tend(Deployment, deployment_id, self._step, noun="deployment")

    def _step(self, held: Claim) -> None:
        with self._bench.read() as session:
            row, now = repository.load(session, held.row_id)
        match DeploymentStatus(row.status):
            case DeploymentStatus.CREATING | DeploymentStatus.WARMING | DeploymentStatus.READY if (
                row.delete_requested_at or row.expires_at <= now
            ):
                reason = DeleteReason.ASKED if row.delete_requested_at else DeleteReason.EXPIRED
                self._begin_deletion(held, row, reason)
            case DeploymentStatus.CREATING:
                self._create(held, row, now)
            case DeploymentStatus.WARMING:
                self._warm(held, row, now)
            case DeploymentStatus.READY:
                self._look(held, row, now)
            case DeploymentStatus.DELETING:
                self._delete(held, row, now)
            case _:
                self._finish(held, check_in_seconds=None)

    def _finish(self, held: Claim, *, check_in_seconds: float | None, **values: Any) -> None:
        """The step went well and the status stays."""
        with self._bench.begin() as work:
            if values:
                values["updated_at"] = func.clock_timestamp()
            care.finish(work.session, held, check_in_seconds=check_in_seconds, **values)
            repository.heed_wishes(work.session, held.row_id)

    def _move(
        self,
        work: UnitOfWork,
        held: Claim,
        row: Deployment,
        wanted: DeploymentStatus,
        *,
        check_in_seconds: float | None,
        tell: Mapping[str, Any] | None = None,
        **values: Any,
    ) -> None:
        """The one way a deployment changes its status: by law, under the fence, with its event.

        Args:
            tell: more members of the event.
        """
        current = DeploymentStatus(row.status)
        care.move(work.session, held, DEPLOYMENT_LAW, current, wanted, check_in_seconds=check_in_seconds, **values)
        repository.heed_wishes(work.session, held.row_id)
        work.announce(
            f"deployment.{wanted}",
            project_id=row.project_id,
            subject_id=row.id,
            **{"from": row.status, "to": str(wanted)},
            name=row.name,
            error=(values.get("error") or {}).get("code"),
            **(tell or {}),
        )

    @property
    def _poll(self) -> float:
        return self._policy.deployment_poll_seconds

    def _take_account(self, target: AzureTarget, row: Deployment) -> bool:
        """The account's one write, until well after our next look; False while another deployment has it."""
        seconds = self._policy.lease_seconds + 2 * self._poll
        return self._connections.take_account(target, row.id, seconds=seconds)

    # ── creating ────────────────────────────────────────────────────────────

    def _create(self, held: Claim, row: Deployment, now: datetime) -> None:
        target = self._connections.target_of(row.connection_id)
        if row.put_sent_at is None and self._access.is_paused(row.project_id):
            self._finish(held, check_in_seconds=PAUSED_LOOK_SECONDS)
            return
        if not self._take_account(target, row):
            self._finish(held, check_in_seconds=self._poll)
            return
        try:
            with self._connections.control(target, Traffic.READ) as arm:
                remote = arm.get_deployment(row.name)
        except Refused as error:
            if row.put_sent_at is not None or is_of_credential(error):
                raise
            self._put_refused(held, row, target, error)  # no such account, or no right to it: nothing was made
            return
        if remote is None and row.provisioning_state is not None:
            remote = self._find_in_list(target, row)
            if remote is None:
                self._missing(held, row, now, patience_seconds=NOT_YET_FACTOR * self._poll)
                return
        if remote is None:
            self._put(held, row, target)
        elif is_ours(row, remote):
            self._follow_creation(held, row, target, remote, now)
        else:
            self._name_taken(held, row, target, remote)

    def _find_in_list(self, target: AzureTarget, row: Deployment) -> RemoteDeployment | None:
        """A young deployment may stand in the list before a GET by name finds it."""
        with self._connections.control(target, Traffic.READ) as arm:
            found = arm.list_deployments()
        return next((item for item in found if item.name.lower() == row.name.lower()), None)

    def _put(self, held: Claim, row: Deployment, target: AzureTarget) -> None:
        if self._access.is_paused(row.project_id):  # asked again: an earlier PUT may have made nothing
            self._finish(held, check_in_seconds=PAUSED_LOOK_SECONDS)
            self._connections.free_account(target, row.id)
            return
        try:
            with self._connections.control(target, Traffic.WRITE) as arm:
                self._write_intent(held)
                failpoint("deployments.put.intent")
                remote = arm.put_deployment(self._request(row))
        except Refused as error:
            if is_of_credential(error):
                raise
            self._put_refused(held, row, target, error)
            return
        failpoint("deployments.put.sent")
        self._finish(
            held,
            check_in_seconds=self._poll,
            operation_url=remote.operation_url,
            provisioning_state=remote.provisioning_state,
            hosting_started_at=func.coalesce(Deployment.hosting_started_at, func.clock_timestamp()),
        )
        failpoint("deployments.put.recorded")

    def _write_intent(self, held: Claim) -> None:
        """From this commit on the PUT may have happened. The lease now outlasts the longest request."""
        with self._bench.begin() as work:
            care.extend(work.session, held, lease_seconds=self._policy.lease_seconds)
            repository.change(work.session, held, put_sent_at=func.clock_timestamp())

    def _request(self, row: Deployment) -> NewRemoteDeployment:
        return NewRemoteDeployment(
            name=row.name,
            model_format=row.model_format,
            model_name=row.remote_model,
            model_version=row.model_version,
            sku_name=row.sku,
            capacity=row.capacity,
            tags=self._tags(row),
        )

    def _tags(self, row: Deployment) -> dict[str, str]:
        return tags_of(row, self._policy.environment)

    def _put_refused(self, held: Claim, row: Deployment, target: AzureTarget, error: Refused) -> None:
        """A definite no. After an earlier PUT whose answer was lost, something may be there: clear it away."""
        if row.recreated and error.code == "azure_insufficient_quota":
            raise error  # its own deletion has not given the quota back yet
        if row.put_sent_at is not None:
            self._begin_deletion(held, row, DeleteReason.FAILED, error=describe(error))
            return
        with self._bench.begin() as work:
            self._settle(work, row, Decimal(0), "never made")
            self._move(
                work,
                held,
                row,
                DeploymentStatus.FAILED,
                check_in_seconds=None,
                error=describe(error),
                cost_usd=Decimal(0),
            )
        self._connections.free_account(target, row.id)

    def _name_taken(self, held: Claim, row: Deployment, target: AzureTarget, remote: RemoteDeployment) -> None:
        error = {
            "code": "name_taken_at_azure",
            "message": f"Azure has a deployment named {row.name!r} that is not this one.",
            "hint": "Choose another name. What is there was left as it is.",
            "remote": {"model": remote.model_name, "sku": remote.sku_name, "tags": dict(remote.tags)},
        }
        with self._bench.begin() as work:
            self._settle(work, row, Decimal(0), "never made")
            self._move(
                work, held, row, DeploymentStatus.FAILED, check_in_seconds=None, error=error, cost_usd=Decimal(0)
            )
        self._connections.free_account(target, row.id)

    def _follow_creation(
        self, held: Claim, row: Deployment, target: AzureTarget, remote: RemoteDeployment, now: datetime
    ) -> None:
        """ARM shows it: keep its word and wait until that is an end."""
        seen: dict[str, Any] = {
            "provisioning_state": remote.provisioning_state,
            "remote_seen_at": func.clock_timestamp(),
            "missing_since": None,
            "hosting_started_at": func.coalesce(
                Deployment.hosting_started_at, Deployment.put_sent_at, func.clock_timestamp()
            ),
        }
        limit = CREATE_LIMIT_FACTOR * self._policy.warm_up_limit_seconds
        if remote.provisioning_state == "Succeeded":
            with self._bench.begin() as work:
                self._move(
                    work,
                    held,
                    row,
                    DeploymentStatus.WARMING,
                    check_in_seconds=0,
                    warm_since=func.clock_timestamp(),
                    **seen,
                )
            self._connections.free_account(target, row.id)
        elif remote.provisioning_state in ENDED_BADLY:
            error = self._words_of_failure(target, row, remote)
            self._begin_deletion(held, row, DeleteReason.FAILED, error=error, **seen)
        elif row.put_sent_at is not None and (now - row.put_sent_at).total_seconds() > limit:
            self._never_came(held, row, f"Azure has been making it for more than {limit:.0f} s.")
        else:
            self._finish(held, check_in_seconds=self._poll, **seen)

    def _words_of_failure(self, target: AzureTarget, row: Deployment, remote: RemoteDeployment) -> dict[str, Any]:
        """Why ARM says that the creation failed; the operation knows more than the deployment."""
        said: Mapping[str, Any] = {}
        if row.operation_url is not None:
            try:
                with self._connections.control(target, Traffic.READ) as arm:
                    said = arm.get_operation(row.operation_url).error or {}
            except NotThere:
                said = {}  # operations are forgotten after a while
        return {
            "code": f"azure_{said.get('code') or 'deployment_failed'}",
            "message": said.get("message") or f"Azure ended the creation as {remote.provisioning_state}.",
            "hint": "Deploy it again; if it fails again, choose another sku or region, or ask Azure's support.",
            "remote": {"error": dict(said), "deployment": dict(remote.raw)},
        }

    # ── warming ─────────────────────────────────────────────────────────────

    def _warm(self, held: Claim, row: Deployment, now: datetime) -> None:
        target = self._connections.target_of(row.connection_id)
        answered = self._probe(target, row)
        failpoint("deployments.warm.probed")
        waited = (now - (row.warm_since or now)).total_seconds()
        if answered:
            with self._bench.begin() as work:
                self._move(
                    work,
                    held,
                    row,
                    DeploymentStatus.READY,
                    check_in_seconds=0 if row.capacity_wanted else READY_LOOK_FACTOR * self._poll,
                    tell={"warm_up_seconds": round(waited, 1)},
                    missing_since=None,
                    error=None,
                )
            return
        with self._connections.control(target, Traffic.READ) as arm:
            remote = arm.get_deployment(row.name)
        if remote is None or not is_ours(row, remote):
            self._missing(held, row, now, patience_seconds=MISSING_FACTOR * self._poll)
        elif waited > self._policy.warm_up_limit_seconds:
            self._never_came(held, row, f"It did not answer within {waited:.0f} s.")
        else:
            self._finish(held, check_in_seconds=self._poll, missing_since=None)

    def _probe(self, target: AzureTarget, row: Deployment) -> bool:
        """Whether it answers. Any judgement on the question itself is an answer; only the model can give one."""
        try:
            ask(self._connections, target, row.name, PROBE)
        except (NotThere, Throttled, Unavailable) as error:
            if error.http_status is None:
                raise  # nobody answered, or our own gate is shut: that says nothing of the deployment
            log.info("deployment.not_warm", id=row.id, code=error.code)
            return False
        except Unauthorised:
            raise
        except Refused as error:
            if error.http_status not in {400, 422}:
                raise
        return True

    def _never_came(self, held: Claim, row: Deployment, what: str) -> None:
        error = {
            "code": "never_warmed",
            "message": what,
            "hint": "It is deleted and made once more by itself; if that does not help, another region or sku may.",
        }
        self._begin_deletion(held, row, DeleteReason.NEVER_WARMED, error=error)

    # ── ready ───────────────────────────────────────────────────────────────

    def _look(self, held: Claim, row: Deployment, now: datetime) -> None:
        """Whether it is still there; also where a wished change is sent."""
        target = self._connections.target_of(row.connection_id)
        with self._connections.control(target, Traffic.READ) as arm:
            remote = arm.get_deployment(row.name)
        if remote is None or not is_ours(row, remote):
            self._missing(held, row, now, patience_seconds=MISSING_FACTOR * self._poll)
        elif row.capacity_wanted is not None:
            self._send_change(held, row, target, row.capacity_wanted)
        else:
            drift = difference(row, remote, self._tags(row)) or None
            if drift != row.drift:
                self._note_drift(held, row, drift)
                return
            changed = remote.provisioning_state != row.provisioning_state or row.missing_since is not None
            values = {"provisioning_state": remote.provisioning_state, "missing_since": None} if changed else {}
            self._finish(held, check_in_seconds=READY_LOOK_FACTOR * self._poll, **values)

    def _note_drift(self, held: Claim, row: Deployment, drift: dict[str, Any] | None) -> None:
        """Somebody changed it at Azure: that is told and shown, and nothing is changed back."""
        log.warning("deployment.drifted", id=row.id, drift=drift)
        with self._bench.begin() as work:
            care.finish(
                work.session,
                held,
                check_in_seconds=READY_LOOK_FACTOR * self._poll,
                updated_at=func.clock_timestamp(),
                missing_since=None,
                drift=drift,
            )
            repository.heed_wishes(work.session, held.row_id)
            work.announce(
                "deployment.drifted" if drift else "deployment.drift_ended",
                project_id=row.project_id,
                subject_id=row.id,
                name=row.name,
                difference=drift or {},
            )

    def _send_change(self, held: Claim, row: Deployment, target: AzureTarget, capacity: int) -> None:
        if not self._take_account(target, row):
            self._finish(held, check_in_seconds=self._poll)
            return
        refusal: dict[str, Any] | None = None
        try:
            with self._connections.control(target, Traffic.WRITE) as arm:
                arm.update_deployment(row.name, sku_name=row.sku, capacity=capacity, tags=self._tags(row))
        except Refused as error:
            if is_of_credential(error):
                raise  # the wish stands
            refusal = describe(error)
        with self._bench.begin() as work:
            care.finish(
                work.session,
                held,
                check_in_seconds=READY_LOOK_FACTOR * self._poll,
                updated_at=func.clock_timestamp(),
                capacity=row.capacity if refusal else capacity,
                capacity_wanted=repository.wanted_unless(capacity),
            )
            repository.heed_wishes(work.session, held.row_id)
            work.announce(
                "deployment.change_refused" if refusal else "deployment.changed",
                project_id=row.project_id,
                subject_id=row.id,
                capacity=capacity,
                error=refusal,
            )
        self._connections.free_account(target, row.id)

    def _missing(self, held: Claim, row: Deployment, now: datetime, *, patience_seconds: float) -> None:
        """Azure does not show it. Believed when it is so again after a while; `on_removal` says what follows."""
        if row.missing_since is None:
            self._finish(
                held,
                check_in_seconds=min(patience_seconds, MISSING_FACTOR * self._poll),
                missing_since=func.clock_timestamp(),
            )
            return
        missing_seconds = (now - row.missing_since).total_seconds()
        if missing_seconds < patience_seconds:
            self._finish(held, check_in_seconds=min(self._poll, patience_seconds - missing_seconds))
            return
        kept_away = self._why_not_again(row, now)
        if kept_away is None:
            self._make_again(held, row, row.missing_since)
            return
        error = {
            "code": "removed_by_azure",
            "message": f"Azure no longer has this deployment. {kept_away}".strip(),
            "hint": "Azure removes deployments after 15 days without a call, DeveloperTier ones after 24 hours; "
            "or somebody deleted it there. The model is still there: deploy it again.",
        }
        with self._bench.begin() as work:
            cost = self._cost(row, row.missing_since)
            self._settle(work, row, cost, "removed at Azure")
            self._move(
                work,
                held,
                row,
                DeploymentStatus.REMOVED_BY_AZURE,
                check_in_seconds=None,
                hosting_ended_at=row.missing_since,
                cost_usd=cost,
                error=error,
            )
        self._connections.free_account(self._connections.target_of(row.connection_id), row.id)

    def _why_not_again(self, row: Deployment, now: datetime) -> str | None:
        """Why a removed deployment is not made again, in words (none when nobody asked for it); None = it is."""
        most = self._policy.recreate_max
        if row.on_removal != OnRemoval.RECREATE:
            return ""
        if row.status == DeploymentStatus.CREATING:
            return "It was not made again: it had not been seen whole."
        if row.removals >= most:
            return f"It was not made again: that has happened {row.removals} times already."
        if row.expires_at <= now:
            return "It was not made again: its time is up."
        if self._access.is_paused(row.project_id):
            return "It was not made again: the project is paused."
        if not self._is_borne(row):
            return "It was not made again: the project's budget no longer bears it."
        return None

    def _is_borne(self, row: Deployment) -> bool:
        """Whether the caps, which may have been lowered since, still allow what was reserved for it."""
        budget = self._costs.budget(row.project_id)
        month, single = budget.month_cap_usd, budget.job_cap_usd
        return (month is None or budget.month_used_usd <= month) and (single is None or row.reserved_usd <= single)

    def _make_again(self, held: Claim, row: Deployment, gone_since: datetime) -> None:
        """For the rest of its time. Its reservation was for all of it, so what is left of it pays for the rest."""
        log.warning("deployment.made_again", id=row.id, removals=row.removals + 1)
        with self._bench.begin() as work:
            self._move(
                work,
                held,
                row,
                DeploymentStatus.CREATING,
                check_in_seconds=self._policy.quota_release_seconds,
                tell={"because": "removed_by_azure", "removals": row.removals + 1},
                removals=row.removals + 1,
                drift=None,
                **self._fresh_round(row, gone_since),
            )
        self._connections.free_account(self._connections.target_of(row.connection_id), row.id)

    # ── deleting ────────────────────────────────────────────────────────────

    def _begin_deletion(
        self,
        held: Claim,
        row: Deployment,
        reason: DeleteReason,
        *,
        error: dict[str, Any] | None = None,
        **values: Any,
    ) -> None:
        with self._bench.begin() as work:
            self._move(
                work,
                held,
                row,
                DeploymentStatus.DELETING,
                check_in_seconds=0,
                tell={"reason": str(reason)},
                delete_reason=reason,
                delete_sent_at=None,
                error=error or row.error,
                **(values | {"missing_since": None}),
            )

    def _delete(self, held: Claim, row: Deployment, now: datetime) -> None:
        """Gone only when Azure no longer shows it; until then hosting is paid."""
        target = self._connections.target_of(row.connection_id)
        if row.put_sent_at is None:
            self._gone(held, row, target)
            return
        with self._connections.control(target, Traffic.STOP_MONEY) as arm:
            remote = arm.get_deployment(row.name)
        if remote is None:
            unseen = row.remote_seen_at is None
            if unseen and (now - row.put_sent_at).total_seconds() < NOT_YET_FACTOR * self._poll:
                self._finish(held, check_in_seconds=self._poll)  # a young one may still come into sight
            else:
                self._gone(held, row, target)
        elif not is_ours(row, remote):
            self._gone(held, row, target)
        elif row.delete_sent_at is not None and remote.provisioning_state == "Deleting":
            self._take_account(target, row)
            self._finish(held, check_in_seconds=self._poll)
        else:
            self._send_delete(held, row, target)

    def _send_delete(self, held: Claim, row: Deployment, target: AzureTarget) -> None:
        if not self._take_account(target, row):
            self._finish(held, check_in_seconds=self._poll)
            return
        with self._connections.control(target, Traffic.STOP_MONEY) as arm:
            arm.delete_deployment(row.name)
        failpoint("deployments.delete.sent")
        self._finish(
            held,
            check_in_seconds=self._poll,
            delete_sent_at=func.clock_timestamp(),
            remote_seen_at=func.clock_timestamp(),
            provisioning_state="Deleting",
        )
        failpoint("deployments.delete.recorded")

    def _gone(self, held: Claim, row: Deployment, target: AzureTarget) -> None:
        match self._final_reason(row):
            case DeleteReason.NEVER_WARMED:
                self._again_or_park(held, row)
            case reason:
                wanted = {
                    DeleteReason.ASKED: DeploymentStatus.DELETED,
                    DeleteReason.EXPIRED: DeploymentStatus.EXPIRED,
                    DeleteReason.FAILED: DeploymentStatus.FAILED,
                }[reason]
                with self._bench.begin() as work:
                    ended_at = repository.now(work.session)
                    cost = Decimal(0) if reason is DeleteReason.FAILED else self._cost(row, ended_at)
                    self._settle(work, row, cost, f"{self._hosted(row, ended_at) / 3600:.2f} hours hosted")
                    self._move(
                        work,
                        held,
                        row,
                        wanted,
                        check_in_seconds=None,
                        hosting_ended_at=ended_at if row.hosting_started_at else None,
                        cost_usd=cost,
                        delete_reason=reason,
                        error=row.error if reason is DeleteReason.FAILED else None,
                    )
        self._connections.free_account(target, row.id)

    @staticmethod
    def _final_reason(row: Deployment) -> DeleteReason:
        """A person's wish overrules why the deletion was begun."""
        if row.delete_requested_at and row.delete_reason != DeleteReason.EXPIRED:
            return DeleteReason.ASKED
        return DeleteReason(row.delete_reason or DeleteReason.ASKED)

    def _again_or_park(self, held: Claim, row: Deployment) -> None:
        """It never answered: make it once more. The second time it rests, deleted and free, until a person acts."""
        values: dict[str, Any] = {}
        if row.recreated:
            values["parked_reason"] = "It never answered, also after it was made anew; it is deleted at Azure."
        with self._bench.begin() as work:
            ended_at = repository.now(work.session)
            self._move(
                work,
                held,
                row,
                DeploymentStatus.CREATING,
                check_in_seconds=self._policy.quota_release_seconds,
                tell={"recreated": True},
                recreated=True,
                **self._fresh_round(row, ended_at),
                **values,
            )
            if values:
                work.announce(
                    "deployment.parked",
                    project_id=row.project_id,
                    subject_id=row.id,
                    reason=values["parked_reason"],
                    error=row.error,
                )

    def _fresh_round(self, row: Deployment, ended_at: datetime) -> dict[str, Any]:
        """What a row is when it is to be made anew: as if nothing had been sent, with the hours of before kept."""
        return {
            "provisioning_state": None,
            "operation_url": None,
            "put_sent_at": None,
            "remote_seen_at": None,
            "missing_since": None,
            "warm_since": None,
            "delete_reason": None,
            "delete_sent_at": None,
            "hosting_started_at": None,
            "hosted_seconds": self._hosted(row, ended_at),
        }

    # ── money ───────────────────────────────────────────────────────────────

    @staticmethod
    def _hosted(row: Deployment, until: datetime) -> float:
        """Seconds for which hosting may have been paid, over all rounds."""
        running = (until - row.hosting_started_at).total_seconds() if row.hosting_started_at else 0.0
        return row.hosted_seconds + max(0.0, running)

    def _cost(self, row: Deployment, until: datetime) -> Decimal | None:
        return hosting_usd(row.hourly_usd, self._hosted(row, until))

    def _settle(self, work: UnitOfWork, row: Deployment, amount: Decimal | None, note: str) -> None:
        self._costs.settle(
            work,
            project_id=row.project_id,
            key_id=row.key_id,
            subject_id=row.id,
            category="hosting",
            amount_usd=amount,
            note=note,
        )


def tags_of(row: Deployment, environment: str) -> dict[str, str]:
    """By which it is known as ours, and by which a person in the portal sees when it ends."""
    return {
        "svc": "kitae",
        "env": environment,
        "op_key": row.id,
        "project": row.project_id,
        "expires_at": row.expires_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }


def is_ours(row: Deployment, remote: RemoteDeployment) -> bool:
    """Whether what stands at Azure under our name is what we asked for.

    Its op_key says so. One without any may be ours only after our PUT was sent, and if it is of our model: a
    deployment that somebody made by hand must never be deleted at our expiry.
    """
    op_key = remote.tags.get("op_key")
    if op_key is not None:
        return op_key == row.id
    same_model = remote.model_name is None or remote.model_name.lower() == row.remote_model.lower()
    return row.put_sent_at is not None and same_model


def difference(row: Deployment, remote: RemoteDeployment, tags: Mapping[str, str]) -> dict[str, Any]:
    """What is not as we made it, as `{"sku": {"ours": …, "azure": …}}`. Tags of others are none of our business.

    Args:
        tags: those we gave it.
    """
    pairs: dict[str, tuple[Any, Any]] = {
        "model": (row.remote_model, remote.model_name),
        "sku": (row.sku, remote.sku_name),
        "capacity": (row.capacity, remote.capacity),
    }
    found: dict[str, Any] = {
        name: {"ours": ours, "azure": azure}
        for name, (ours, azure) in pairs.items()
        if azure is not None and str(azure).lower() != str(ours).lower()
    }
    changed = {name: {"ours": ours, "azure": remote.tags.get(name)} for name, ours in tags.items()}
    changed = {name: pair for name, pair in changed.items() if pair["azure"] != pair["ours"]}
    return found | ({"tags": changed} if changed else {})


# ── comparisons ─────────────────────────────────────────────────────────────

ASKED_AT_ONCE: Final = 4
"""Questions of one comparison under way at the same time: quick enough for a person who waits, slow enough for a
deployment of 100 thousand tokens per minute."""
TRIES: Final = 3
"""After so many silent tries in a row the silence is recorded as the answer."""


@dataclass(frozen=True, slots=True)
class _Asked:
    """One question of a comparison."""

    prompt: int
    candidate: int
    deployment: Deployment
    question: Question


class ComparisonSteps:
    """What workers do for comparisons: a few questions a step; what is recorded is never asked again."""

    def __init__(self, bench: Workbench) -> None:
        self._bench = bench
        self._access = AccessService(bench)
        self._connections = ConnectionService(bench)
        self._costs = CostService(bench)

    def advance(self, comparison_id: str) -> None:
        """Ask until nothing is left to ask, or time is up."""
        self._bench.tend(Comparison, comparison_id, self._step, noun="comparison")

    def _step(self, held: Claim) -> None:
        with self._bench.read() as session:
            comparison = repository.get_comparison_unscoped(session, held.row_id)
            known = repository.answered(session, held.row_id)
        if comparison.status != ComparisonStatus.RUNNING:
            with self._bench.begin() as work:
                care.finish(work.session, held, check_in_seconds=None)
            return
        left = [
            (prompt, candidate)
            for prompt in range(len(comparison.prompts))
            for candidate in range(len(comparison.candidates))
            if (prompt, candidate) not in known
        ]
        if not left:
            self._end(held, comparison)
            return
        if self._access.is_paused(comparison.project_id):
            with self._bench.begin() as work:
                care.finish(work.session, held, check_in_seconds=PAUSED_LOOK_SECONDS)
            return
        self._ask_some(held, comparison, left[:ASKED_AT_ONCE])
        with self._bench.begin() as work:
            care.finish(work.session, held, check_in_seconds=0, updated_at=func.clock_timestamp())

    def _ask_some(self, held: Claim, comparison: Comparison, places: Sequence[tuple[int, int]]) -> None:
        """Ask in parallel and record what comes; afterwards raise the first thing that should be tried again."""
        questions = [self._question(comparison, prompt, candidate) for prompt, candidate in places]
        again: AzureError | None = None
        with ThreadPoolExecutor(max_workers=len(questions), thread_name_prefix="comparison") as pool:
            asked: dict[Future[ChatAnswer], _Asked] = {pool.submit(self._ask, item): item for item in questions}
            for future in as_completed(asked):
                item = asked[future]
                try:
                    answer = self._told(item, future.result())
                except Throttled as error:
                    again = error
                    continue
                except (Unavailable, OutcomeUnknown) as error:
                    if held.fail_count < TRIES:
                        again = again or error
                        continue
                    answer = _refused(describe(error))
                except AzureError as error:
                    answer = _refused(describe(error))
                self._record(held, comparison, item, answer)
        if again is not None:
            raise again

    def _question(self, comparison: Comparison, prompt: int, candidate: int) -> _Asked:
        chosen = comparison.candidates[candidate]
        with self._bench.read() as session:
            deployment, _ = repository.load(session, chosen["deployment"])
        system = [{"role": "system", "content": chosen["system"]}] if chosen["system"] else []
        return _Asked(
            prompt,
            candidate,
            deployment,
            Question(
                messages=[*system, {"role": "user", "content": comparison.prompts[prompt]}],
                max_tokens=comparison.max_tokens,
                temperature=comparison.temperature,
            ),
        )

    def _ask(self, item: _Asked) -> ChatAnswer:
        if item.deployment.status != DeploymentStatus.READY:
            raise Refused(
                f"The deployment {item.deployment.name!r} is {item.deployment.status}.",
                code="deployment_not_ready",
                hint="Deploy the model again and compare again.",
            )
        target = self._connections.target_of(item.deployment.connection_id)
        return ask(self._connections, target, item.deployment.name, item.question)

    def _told(self, item: _Asked, answer: ChatAnswer) -> ComparisonAnswer:
        return ComparisonAnswer(
            text=storable(answer.text),
            finish_reason=answer.finish_reason,
            prompt_tokens=answer.prompt_tokens,
            completion_tokens=answer.completion_tokens,
            latency_seconds=round(answer.latency_seconds, 3),
            cost_usd=self._costs.inference_cost(
                base_model=item.deployment.base_model,
                sku=item.deployment.sku,
                prompt_tokens=answer.prompt_tokens,
                completion_tokens=answer.completion_tokens,
            ),
        )

    def _record(self, held: Claim, comparison: Comparison, item: _Asked, answer: ComparisonAnswer) -> None:
        answer.comparison_id, answer.prompt, answer.candidate = comparison.id, item.prompt, item.candidate
        with self._bench.begin() as work:
            care.extend(work.session, held, lease_seconds=self._bench.policy.lease_seconds)
            repository.put_answer(work.session, answer)
            repository.touch_used(work.session, item.deployment.id, at_most_every_seconds=60.0)
        failpoint("comparisons.answer.recorded")

    def _end(self, held: Claim, comparison: Comparison) -> None:
        with self._bench.begin() as work:
            answers = repository.answers(work.session, [comparison.id])
            told = [item for item in answers if item.text is not None]
            cost = sum((item.cost_usd for item in told if item.cost_usd is not None), Decimal(0))
            wanted = ComparisonStatus.SUCCEEDED if told else ComparisonStatus.FAILED
            COMPARISON_LAW.check(ComparisonStatus(comparison.status), wanted)
            self._costs.settle(
                work,
                project_id=comparison.project_id,
                key_id=comparison.key_id,
                subject_id=comparison.id,
                category="inference",
                amount_usd=cost,
                note=f"{len(told)} answers",
            )
            care.finish(
                work.session,
                held,
                check_in_seconds=None,
                status=wanted,
                cost_usd=cost,
                updated_at=func.clock_timestamp(),
                finished_at=func.clock_timestamp(),
            )
            work.announce(
                f"comparison.{wanted}",
                project_id=comparison.project_id,
                subject_id=comparison.id,
                **{"from": comparison.status, "to": str(wanted)},
                answers=len(told),
                refused=len(answers) - len(told),
            )


def _refused(error: dict[str, Any]) -> ComparisonAnswer:
    return ComparisonAnswer(text=None, error=error)
