"""What must be true of the database at every moment, as code: one small query an invariant.

Run after every fault test, once a minute by the tick, and by `kitae doctor`. It reads and never mends: what breaks
an invariant is a defect, or somebody who wrote into the database by hand.
"""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Final

import structlog
from sqlalchemy import func, select, text
from sqlalchemy.dialects.postgresql import insert

from app.upkeep import invariant_queries as queries
from app.upkeep.invariant_queries import Find, Violation
from app.upkeep.tables import InvariantCheck
from app.workbench import Workbench

log = structlog.get_logger("kitae.upkeep")

CHECK_SECONDS: Final = 60.0
"""How often the tick looks, at most."""
LOCK_NUMBER: Final = 0x4B495649
"""Advisory lock of whoever looks: "KIVI" in ASCII."""


@dataclass(frozen=True, slots=True)
class Invariant:
    """A sentence that is always true, and the query that looks for where it is not."""

    name: str
    """Short and stable: label of the metric."""
    promise: str
    """The sentence."""
    remedy: str
    """What a person does who finds it broken."""
    find: Find


@dataclass(frozen=True, slots=True)
class Finding:
    """What looking for one invariant gave."""

    invariant: Invariant
    violations: Sequence[Violation]
    seconds: float = 0.0


INVARIANTS: Final[tuple[Invariant, ...]] = (
    Invariant(
        "care_goes_on",
        "Whatever is not finished will be looked at again, or is parked for a person.",
        "Report the defect with the row's events; `retry` on the row, or a next_check_at, has it looked at again.",
        queries.uncared,
    ),
    Invariant(
        "leases_end",
        "No lease is longer than the longest a claim may take.",
        "Find who writes into the database by hand, or a process with other settings: all must agree on them.",
        queries.long_leases,
    ),
    Invariant(
        "states_end",
        "No state in which we act lasts for more than a day without a person having been asked.",
        "Read last_error of the row: Azure's gate may be shut for long, or no worker takes this kind of row.",
        queries.endless_states,
    ),
    Invariant(
        "sends_are_whole",
        "A confirmed job has Azure's id, and only a confirmed one has.",
        "Report the defect; do not create the job again before Azure's list was looked through for its id.",
        queries.torn_sends,
    ),
    Invariant(
        "one_job_at_azure",
        "At most one live job at Azure for each of ours.",
        "Cancel the younger one: POST /v1/strays/{id}/remove.",
        queries.second_jobs,
    ),
    Invariant(
        "strays_are_decided",
        "Nothing at Azure carries our mark without a row, or a decision what becomes of it.",
        "GET /v1/strays lists them: adopt, remove or ignore each.",
        queries.open_strays,
    ),
    Invariant(
        "ledger_fits",
        "What is finished has settled and holds no reservation; what is not holds the one its price asks for.",
        "Report the defect with the subject's lines: GET /v1/costs?group_by=subject.",
        queries.torn_ledger,
    ),
    Invariant(
        "caps_hold",
        "Nothing was accepted beyond a month's, a day's, a thing's or a key's cap.",
        "Halt the installation (`kitae halt`) and report the defect: a cap that does not hold protects nobody.",
        queries.passed_caps,
    ),
    Invariant(
        "deployments_end",
        "No deployment costs money a quarter of an hour after its end.",
        "Delete it in the portal if Azure's bill matters at once; then read last_error of the row.",
        queries.overdue_deployments,
    ),
    Invariant(
        "histories_are_lawful",
        "Every status followed one that it may follow, and the last one told is the row's.",
        "Report the defect with the subject's events.",
        queries.unlawful_histories,
    ),
    Invariant(
        "events_are_read",
        "Every committed event can be read soon, and is passed on.",
        "A transaction is open for too long on this PostgreSQL server (pg_stat_activity), no worker runs, or a "
        "restore was not followed by `kitae migrate`.",
        queries.stuck_events,
    ),
    Invariant(
        "transactions_end",
        "No transaction of ours waits for something that is not the database.",
        "Report the defect with the query that is shown; the server ends it by itself after a minute.",
        queries.idle_transactions,
    ),
    Invariant(
        "leftovers_go",
        "Leftovers in our own storage are cleared away in time.",
        "Read last_error of the janitor's row: is the storage there and writable?",
        queries.resting_janitors,
    ),
)


def check_invariants(bench: Workbench) -> Sequence[Finding]:
    """Look for every invariant, each in its own statement; nothing is changed."""
    found = []
    with bench.read() as session:
        for invariant in INVARIANTS:
            began = time.perf_counter()
            violations = invariant.find(session, bench.policy)
            found.append(Finding(invariant, violations, time.perf_counter() - began))
    return found


def check_now_and_then(bench: Workbench, *, every_seconds: float = CHECK_SECONDS) -> bool:
    """For the tick: look when the last look is so long ago, and keep what was found for whoever shows it.

    One at a time in the whole installation. Returns whether this call looked.
    """
    with bench.begin() as work:
        free = work.session.scalar(text("SELECT pg_try_advisory_xact_lock(:number)"), {"number": LOCK_NUMBER})
        age = work.session.scalar(
            select(func.extract("epoch", func.clock_timestamp() - func.max(InvariantCheck.checked_at)))
        )
        if not free or (age is not None and age < every_seconds):
            return False
        found = check_invariants(bench)
        for finding in found:
            values = {
                "violations": len(finding.violations),
                "found": [asdict(violation) for violation in finding.violations],
                "seconds": finding.seconds,
                "checked_at": func.clock_timestamp(),
            }
            work.session.execute(
                insert(InvariantCheck)
                .values(name=finding.invariant.name, **values)
                .on_conflict_do_update(index_elements=[InvariantCheck.name], set_=values)
            )
    for finding in found:
        if finding.violations:
            log.error(
                "invariant.broken",
                invariant=finding.invariant.name,
                violations=len(finding.violations),
                first=asdict(finding.violations[0]),
            )
    return True
