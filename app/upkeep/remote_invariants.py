"""The invariants that need Azure's own view: what it has, and what it has charged, compared with our rows.

It calls nobody: whoever has looked at Azure hands the view in. In tests that is the emulator's state and bill.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from sqlalchemy import RowMapping, text
from sqlalchemy.orm import Session

from app.deployments.tables import LIVING_DEPLOYMENT
from app.upkeep.invariant_queries import Violation
from app.upkeep.invariants import Finding, Invariant
from app.workbench import Workbench

CENT: Final = Decimal("0.01")
"""Bills are compared to the cent: our estimates are rounded to parts of one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenJob:
    """A fine-tuning job as Azure shows it."""

    remote_id: str
    op_key: str | None
    """Our mark in its metadata; None where the api style keeps none."""
    is_live: bool
    """Neither failed nor cancelled: it trains or has trained."""
    trained_tokens: int = 0
    """What Azure charges for it so far."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenDeployment:
    """A deployment as Azure shows it, or as its bill remembers it."""

    name: str
    op_key: str | None
    is_there: bool
    hosting_hours: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteView:
    """Everything on the resources of this installation, as Azure says it at one moment."""

    jobs: Sequence[SeenJob] = ()
    deployments: Sequence[SeenDeployment] = ()


def check_against_remote(bench: Workbench, view: RemoteView) -> Sequence[Finding]:
    """One live job for each op_key, nothing there without a row, no row without its thing, nothing unpaid for.

    Args:
        view: must be as new as the database: a job that was created in between counts as unknown.
    """
    with bench.read() as session:
        return [
            Finding(_promise("one_job_at_azure", "At most one live job at Azure for each of ours."), _twice(view)),
            Finding(
                _promise("nothing_is_lost", "Whatever Azure has with our mark has a row, and the other way round."),
                [*_lost_jobs(session, view), *_lost_deployments(session, view)],
            ),
            Finding(
                _promise("nothing_unpaid", "Azure charged no more than was reserved or settled for it."),
                [*_unpaid_jobs(session, view), *_unpaid_deployments(session, view)],
            ),
        ]


def _promise(name: str, sentence: str) -> Invariant:
    return Invariant(name, sentence, "Have the connection swept: POST /v1/connections/{id}/sweep.", _nowhere)


def _nowhere(_session: Session, _policy: Any) -> Sequence[Violation]:
    """These are not looked for in the database alone."""
    return ()


def _twice(view: RemoteView) -> list[Violation]:
    live = Counter(job.op_key for job in view.jobs if job.is_live and job.op_key is not None)
    return [Violation(op_key, f"{count} live jobs at Azure") for op_key, count in live.items() if count > 1]


def _rows(session: Session, sql: str, **values: Any) -> Iterator[RowMapping]:
    yield from session.execute(text(sql), values).mappings()


def _lost_jobs(session: Session, view: RemoteView) -> Iterator[Violation]:
    seen = {job.remote_id for job in view.jobs}
    marked = [job.op_key for job in view.jobs if job.op_key is not None]
    known = {row["id"] for row in _rows(session, "SELECT id FROM jobs WHERE id = ANY(:ids)", ids=marked)}
    known |= {row["op_key"] for row in _rows(session, "SELECT op_key FROM strays WHERE kind = 'job'")}
    for job in view.jobs:
        if job.op_key is not None and job.op_key not in known:
            yield Violation(job.remote_id, f"at Azure for {job.op_key}, which has no row and is no stray")
    confirmed = """
        SELECT id, remote_id, status FROM jobs
        WHERE status IN ('queued', 'running', 'paused') AND missing_since IS NULL AND remote_id IS NOT NULL
    """
    for row in _rows(session, confirmed):
        if row["remote_id"] not in seen:
            yield Violation(row["id"], f"{row['status']} as {row['remote_id']}, which Azure does not have")


def _lost_deployments(session: Session, view: RemoteView) -> Iterator[Violation]:
    there = {seen.name.lower(): seen for seen in view.deployments if seen.is_there}
    marked = [seen.op_key for seen in there.values() if seen.op_key is not None]
    rows = _rows(
        session,
        f"SELECT id, {LIVING_DEPLOYMENT} AS lives FROM deployments WHERE id = ANY(:ids)",  # noqa: S608  our own words
        ids=marked,
    )
    known = {row["id"]: row["lives"] for row in rows}
    strays = {row["op_key"] for row in _rows(session, "SELECT op_key FROM strays WHERE kind = 'deployment'")}
    for seen in there.values():
        if seen.op_key is None or seen.op_key in strays or known.get(seen.op_key):
            continue
        state = "has ended" if seen.op_key in known else "has no row and is no stray"
        yield Violation(seen.name, f"at Azure for {seen.op_key}, which {state}")
    ready = "SELECT id, name FROM deployments WHERE status = 'ready' AND missing_since IS NULL"
    for row in _rows(session, ready):
        if row["name"].lower() not in there:
            yield Violation(row["id"], f"ready as {row['name']}, which Azure does not have")


_COMMITTED: Final = """
    SELECT coalesce(sum(CASE WHEN kind = 'release' THEN -amount_usd ELSE amount_usd END), 0)
    FROM ledger WHERE ledger.subject_id = t.id
"""


def _unpaid_jobs(session: Session, view: RemoteView) -> Iterator[Violation]:
    rows = _rows(
        session,
        f"""
        SELECT t.id, t.remote_id, t.status, ({_COMMITTED}) AS committed,
               (t.plan->'estimate'->>'price_usd_per_million_tokens')::numeric AS price
        FROM jobs t WHERE t.remote_id = ANY(:ids)
        """,  # noqa: S608  our own words
        ids=[job.remote_id for job in view.jobs],
    )
    tokens = {job.remote_id: job.trained_tokens for job in view.jobs}
    for row in rows:
        if row["price"] is None:
            continue
        charged = row["price"] * tokens[row["remote_id"]] / 1_000_000
        if charged > row["committed"] + CENT:
            yield Violation(
                row["id"], f"{row['status']}: Azure charged ${charged:.4f}, our book has ${row['committed']:.4f}"
            )


def _unpaid_deployments(session: Session, view: RemoteView) -> Iterator[Violation]:
    hours = {seen.op_key: seen.hosting_hours for seen in view.deployments if seen.op_key is not None}
    rows = _rows(
        session,
        f"SELECT t.id, t.name, t.hourly_usd, ({_COMMITTED}) AS committed FROM deployments t WHERE t.id = ANY(:ids)",  # noqa: S608  our own words
        ids=list(hours),
    )
    for row in rows:
        if row["hourly_usd"] is None:
            continue
        charged = row["hourly_usd"] * Decimal(str(hours[row["id"]]))
        if charged > row["committed"] + CENT:
            yield Violation(
                row["id"], f"{row['name']}: Azure charged ${charged:.4f}, our book has ${row['committed']:.4f}"
            )
