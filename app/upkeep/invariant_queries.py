"""Where each invariant does not hold: SQL that reads and never mends.

Every query is bounded: it goes through an index of unfinished rows, or through the newest lines of a log, never
through everything there ever was. It knows neither when it is run nor who is told.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.orm import Session

from app.datasets.files import UPLOAD_BYTES_PER_SECOND
from app.datasets.states import FETCH_LAW, TRANSFORM_LAW, VERSION_LAW
from app.deployments.states import COMPARISON_LAW, DEPLOYMENT_LAW
from app.deployments.tables import LIVING_DEPLOYMENT
from app.generation.states import GENERATION_LAW
from app.generation.tables import RUNNING_GENERATION
from app.jobs.states import JOB_LAW
from app.jobs.tables import UNFINISHED_JOB
from app.kit.law import Law
from app.models.states import COPY_LAW
from app.studies.states import STUDY_LAW
from app.studies.tables import RUNNING_STUDY
from app.workbench import Policy

SHOWN: Final = 20
"""Violations of one invariant that are named; a broken installation may have millions."""
NEWEST: Final = 3000
"""Newest lines of the ledger and of the event log that are looked at: more than a busy minute writes."""
UNFINISHED_MAX: Final = 20_000
"""Unfinished rows of one kind that are looked at."""
STUCK_SECONDS: Final = 300.0
"""After so long an event that no reader has seen is not late but stuck."""
IDLE_SECONDS: Final = 30.0
"""Longest time a transaction of ours may do nothing; a step never waits for Azure inside one."""
EXPIRY_GRACE_SECONDS: Final = 900.0
"""How long after its end a deployment may still cost: its deletion takes some minutes."""
STATE_DAYS_MAX: Final = 1
"""No state in which we act may last longer: a day is the longest that Azure has been seen to make callers wait."""


@dataclass(frozen=True, slots=True)
class Violation:
    """One place where an invariant does not hold."""

    subject_id: str
    """Id of the row, or what Azure calls the object."""
    detail: str
    """What is there and what should be, for a person."""


Find = Callable[[Session, Policy], Sequence[Violation]]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Cared:
    """A table whose rows need care until they are finished."""

    table: str
    unfinished: str
    """The condition of a partial index."""
    acting: tuple[str, ...] = ()
    """States in which we act, so that they must end; not those in which Azure works."""
    paused_waits: tuple[str, ...] = ()
    """Of these the ones in which a paused project's rows wait."""


CARED: Final[tuple[_Cared, ...]] = (
    _Cared(
        table="jobs",
        unfinished=UNFINISHED_JOB,
        acting=("draft", "preparing", "submitting", "collecting"),
        paused_waits=("submitting",),
    ),
    _Cared(
        table="deployments",
        unfinished=LIVING_DEPLOYMENT,
        acting=("creating", "warming", "deleting"),
        paused_waits=("creating",),
    ),
    _Cared(table="dataset_versions", unfinished="status = 'checking'", acting=("checking",)),
    _Cared(table="dataset_transforms", unfinished="status = 'running'", acting=("running",)),
    _Cared(table="dataset_fetches", unfinished="status = 'fetching'", acting=("fetching",)),
    _Cared(table="job_adoptions", unfinished="status = 'reading'", acting=("reading",)),
    _Cared(table="comparisons", unfinished="status = 'running'", acting=("running",), paused_waits=("running",)),
    _Cared(table="generations", unfinished=RUNNING_GENERATION, acting=("running",), paused_waits=("running",)),
    _Cared(table="studies", unfinished=RUNNING_STUDY),
)
LEASED: Final = (*(cared.table for cared in CARED), "connections", "sweeps", "strays", "janitors")


def _found(session: Session, sql: str, **values: Any) -> list[Violation]:
    """The first rows of (id, detail)."""
    rows = session.execute(text(f"{sql} LIMIT :shown"), {"shown": SHOWN, **values})
    return [Violation(str(row[0]), str(row[1])) for row in rows]


def _each(session: Session, queries: Iterator[tuple[str, Mapping[str, Any]]]) -> list[Violation]:
    return [violation for sql, values in queries for violation in _found(session, sql, **values)]


# ── care ────────────────────────────────────────────────────────────────────


def uncared(session: Session, policy: Policy) -> Sequence[Violation]:
    """Unfinished, not parked, and nobody will look again; or only in the far future."""
    far = {"far": timedelta(seconds=policy.retry_after_max_seconds + 86_400)}

    def queries() -> Iterator[tuple[str, Mapping[str, Any]]]:
        for cared in CARED:
            sql = f"""
                SELECT id, '{cared.table}: ' || status || ' and nobody will look at it again'
                FROM {cared.table}
                WHERE {cared.unfinished} AND next_check_at IS NULL AND parked_reason IS NULL
            """  # noqa: S608  only our own words
            yield sql, {}
        for table in LEASED:
            sql = f"""
                SELECT id, '{table}: the next look is not before ' || next_check_at
                FROM {table} WHERE next_check_at > clock_timestamp() + :far
            """  # noqa: S608  see above
            yield sql, far
        sql = """
            SELECT c.id, 'connections: jobs are in flight and nobody watches'
            FROM connections c
            WHERE c.next_check_at IS NULL AND c.parked_reason IS NULL AND EXISTS (
                SELECT FROM jobs j WHERE j.connection_id = c.id
                AND j.status IN ('queued', 'running', 'paused') AND j.parked_reason IS NULL
            )
        """
        yield sql, {}

    return _each(session, queries())


def long_leases(session: Session, policy: Policy) -> Sequence[Violation]:
    """A lease may last as long as a claim, or as long as the largest file takes to go up."""
    longest = timedelta(seconds=policy.lease_seconds + policy.upload_bytes_max / UPLOAD_BYTES_PER_SECOND + 1)

    def queries() -> Iterator[tuple[str, Mapping[str, Any]]]:
        for table in LEASED:
            sql = f"""
                SELECT id, '{table}: lease of ' || coalesce(lease_owner, 'nobody') || ' until ' || lease_until
                FROM {table} WHERE next_check_at IS NOT NULL AND lease_until > clock_timestamp() + :longest
            """  # noqa: S608  see above
            yield sql, {"longest": longest}

    return _each(session, queries())


def endless_states(session: Session, policy: Policy) -> Sequence[Violation]:
    """A state in which we act lasts for more than a day, and no person has been asked by parking it."""

    def queries() -> Iterator[tuple[str, Mapping[str, Any]]]:
        for cared in CARED:
            sql = f"""
                SELECT t.id, '{cared.table}: ' || t.status || ' since ' || {_since(cared)}
                FROM {cared.table} t JOIN projects p ON p.id = t.project_id
                WHERE t.{cared.unfinished} AND t.parked_reason IS NULL AND t.status = ANY(:acting)
                  AND {_since(cared)} < clock_timestamp() - :longest
                  AND NOT (t.status = ANY(:waits) AND (
                      p.paused OR :halted OR EXISTS (SELECT FROM installation i WHERE i.halted)))
            """  # noqa: S608  see above
            values = {
                "acting": list(cared.acting),
                "waits": list(cared.paused_waits),
                "halted": policy.halted,
                "longest": timedelta(days=STATE_DAYS_MAX),
            }
            yield sql, values

    return _each(session, queries())


def _since(cared: _Cared) -> str:
    return "t.status_changed_at" if cared.table in {"jobs", "deployments"} else "t.created_at"


# ── the one POST ────────────────────────────────────────────────────────────


def torn_sends(session: Session, _policy: Policy) -> Sequence[Violation]:
    """What a row says of its POST does not fit its status. Unfinished jobs, and the newest of the others."""
    return _found(
        session,
        f"""
        SELECT id, status || ', send_state ' || send_state || ', remote_id ' || coalesce(remote_id, 'none')
            || ', sent_at ' || coalesce(sent_at::text, 'none')
        FROM (
            SELECT * FROM (SELECT * FROM jobs WHERE {UNFINISHED_JOB} LIMIT :unfinished) AS unfinished
            UNION ALL
            SELECT * FROM (SELECT * FROM jobs ORDER BY id DESC LIMIT :newest) AS newest
            WHERE status IN ('succeeded', 'failed', 'cancelled')
        ) AS looked
        WHERE (send_state = 'confirmed') <> (remote_id IS NOT NULL)
           OR (status IN ('queued', 'running', 'paused', 'collecting', 'succeeded') AND remote_id IS NULL)
           OR (status IN ('draft', 'preparing') AND (remote_id IS NOT NULL OR send_state <> 'idle'))
           OR (send_state IN ('sent', 'throttled') AND sent_at IS NULL)
        """,  # noqa: S608  see above
        unfinished=UNFINISHED_MAX,
        newest=NEWEST,
    )


def second_jobs(session: Session, _policy: Policy) -> Sequence[Violation]:
    """A second job at Azure for one of ours, which is not on its way out."""
    return _found(
        session,
        "SELECT s.id, 'a second job ' || s.remote_id || ' at Azure for ' || s.owner_id || ', which has ' "
        "|| coalesce(j.remote_id, 'none') FROM strays s JOIN jobs j ON j.id = s.owner_id "
        "WHERE s.kind = 'job' AND s.status = 'open' AND s.remote_id IS DISTINCT FROM j.remote_id",
    )


def open_strays(session: Session, _policy: Policy) -> Sequence[Violation]:
    """Something at Azure carries our mark, no row names it, and nobody has decided what becomes of it."""
    return _found(
        session,
        "SELECT id, kind || ' ' || remote_id || ' (' || remote_status || ') of ' || op_key || ' since ' "
        "|| first_seen_at FROM strays WHERE status = 'open' AND kind <> 'file' ORDER BY id",
    )


# ── money ───────────────────────────────────────────────────────────────────

_SUMS: Final = """
    SELECT coalesce(sum(amount_usd) FILTER (WHERE kind = 'reserve'), 0) AS reserved,
           coalesce(sum(amount_usd) FILTER (WHERE kind = 'release'), 0) AS released,
           coalesce(sum(amount_usd) FILTER (WHERE kind = 'settle'), 0) AS settled,
           count(*) FILTER (WHERE kind = 'settle') AS settles,
           count(*) FILTER (WHERE kind = 'reserve') AS reserves
    FROM ledger WHERE ledger.subject_id = looked.subject_id
"""


def torn_ledger(session: Session, _policy: Policy) -> Sequence[Violation]:
    """Lines of one subject that do not fit each other, or its status."""
    return _found(
        session,
        f"""
        WITH looked AS (
            SELECT subject_id FROM (SELECT subject_id FROM ledger ORDER BY id DESC LIMIT :newest) AS newest
            UNION SELECT id FROM (SELECT id FROM jobs WHERE {UNFINISHED_JOB} LIMIT :unfinished) AS j
            UNION SELECT id FROM (SELECT id FROM deployments WHERE {LIVING_DEPLOYMENT} LIMIT :unfinished) AS d
            UNION SELECT id FROM (SELECT id FROM generations WHERE {RUNNING_GENERATION} LIMIT :unfinished) AS g
        ), subjects AS (
            SELECT looked.subject_id, sums.*,
                   coalesce(j.status, d.status, g.status) AS status,
                   coalesce(j.{UNFINISHED_JOB}, d.{LIVING_DEPLOYMENT}, g.{RUNNING_GENERATION}) AS lives,
                   coalesce(CASE WHEN j.origin <> 'elsewhere' THEN (j.plan->'estimate'->>'high_usd')::numeric END,
                       d.reserved_usd, g.reserved_usd, 0) AS price
            FROM looked
            LEFT JOIN jobs j ON j.id = looked.subject_id
            LEFT JOIN deployments d ON d.id = looked.subject_id
            LEFT JOIN generations g ON g.id = looked.subject_id
            CROSS JOIN LATERAL ({_SUMS}) AS sums
        ), judged AS (
            SELECT *, CASE
                WHEN released > reserved THEN 'more was released than reserved'
                WHEN settles > 1 THEN 'settled more than once'
                WHEN settles > 0 AND released < reserved THEN 'settled, and a reservation is still open'
                WHEN lives AND settles > 0 THEN 'settled, and not finished'
                WHEN lives AND reserves > 0 AND released >= reserved AND reserved > 0
                    THEN 'not finished, and its reservation was given back'
                WHEN NOT lives AND reserved > released THEN 'finished, and a reservation is still open'
                WHEN lives AND price > 0 AND reserves = 0 THEN 'has a price and no reservation'
            END AS wrong FROM subjects
        )
        SELECT subject_id, coalesce(status, 'no row') || ': ' || wrong || ' (reserved ' || reserved || ', released '
            || released || ', settled ' || settled || ')' FROM judged WHERE wrong IS NOT NULL
        """,  # noqa: S608  see above
        newest=NEWEST,
        unfinished=UNFINISHED_MAX,
    )


_BOOK: Final = f"""
    WITH newest AS (
        SELECT * FROM ledger ORDER BY id DESC LIMIT :newest
    ), unfinished AS (
        SELECT * FROM (SELECT id, project_id FROM jobs WHERE {UNFINISHED_JOB} LIMIT :unfinished) AS j
        UNION ALL
        SELECT * FROM (SELECT id, project_id FROM deployments WHERE {LIVING_DEPLOYMENT} LIMIT :unfinished) AS d
        UNION ALL
        SELECT * FROM (SELECT id, project_id FROM generations WHERE {RUNNING_GENERATION} LIMIT :unfinished) AS g
    ), held AS MATERIALIZED (
        SELECT u.project_id, l.key_id,
               sum(CASE WHEN l.kind = 'release' THEN -l.amount_usd ELSE l.amount_usd END) AS usd,
               coalesce(sum(l.amount_usd) FILTER (
                   WHERE l.kind = 'reserve' AND l.created_at >= date_trunc('day', clock_timestamp())
               ), 0) AS today_usd,
               max(l.created_at) FILTER (WHERE l.kind = 'reserve') AS accepted_at
        FROM unfinished u JOIN ledger l ON l.subject_id = u.id AND l.kind IN ('reserve', 'release')
        GROUP BY u.project_id, u.id, l.key_id
    ), of_project AS (
        SELECT project_id, sum(usd) AS usd, sum(today_usd) AS today_usd, max(accepted_at) AS accepted_at
        FROM held GROUP BY project_id
    )
"""  # noqa: S608  see above
"""What unfinished things hold reserved, of which project and which key, and when the last of it was accepted.

It is found from the unfinished rows, never from the whole book."""


def passed_caps(session: Session, _policy: Policy) -> Sequence[Violation]:
    """More was accepted than a cap allowed. A cap that was lowered afterwards is no violation.

    Of what has been settled this month the newest lines count, at most as much as was reserved: a cap is about what
    is accepted, and nobody can accept what an answer of Azure's will say.
    """
    month = f"""
        {_BOOK}, settled AS (
            SELECT n.project_id, sum(least(n.amount_usd, r.reserved)) AS usd
            FROM newest n CROSS JOIN LATERAL (
                SELECT sum(amount_usd) AS reserved FROM ledger WHERE subject_id = n.subject_id AND kind = 'reserve'
            ) AS r
            WHERE n.kind = 'settle' AND n.created_at >= date_trunc('month', clock_timestamp())
            GROUP BY n.project_id
        )
        SELECT p.project_id,
               'reserved and settled ' || p.usd + coalesce(s.usd, 0) || ' of the month''s ' || b.month_cap_usd
        FROM of_project p JOIN budgets b ON b.project_id = p.project_id AND p.accepted_at > b.updated_at
        LEFT JOIN settled s ON s.project_id = p.project_id
        WHERE p.usd + coalesce(s.usd, 0) > b.month_cap_usd
    """  # noqa: S608  see above
    day = f"""
        {_BOOK} SELECT p.project_id, 'begun with ' || p.today_usd || ' of the day''s ' || b.day_cap_usd
        FROM of_project p JOIN budgets b ON b.project_id = p.project_id AND p.accepted_at > b.updated_at
        WHERE p.today_usd > b.day_cap_usd
    """  # noqa: S608  see above
    key = f"""
        {_BOOK} SELECT k.id, 'reserved ' || sum(held.usd) || ', the key may spend ' || k.spend_cap_usd
        FROM held JOIN api_keys k ON k.id = held.key_id
        GROUP BY k.id, k.spend_cap_usd HAVING sum(held.usd) > k.spend_cap_usd
    """  # noqa: S608  see above
    one = """
        SELECT n.subject_id, 'reserved ' || n.amount_usd || ' at once, one thing may cost ' || b.job_cap_usd
        FROM (SELECT * FROM ledger ORDER BY id DESC LIMIT :newest) AS n
        JOIN budgets b ON b.project_id = n.project_id AND n.created_at > b.updated_at
        WHERE n.kind = 'reserve' AND n.amount_usd > b.job_cap_usd
    """
    values = {"newest": NEWEST, "unfinished": UNFINISHED_MAX}
    return [
        *_each(session, ((sql, values) for sql in (month, day, key))),
        *_found(session, one, newest=NEWEST),
    ]


def overdue_deployments(session: Session, _policy: Policy) -> Sequence[Violation]:
    """Its end was more than a quarter of an hour ago, and it still costs."""
    return _found(
        session,
        f"SELECT id, name || ' is ' || status || ', its end was ' || expires_at FROM deployments "  # noqa: S608  see above
        f"WHERE {LIVING_DEPLOYMENT} AND hosting_started_at IS NOT NULL AND hosting_ended_at IS NULL "
        "AND expires_at < clock_timestamp() - :grace ORDER BY expires_at",
        grace=timedelta(seconds=EXPIRY_GRACE_SECONDS),
    )


# ── history ─────────────────────────────────────────────────────────────────

_LAWS: Final[tuple[tuple[str, Law[Any]], ...]] = (
    ("jobs", JOB_LAW),
    ("deployments", DEPLOYMENT_LAW),
    ("dataset_versions", VERSION_LAW),
    ("dataset_fetches", FETCH_LAW),
    ("dataset_transforms", TRANSFORM_LAW),
    ("comparisons", COMPARISON_LAW),
    ("generations", GENERATION_LAW),
    ("model_copies", COPY_LAW),
    ("studies", STUDY_LAW),
)


def unlawful_histories(session: Session, _policy: Policy) -> Sequence[Violation]:
    """Of all that the newest events tell of: a status that may not follow its predecessor, or is not the row's."""

    def queries() -> Iterator[tuple[str, Mapping[str, Any]]]:
        for table, law in _LAWS:
            yield (
                f"""
                WITH recent AS (
                    SELECT DISTINCT subject_id FROM (
                        SELECT subject_id, type FROM events ORDER BY transaction DESC, seq DESC LIMIT :newest
                    ) AS newest WHERE type = ANY(:types)
                ), steps AS (
                    SELECT e.subject_id, substr(e.type, :after) AS status, e.data->>'from' AS told,
                           lag(substr(e.type, :after)) OVER told_in_order AS before,
                           lead(e.id) OVER told_in_order IS NULL AS is_last
                    FROM recent JOIN events e ON e.subject_id = recent.subject_id AND e.type = ANY(:types)
                    WINDOW told_in_order AS (PARTITION BY e.subject_id ORDER BY e.transaction, e.seq)
                )
                SELECT steps.subject_id, '{law.noun}: ' || coalesce(before, 'nothing') || ' -> ' || steps.status
                    || ' (told from ' || coalesce(told, 'nothing') || ', the row is ' || coalesce(t.status, 'gone')
                    || ')'
                FROM steps LEFT JOIN {table} t ON t.id = steps.subject_id
                WHERE (before IS NOT NULL AND before || '>' || steps.status <> ALL(:lawful))
                   OR (before IS NOT NULL AND told IS NOT NULL AND told <> before)
                   OR (is_last AND t.status IS DISTINCT FROM steps.status)
                """,  # noqa: S608  see above
                {
                    "newest": NEWEST,
                    "types": [f"{law.noun}.{status}" for status in law.following],
                    "after": len(law.noun) + 2,
                    "lawful": [f"{one}>{two}" for one, after in law.following.items() for two in after],
                },
            )

    return _each(session, queries())


def stuck_events(session: Session, _policy: Policy) -> Sequence[Violation]:
    """Events that no reader can see, because a transaction is open for long or they come from another cluster; and
    news that nobody passes on.
    """
    stuck = {"stuck": timedelta(seconds=STUCK_SECONDS)}
    hidden = """
        SELECT id, type || ' of ' || created_at || ' is behind a transaction that is still open' FROM (
            SELECT * FROM events WHERE transaction >= pg_snapshot_xmin(pg_current_snapshot())
            ORDER BY transaction, seq LIMIT 1
        ) AS first WHERE created_at < clock_timestamp() - :stuck
    """
    cursors = """
        SELECT c.name, 'the reader stands before ' || next.id || ', ' || next.type || ' of ' || next.created_at
        FROM event_cursors c CROSS JOIN LATERAL (
            SELECT * FROM events e
            WHERE (e.transaction, e.seq) > (c.transaction::text::xid8, c.seq)
              AND e.transaction < pg_snapshot_xmin(pg_current_snapshot())
            ORDER BY e.transaction, e.seq LIMIT 1
        ) AS next WHERE next.created_at < clock_timestamp() - :stuck
    """
    return _each(session, ((sql, stuck) for sql in (hidden, cursors)))


# ── leftovers ───────────────────────────────────────────────────────────────


def idle_transactions(session: Session, _policy: Policy) -> Sequence[Violation]:
    """A transaction of ours waits for something that is not the database."""
    return _found(
        session,
        "SELECT pid, 'idle in a transaction since ' || state_change || ', last: ' || left(query, 100) "
        "FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'kitae%' "
        "AND state LIKE 'idle in transaction%' AND state_change < clock_timestamp() - :idle",
        idle=timedelta(seconds=IDLE_SECONDS),
    )


def resting_janitors(session: Session, policy: Policy) -> Sequence[Violation]:
    """Leftovers in the storage were not cleared away for long."""
    late = timedelta(seconds=3 * policy.janitor_seconds + 3600)
    return _found(
        session,
        "SELECT id, 'the storage was last cleaned ' || cleaned_at FROM janitors "
        "WHERE cleaned_at < clock_timestamp() - :late AND parked_reason IS NULL",
        late=late,
    )
