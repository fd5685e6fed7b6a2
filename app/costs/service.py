"""What things will cost, what is reserved for them, and what they cost in the end."""

from datetime import datetime, timedelta
from decimal import Decimal

from sqlalchemy.orm import Session

from app.costs import estimates, repository
from app.costs.estimates import MILLION, Counts
from app.costs.schemas import BudgetPut, BudgetRead, CostEstimate, CostGroup, CostSummary
from app.costs.tables import Budget
from app.kit.caller import Caller
from app.kit.clock import utc_now
from app.kit.errors import Conflict
from app.workbench import UnitOfWork, Workbench


class BudgetExceeded(Conflict):
    """Money that a cap forbids."""

    code = "budget_exceeded"


class CostService:
    """Money of a project."""

    def __init__(self, bench: Workbench) -> None:
        self._bench = bench

    # ── before ──────────────────────────────────────────────────────────────

    def estimate_training(
        self, counts: Counts, *, base_model: str, training_type: str, n_epochs: int | None
    ) -> CostEstimate:
        """See `estimates.training_cost`."""
        return estimates.training_cost(
            self._bench.catalogue, counts, base_model=base_model, training_type=training_type, n_epochs=n_epochs
        )

    def hourly_hosting(self, *, base_model: str, sku: str) -> Decimal | None:
        """US dollars an hour for a fine-tuned model's deployment; None when no price is known."""
        price = self._bench.catalogue.price(base_model, "hosting", sku)
        return price.usd if price else None

    def inference_cost(
        self, *, base_model: str, sku: str, prompt_tokens: int, completion_tokens: int
    ) -> Decimal | None:
        """What one answer cost, or None when a price is missing."""
        asked = self._bench.catalogue.price(base_model, "input", sku)
        answered = self._bench.catalogue.price(base_model, "output", sku)
        if asked is None or answered is None:
            return None
        return (asked.usd * prompt_tokens + answered.usd * completion_tokens) / MILLION

    # ── reserve and settle ──────────────────────────────────────────────────

    def lock(self, work: UnitOfWork, project_id: str) -> Budget:
        """The project's caps. Whoever counts something against one holds this lock until the transaction ends,
        so that a hundred requests at once are counted one after the other.
        """
        return repository.lock_budget(work.session, project_id)

    def reserve(
        self,
        work: UnitOfWork,
        caller: Caller,
        *,
        subject_id: str,
        category: str,
        amount_usd: Decimal,
        note: str,
        already_usd: Decimal = Decimal(0),
    ) -> None:
        """Set money aside in the transaction that makes the subject, or refuse.

        The budget row stays locked until that transaction ends, so a hundred requests at once cannot pass a cap.

        Args:
            already_usd: what the subject has cost or was set aside for it before, where this is more for the same.

        Raises:
            BudgetExceeded: the project's month or day, a single subject's cap, or the key's does not allow it.
        """
        budget = self.lock(work, caller.project_id)
        whole_usd = already_usd + amount_usd
        if budget.job_cap_usd is not None and whole_usd > budget.job_cap_usd:
            raise BudgetExceeded(
                f"This may cost ${whole_usd:.2f}; one thing may cost ${budget.job_cap_usd:.2f} here.",
                hint="Choose fewer epochs, a cheaper training type or less data, or raise job_cap_usd.",
            )
        self._refuse_beyond_the_month(work.session, budget, amount_usd)
        self._refuse_beyond_the_day(work.session, budget, amount_usd)
        if caller.spend_cap_usd is not None:
            spent = repository.committed_by_key(work.session, caller.key_id)
            if spent + amount_usd > caller.spend_cap_usd:
                raise BudgetExceeded(
                    f"This may cost ${amount_usd:.2f}; this key has used ${spent:.2f} of its "
                    f"${caller.spend_cap_usd:.2f}.",
                    code="key_spend_cap_exceeded",
                    hint="Use another key or have this one's cap raised.",
                )
        self._line(work, caller.project_id, caller.key_id, subject_id, category, "reserve", amount_usd, note)

    def _refuse_beyond_the_month(self, session: Session, budget: Budget, amount_usd: Decimal) -> None:
        if budget.month_cap_usd is None:
            return
        used = self._month_used(session, budget.project_id)
        if used + amount_usd > budget.month_cap_usd:
            raise BudgetExceeded(
                f"This may cost ${amount_usd:.2f}; of this month's ${budget.month_cap_usd:.2f}, ${used:.2f} are "
                "used or reserved.",
                hint="Wait for the next month, delete deployments that are not needed, or raise month_cap_usd.",
            )

    def _refuse_beyond_the_day(self, session: Session, budget: Budget, amount_usd: Decimal) -> None:
        if budget.day_cap_usd is None:
            return
        begun = self._day_begun(session, budget.project_id)
        if begun + amount_usd > budget.day_cap_usd:
            raise BudgetExceeded(
                f"This may cost ${amount_usd:.2f}; of this day's ${budget.day_cap_usd:.2f}, ${begun:.2f} are "
                "begun.",
                code="day_cap_exceeded",
                hint="Wait until 00:00 UTC, or raise day_cap_usd.",
            )

    @staticmethod
    def reserved(work: UnitOfWork, subject_id: str) -> Decimal:
        """What is set aside for a subject."""
        return repository.reserved_for(work.session, subject_id)

    def settle(
        self,
        work: UnitOfWork,
        *,
        project_id: str,
        key_id: str | None,
        subject_id: str,
        category: str,
        amount_usd: Decimal | None,
        note: str,
    ) -> None:
        """Write what it cost and give the rest of the reservation back. Doing it twice changes nothing."""
        reserved = repository.reserved_for(work.session, subject_id)
        if reserved > 0:
            self._line(work, project_id, key_id, subject_id, category, "release", reserved, "settled")
        if amount_usd is not None and repository.settled_for(work.session, subject_id) is None:
            self._line(work, project_id, key_id, subject_id, category, "settle", amount_usd, note)

    def spend_reservation(self, work: UnitOfWork, *, subject_id: str, note: str) -> Decimal:
        """Nobody knows what it cost: count everything that was set aside for it as spent. Returns the amount."""
        first = repository.first_line(work.session, subject_id)
        if first is None:
            return Decimal(0)
        amount = repository.reserved_for(work.session, subject_id)
        self.settle(
            work,
            project_id=first.project_id,
            key_id=first.key_id,
            subject_id=subject_id,
            category=first.category,
            amount_usd=amount,
            note=note,
        )
        return amount

    def spend_abandoned(self, category: str, *, older_than_seconds: float) -> int:
        """Spend what was set aside for things of a category that no row stands for and nobody works at any more.

        Returns:
            How many there were.
        """
        with self._bench.begin() as work:
            subjects = repository.open_reservations(work.session, category, older_than_seconds=older_than_seconds)
            for subject_id in subjects:
                self.spend_reservation(work, subject_id=subject_id, note="broken off; nobody knows what it cost")
        return len(subjects)

    @staticmethod
    def _line(  # noqa: PLR0917
        work: UnitOfWork,
        project_id: str,
        key_id: str | None,
        subject_id: str,
        category: str,
        kind: str,
        amount: Decimal,
        note: str,
    ) -> None:
        repository.add_line(
            work.session,
            project_id=project_id,
            key_id=key_id,
            subject_id=subject_id,
            category=category,
            kind=kind,
            amount_usd=amount,
            note=note,
        )

    # ── looking ─────────────────────────────────────────────────────────────

    @staticmethod
    def _month_used(session: Session, project_id: str) -> Decimal:
        start = utc_now().replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        return repository.committed_since(session, project_id, start)

    @staticmethod
    def _day_begun(session: Session, project_id: str) -> Decimal:
        start = utc_now().replace(hour=0, minute=0, second=0, microsecond=0)
        return repository.begun_since(session, project_id, start)

    def budget(self, project_id: str) -> BudgetRead:
        with self._bench.read() as session:
            return self._budget_read(session, project_id, repository.find_budget(session, project_id))

    def set_budget(self, project_id: str, wanted: BudgetPut) -> BudgetRead:
        with self._bench.begin() as work:
            budget = repository.set_budget(work.session, project_id, wanted.model_dump())
            work.announce(
                "budget.changed",
                project_id=project_id,
                subject_id=project_id,
                **wanted.model_dump(mode="json"),
            )
            return self._budget_read(work.session, project_id, budget)

    def _budget_read(self, session: Session, project_id: str, budget: Budget | None) -> BudgetRead:
        caps = ("month_cap_usd", "day_cap_usd", "job_cap_usd", "deployments_max", "unfinished_jobs_max")
        return BudgetRead(
            **{name: getattr(budget, name) if budget else None for name in caps},
            month_used_usd=self._month_used(session, project_id),
            day_used_usd=self._day_begun(session, project_id),
            updated_at=budget.updated_at if budget else None,
        )

    def summary(
        self,
        project_id: str,
        *,
        group_by: str,
        since: datetime | None,
        until: datetime | None,
        running_usd: Decimal,
    ) -> CostSummary:
        """Spent and reserved in [since, until); by default the last 30 days."""
        until = until or utc_now()
        since = since or until - timedelta(days=30)
        with self._bench.read() as session:
            rows = repository.grouped(session, project_id, group_by=group_by, since=since, until=until)
        groups = [
            CostGroup(group=row.group, settled_usd=row.settled_usd, reserved_usd=row.reserved_usd) for row in rows
        ]
        return CostSummary(
            group_by=group_by,
            since=since,
            until=until,
            settled_usd=sum((group.settled_usd for group in groups), Decimal(0)),
            reserved_usd=sum((group.reserved_usd for group in groups), Decimal(0)),
            running_usd=running_usd,
            data=groups,
        )
