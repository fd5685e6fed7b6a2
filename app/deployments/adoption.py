"""A deployment that Azure has and no row names becomes a row again. It knows nothing of how it was found."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import func

from app.azure.catalogue.catalogue import BaseModel
from app.azure.payloads import deployment_from, moment
from app.azure.port import RemoteDeployment
from app.costs.service import CostService
from app.deployments import repository
from app.deployments.service import DEVELOPER, TUNED_VERSION, DeploymentService, asked_end, hosting_usd
from app.deployments.states import DeploymentStatus
from app.deployments.tables import Deployment
from app.kit.caller import Caller
from app.kit.clock import utc_now
from app.kit.errors import Conflict, FieldError, Invalid
from app.models.service import ModelService
from app.workbench import UnitOfWork, Workbench


@dataclass(frozen=True, slots=True)
class AdoptableDeployment:
    """A row that could be, ready to be written."""

    row: Deployment


class DeploymentAdoption:
    """Takes deployments in that were made here and that the database has lost."""

    def __init__(self, bench: Workbench) -> None:
        self._bench = bench
        self._costs = CostService(bench)
        self._models = ModelService(bench)

    def prepare(
        self,
        caller: Caller,
        *,
        op_key: str,
        connection_id: str,
        remote: Mapping[str, Any],
        tagged_end: datetime | None,
        expires_at: datetime | None,
        ttl_seconds: int | None,
    ) -> AdoptableDeployment:
        """Everything a row needs, from ARM's object and from what the caller adds. Writes nothing.

        Args:
            op_key: becomes the row's id again.
            remote: ARM's deployment, verbatim.
            tagged_end: the end that stands in its tags; it holds unless the caller names another.

        Raises:
            Invalid: its model is not in the catalogue, or there is no end ahead (`end_unknown`).
        """
        found = deployment_from(dict(remote))
        name, sku = found.model_name or "", found.sku_name or ""
        base = self._bench.catalogue.find(name)
        if base is None:
            detail = f"Its model {name!r} is not in the catalogue, so nobody can say what it costs."
            hint = "An operator can add it to the catalogue file; until then it can be removed or ignored."
            raise Invalid(detail, code="unknown_model", hint=hint)
        end = asked_end(
            expires_at, ttl_seconds, longest_seconds=DeploymentService(self._bench).longest_seconds(sku), sku=sku
        )
        end = end or tagged_end
        if end is None or end <= utc_now():
            detail = "There is no end ahead: its tags name none, or one that has passed."
            error = FieldError(pointer="/ttl_seconds", detail=detail, code="end_unknown")
            raise Invalid(detail, code="end_unknown", hint="Give `expires_at` or `ttl_seconds`.", errors=[error])
        return AdoptableDeployment(self._row(caller, op_key, connection_id, found, base, end, tagged_end))

    def _row(  # noqa: PLR0917  each is a fact about the deployment
        self,
        caller: Caller,
        op_key: str,
        connection_id: str,
        found: RemoteDeployment,
        base: BaseModel,
        end: datetime,
        tagged_end: datetime | None,
    ) -> Deployment:
        name, sku = found.model_name or "", found.sku_name or ""
        tuned = ".ft-" in name
        model = self._models.find_remote(caller.project_id, name) if tuned else None
        hourly = (
            self._costs.hourly_hosting(base_model=base.id, sku=sku) if tuned and sku != DEVELOPER else Decimal(0)
        )
        began = created_at(found.raw) or utc_now()
        properties = found.raw.get("properties") or {}
        of_model = properties.get("model") or {}
        capacity = found.capacity or 1
        return Deployment(
            id=op_key,
            project_id=caller.project_id,
            connection_id=connection_id,
            key_id=caller.key_id,
            model_id=model.id if model else None,
            base_model=base.id,
            remote_model=name,
            model_format=str(of_model.get("format") or base.format or "OpenAI"),
            model_version=str(of_model.get("version") or TUNED_VERSION),
            name=found.name,
            sku=sku,
            capacity=capacity,
            capacity_wanted=None if end == tagged_end else capacity,
            hourly_usd=hourly,
            reserved_usd=hosting_usd(hourly, (end - began).total_seconds()) or Decimal(0),
            status=DeploymentStatus.WARMING,
            provisioning_state=found.provisioning_state,
            put_sent_at=func.clock_timestamp(),
            remote_seen_at=func.clock_timestamp(),
            warm_since=func.clock_timestamp(),
            hosting_started_at=began,
            expires_at=end,
            next_check_at=func.clock_timestamp(),
        )

    def insert(self, work: UnitOfWork, caller: Caller, wanted: AdoptableDeployment) -> None:
        """Write the row; from now on it is cared for, and deleted at its end, like any other.

        Raises:
            BudgetExceeded: a cap does not bear its hosting.
            Conflict: the row is there already (`already_there`), or another one has its name (`name_taken`).
        """
        row = wanted.row
        if work.session.get(Deployment, row.id) is not None:
            raise Conflict(f"The deployment {row.id} has a row already.", code="already_there")
        self._costs.reserve(
            work,
            caller,
            subject_id=row.id,
            category="hosting",
            amount_usd=row.reserved_usd,
            note=f"{row.name}, {row.sku}, adopted, until {row.expires_at:%Y-%m-%d %H:%M} UTC",
        )
        if repository.is_name_taken(work.session, row.connection_id, row.name):
            raise Conflict(f"Another deployment is named {row.name!r} on this resource.", code="name_taken")
        repository.add(work.session, row)
        work.announce(
            "deployment.adopted",
            project_id=row.project_id,
            subject_id=row.id,
            name=row.name,
            model=row.remote_model,
            sku=row.sku,
            expires_at=row.expires_at.isoformat(),
            reserved_usd=f"{row.reserved_usd:.4f}",
        )
        work.nudge("deployments.advance", row.id)


def created_at(remote: Mapping[str, Any]) -> datetime | None:
    """When ARM says that it was made: since then it may have cost."""
    system_data = remote.get("systemData")
    return moment(system_data.get("createdAt")) if isinstance(system_data, dict) else None
