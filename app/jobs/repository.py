"""All SQL of the jobs room."""

import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, cast

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Double,
    Interval,
    Result,
    String,
    Table,
    and_,
    bindparam,
    case,
    column,
    func,
    literal,
    literal_column,
    null,
    or_,
    select,
    table,
    text,
    tuple_,
    union_all,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY, insert
from sqlalchemy.orm import Session

from app.azure.port import RemoteCheckpoint, RemoteJob, RemoteJobEvent
from app.jobs.hours import Told
from app.jobs.states import IN_FLIGHT, JOB_LAW, JobStatus
from app.jobs.tables import UNFINISHED_JOB, Checkpoint, Job, JobEventRow, JobPoint
from app.kit import care
from app.kit.care import Claim
from app.kit.ids import new_id
from app.kit.pagination import Page, Slice, keyset, slice_of
from app.workbench import Policy

_jobs: Final = Job.__table__.c
_READ: Final = select(
    literal("job", String).label("object"),
    _jobs.id,
    _jobs.connection_id.label("connection"),
    _jobs.origin,
    _jobs.base_model,
    _jobs.method,
    _jobs.model,
    _jobs.parent_job_id.label("continues"),
    _jobs.method_settings,
    _jobs.training_type,
    _jobs.training_types,
    _jobs.refusals,
    _jobs.training_version_id.label("training"),
    _jobs.validation_version_id.label("validation"),
    _jobs.hyperparameters,
    _jobs.suffix,
    _jobs.seed,
    _jobs.metadata,
    _jobs.status,
    _jobs.status_changed_at,
    _jobs.cancel_requested_at,
    _jobs.paused_because,
    _jobs.watch,
    _jobs.attempt,
    _jobs.remote_id,
    _jobs.remote_status,
    _jobs.remote_seen_at,
    _jobs.fine_tuned_model,
    _jobs.trained_tokens,
    _jobs.estimated_finish_at,
    _jobs.started_at,
    _jobs.finished_at,
    _jobs.error,
    _jobs.parked_reason,
    _jobs.last_error,
    _jobs.plan["estimate"]["expected_usd"].as_string().label("expected_cost_usd"),
    _jobs.cost_usd,
    _jobs.created_at,
    _jobs.updated_at,
)
"""Exactly what `JobRead` shows. Built once, of columns instead of mapped attributes, and its rows go straight into
the answer: the ORM and the building of the statement cost more than the query itself."""
_READ_ONE: Final = _READ.where(_jobs.project_id == bindparam("project_id"), _jobs.id == bindparam("job_id"))

_HEEDS: Final = frozenset({JobStatus.DRAFT, JobStatus.PREPARING}) | IN_FLIGHT
"""Where a wish can be acted upon at once. A job that may or may not exist is resolved first."""


def add(session: Session, job: Job) -> None:
    session.add(job)
    session.flush()
    session.refresh(job)


_models: Final = table(
    "models", column("id"), column("project_id"), column("job_id"), column("name"), column("remote_name")
)
"""The register of models stands a storey above; only these columns are read, to find what a job goes on from."""


@dataclass(frozen=True, slots=True)
class TunedModel:
    """A model that a job of the project left."""

    remote_name: str
    job_id: str
    connection_id: str
    base_model: str
    method: str


def find_parent(session: Session, project_id: str, ref: str) -> TunedModel | None:
    """A tuned model by `mdl_…` or its name, `ckp_…`, `job_…` or Azure's name of it; of several the newest."""
    of_job = select(Job.id, Job.fine_tuned_model.label("remote_name")).where(
        Job.project_id == project_id,
        Job.fine_tuned_model.is_not(None),
        or_(Job.id == ref, Job.fine_tuned_model == ref),
    )
    of_checkpoint = select(Checkpoint.job_id, Checkpoint.model_name).where(
        or_(Checkpoint.id == ref, Checkpoint.model_name == ref)
    )
    of_model = select(_models.c.job_id, _models.c.remote_name).where(
        _models.c.project_id == project_id, or_(_models.c.id == ref, _models.c.name == ref)
    )
    found = union_all(of_job, of_checkpoint, of_model).subquery()
    row = session.execute(
        select(found.c.remote_name, Job.id, Job.connection_id, Job.base_model, Job.method)
        .join(Job, Job.id == found.c.id)
        .where(Job.project_id == project_id)
        .order_by(Job.id.desc())
        .limit(1)
    ).one_or_none()
    return None if row is None else TunedModel(*row)


def is_of_another_project(session: Session, project_id: str, remote_name: str) -> bool:
    """Whether a job of another project left this model; such a one is nobody's but theirs."""
    left = select(Job.id).where(Job.fine_tuned_model == remote_name, Job.project_id != project_id)
    kept = (
        select(Job.id)
        .join(Checkpoint, Checkpoint.job_id == Job.id)
        .where(Checkpoint.model_name == remote_name, Job.project_id != project_id)
    )
    return session.execute(union_all(left, kept).limit(1)).first() is not None


def find_reserved(session: Session, reservation_id: str) -> str | None:
    """The job that a request with this reservation has made already."""
    return session.scalar(select(Job.id).where(Job.reservation_id == reservation_id))


def find(session: Session, project_id: str, job_id: str) -> Job | None:
    return session.scalars(select(Job).where(Job.project_id == project_id, Job.id == job_id)).one_or_none()


def get_unscoped(session: Session, job_id: str) -> Job:
    """For workers, which act for whichever project the row belongs to."""
    return session.get_one(Job, job_id)


def read(session: Session, project_id: str, job_id: str) -> dict[str, Any] | None:
    """The members of `JobRead`."""
    rows = _dicts(session.execute(_READ_ONE, {"project_id": project_id, "job_id": job_id}))
    return rows[0] if rows else None


def read_page(
    session: Session, project_id: str, wanted: Page, *, status: str | None, connection_id: str | None
) -> Slice[dict[str, Any]]:
    """The members of `JobRead` for each."""
    statement = _READ.where(_jobs.project_id == project_id)
    if status is not None:
        statement = statement.where(_jobs.status == status)
    if connection_id is not None:
        statement = statement.where(_jobs.connection_id == connection_id)
    return slice_of(_dicts(session.execute(keyset(statement, _jobs.id, wanted))), wanted)


def _dicts(result: Result[Any]) -> list[dict[str, Any]]:
    """Plain dicts, which the encoder of the answer takes as they are."""
    names = list(result.keys())
    return [dict(zip(names, row, strict=True)) for row in result]


def count_unfinished(session: Session, project_id: str) -> int:
    return session.scalar(select(func.count()).where(Job.project_id == project_id, text(UNFINISHED_JOB))) or 0


def ask(session: Session, job_id: str, values: dict[str, Any]) -> bool:
    """Write a person's wish into an unfinished job and have it looked at now. False: it is finished."""
    touched = session.execute(
        update(Job)
        .where(Job.id == job_id, Job.status.not_in(JOB_LAW.terminal))
        .values(next_check_at=func.clock_timestamp(), updated_at=func.clock_timestamp(), **values)
        .returning(Job.id)
        .execution_options(synchronize_session=False)
    ).one_or_none()
    return touched is not None


def ask_to_resume(session: Session, job_id: str, values: dict[str, Any]) -> bool:
    """Wish a paused job to go on. False: it is not paused, or somebody has wished it already."""
    touched = session.execute(
        update(Job)
        .where(Job.id == job_id, Job.status == JobStatus.PAUSED, Job.pause_wanted.is_distinct_from(False))
        .values(
            pause_wanted=False,
            next_check_at=func.clock_timestamp(),
            updated_at=func.clock_timestamp(),
            **values,
        )
        .returning(Job.id)
        .execution_options(synchronize_session=False)
    ).one_or_none()
    return touched is not None


def set_watch(session: Session, project_id: str, job_id: str, policy: dict[str, Any]) -> bool:
    """Give an unfinished job other rules. False: it has ended."""
    touched = session.execute(
        update(Job)
        .where(Job.project_id == project_id, Job.id == job_id, Job.status.not_in(JOB_LAW.terminal))
        .values(watch=policy, updated_at=func.clock_timestamp())
        .returning(Job.id)
        .execution_options(synchronize_session=False)
    ).one_or_none()
    return touched is not None


def heed_wishes(session: Session, job_id: str) -> None:
    """A person's wish that came while a step was under way is looked at now, not when the step thought."""
    session.execute(
        update(Job)
        .where(
            Job.id == job_id,
            Job.status.in_(_HEEDS),
            or_(
                and_(Job.cancel_requested_at.is_not(None), Job.cancel_sent_at.is_(None)),
                Job.pause_wanted.is_not(None),
            ),
        )
        .values(next_check_at=func.clock_timestamp())
        .execution_options(synchronize_session=False)
    )


def hasten(session: Session, connection_id: str, remote_id: str) -> str | None:
    """Have a job in flight looked at now; its id, or None when we follow no such job."""
    return session.scalars(
        update(Job)
        .where(Job.connection_id == connection_id, Job.remote_id == remote_id, Job.status.in_(IN_FLIGHT))
        .values(next_check_at=func.clock_timestamp())
        .returning(Job.id)
        .execution_options(synchronize_session=False)
    ).one_or_none()


def unpark(session: Session, project_id: str, job_id: str) -> bool:
    touched = session.execute(
        update(Job)
        .where(Job.project_id == project_id, Job.id == job_id, Job.parked_reason.is_not(None))
        .values(
            parked_reason=None,
            fail_count=0,
            failing_since=None,
            next_check_at=func.clock_timestamp(),
            updated_at=func.clock_timestamp(),
        )
        .returning(Job.id)
        .execution_options(synchronize_session=False)
    ).one_or_none()
    return touched is not None


def wake_costly(session: Session) -> Sequence[str]:
    """Take up every parked job that is to be cancelled, once the pause of its parking is over."""
    return session.scalars(
        update(Job)
        .where(
            Job.next_check_at <= func.clock_timestamp(),
            Job.parked_reason.is_not(None),
            Job.cancel_requested_at.is_not(None),
            Job.status.not_in(JOB_LAW.terminal),
        )
        .values(parked_reason=None, fail_count=0, failing_since=None, next_check_at=func.clock_timestamp())
        .returning(Job.id)
        .execution_options(synchronize_session=False)
    ).all()


def seconds_since(session: Session, job_id: str, *, fenced: bool = False) -> float:
    """Seconds since the intent (or the fence) was written, on the database's clock."""
    column = Job.fenced_at if fenced else Job.sent_at
    return float(
        session.scalar(select(func.extract("epoch", func.clock_timestamp() - column)).where(Job.id == job_id)) or 0
    )


def missing_seconds(session: Session, job_id: str) -> float | None:
    """How long Azure has not known a job it had confirmed; None = it does."""
    seconds = session.scalar(
        select(func.extract("epoch", func.clock_timestamp() - Job.missing_since)).where(Job.id == job_id)
    )
    return None if seconds is None else float(seconds)


def hold(session: Session, job_id: str) -> Job:
    """The row as it is now, held until the transaction ends."""
    return session.get_one(Job, job_id, with_for_update=True, populate_existing=True)


def note(session: Session, job_id: str, values: dict[str, Any]) -> None:
    """Write into a row that this transaction holds."""
    session.execute(
        update(Job).where(Job.id == job_id).values(**values).execution_options(synchronize_session=False)
    )


def waits(session: Session, job: Job, *, limit: int) -> Sequence[float]:
    """Seconds between the sending and the beginning of jobs like this one, of the newest that have begun."""
    seconds = func.extract("epoch", Job.started_at - Job.sent_at)
    found = session.scalars(
        select(seconds)
        .where(
            Job.project_id == job.project_id,
            Job.connection_id == job.connection_id,
            Job.base_model == job.base_model,
            Job.training_type == job.training_type,
            Job.sent_at.is_not(None),
            Job.started_at > Job.sent_at,
        )
        .order_by(Job.id.desc())
        .limit(limit)
    )
    return [float(value) for value in found]


# ── the watch ───────────────────────────────────────────────────────────────

_IN_FLIGHT: Final = Job.status.in_([literal_column(f"'{status}'") for status in sorted(IN_FLIGHT)])
"""Written into the statement: only then does the planner see that the index of jobs in flight serves it."""
_UNLEASED: Final = or_(Job.lease_until.is_(None), Job.lease_until < func.clock_timestamp())
_NO_WISH: Final = and_(Job.cancel_requested_at.is_(None), Job.pause_wanted.is_(None))


@dataclass(frozen=True, slots=True)
class Watched:
    """What the watch must know of a job to tell whether it changed."""

    id: str
    project_id: str
    remote_id: str
    status: str
    remote_status: str | None


_WATCHED: Final = (Job.id, Job.project_id, Job.remote_id, Job.status, Job.remote_status)


def mark(raw: Mapping[str, Any]) -> str:
    """Digest of a job object as Azure showed it; the order of its members does not matter."""
    return hashlib.blake2b(json.dumps(raw, sort_keys=True).encode(), digest_size=8).hexdigest()


def _said(remote: RemoteJob) -> dict[str, Any]:
    """Azure's last word, as plain values."""
    return {
        "remote_status": remote.status,
        "remote": dict(remote.raw),
        "remote_mark": mark(remote.raw),
        "estimated_finish_at": remote.estimated_finish_at,
    }


def sighting(remote: RemoteJob) -> dict[str, Any]:
    """Columns that hold what Azure last said of a job."""
    return _said(remote) | {
        "remote_seen_at": func.clock_timestamp(),
        "missing_since": None,
        "trained_tokens": func.coalesce(remote.trained_tokens, Job.trained_tokens),
        "fine_tuned_model": func.coalesce(remote.fine_tuned_model, Job.fine_tuned_model),
    }


_OF_CONNECTION: Final = and_(
    Job.connection_id == bindparam("connection"),
    _IN_FLIGHT,
    Job.parked_reason.is_(None),
    Job.remote_id.is_not(None),
)
"""The connection's jobs that Azure knows and has not finished."""


def _seconds(seconds: ColumnElement[Any]) -> ColumnElement[Any]:
    return literal_column("interval '1 second'").op("*", return_type=Interval())(seconds)


_INTERVAL_SECONDS: Final = case(
    (
        Job.created_at < func.clock_timestamp() - _seconds(bindparam("old_after", type_=Double)),
        bindparam("old", type_=Double),
    ),
    (Job.status == literal_column(f"'{JobStatus.RUNNING}'"), bindparam("running", type_=Double)),
    else_=bindparam("starting", type_=Double),
)
"""How long a job may go unseen, by its state and age; the same law as `app.jobs.steps.watch_interval`."""


def _given(connection_id: str, policy: Policy) -> dict[str, Any]:
    """What the statements of the watch ask for; each is built once, as building costs more than asking."""
    return {
        "connection": connection_id,
        "old_after": policy.watch_old_after_seconds,
        "old": policy.watch_old_seconds,
        "running": policy.watch_running_seconds,
        "starting": policy.watch_starting_seconds,
    }


def _is_due(last: ColumnElement[Any]) -> ColumnElement[bool]:
    share = bindparam("share", type_=Double)
    return or_(last.is_(None), last + _seconds(_INTERVAL_SECONDS * share) <= func.clock_timestamp())


_DUE: Final = select(_jobs.remote_id).where(
    _OF_CONNECTION, Job.missing_since.is_(None), _is_due(_jobs.remote_seen_at)
)


def due_remote_ids(session: Session, connection_id: str, policy: Policy, *, early: float) -> set[str]:
    """Azure's ids of the jobs in flight whose interval is over.

    Args:
        early: part of the interval, 0 to 1, that may be missing, so that jobs of about one time go together.
    """
    return set(session.scalars(_DUE, _given(connection_id, policy) | {"share": 1 - early}))


_NEXT: Final = select(
    func.extract(
        "epoch",
        func.min(
            func.coalesce(
                case((Job.missing_since.is_(None), Job.remote_seen_at)),  # one that is missing looks for itself
                func.clock_timestamp(),
            )
            + _seconds(_INTERVAL_SECONDS)
        )
        - func.clock_timestamp(),
    )
).where(_OF_CONNECTION)


def next_look_seconds(session: Session, connection_id: str, policy: Policy) -> float | None:
    """In how many seconds the first of the jobs in flight is due, below 0 when it is overdue; None without any."""
    seconds = session.scalar(_NEXT, _given(connection_id, policy))
    return None if seconds is None else float(seconds)


_shown: Final = (
    func.unnest(bindparam("remote_ids", type_=ARRAY(String)), bindparam("marks", type_=ARRAY(String)))
    .table_valued(column("remote_id", String), column("mark", String), name="shown")
    .render_derived()
)
_FALLBACK_SECONDS: Final = _INTERVAL_SECONDS * bindparam("fallback", type_=Double)
_SEEN_AGAIN: Final = (
    update(cast("Table", Job.__table__))
    .where(_OF_CONNECTION, Job.remote_id == _shown.c.remote_id, Job.remote_mark == _shown.c.mark, _UNLEASED)
    .values(
        remote_seen_at=func.clock_timestamp(),
        missing_since=null(),
        next_check_at=case(
            (
                and_(_NO_WISH, Job.next_check_at < func.clock_timestamp() + _seconds(_FALLBACK_SECONDS / 2)),
                func.clock_timestamp() + _seconds(_FALLBACK_SECONDS),
            ),
            else_=Job.next_check_at,
        ),
    )
    .returning(_shown.c.remote_id)
)


def seen_again(
    session: Session, connection_id: str, marks: Mapping[str, str], policy: Policy, *, fallback: float
) -> set[str]:
    """Azure's list showed these jobs: note it where a job is in flight and just as it was seen before.

    A job's own look is pushed on only when it comes near; a row of which no indexed column changes is rewritten in
    place.

    Args:
        marks: Azure's ids, each with the mark of what was shown.
        fallback: after how many intervals without the watch a job is looked at by itself.

    Returns: Azure's ids of the jobs that this was true of.
    """
    given = {"remote_ids": list(marks), "marks": list(marks.values()), "fallback": fallback}
    return set(session.connection().execute(_SEEN_AGAIN, _given(connection_id, policy) | given).scalars())


def in_flight_among(session: Session, connection_id: str, remote_ids: Iterable[str]) -> Sequence[Watched]:
    """Those of Azure's ids that are jobs of ours in flight and in nobody's hands."""
    wanted = list(remote_ids)
    if not wanted:
        return ()
    found = session.execute(
        select(*_WATCHED).where(
            _OF_CONNECTION, Job.remote_id == func.any(literal(wanted, ARRAY(String))), _UNLEASED
        ),
        {"connection": connection_id},
    )
    return [Watched(**row) for row in found.mappings()]


_NOTE_DETAILS: Final = (
    update(cast("Table", Job.__table__))
    .where(_jobs.id == bindparam("job_id"), _IN_FLIGHT, _UNLEASED)
    .values(
        {name: bindparam(name) for name in ("remote_status", "remote", "remote_mark", "estimated_finish_at")}
        | {
            "trained_tokens": func.coalesce(bindparam("tokens", type_=BigInteger), _jobs.trained_tokens),
            "remote_seen_at": func.clock_timestamp(),
            "missing_since": None,
            "updated_at": func.clock_timestamp(),
        }
    )
)


def note_details(session: Session, seen: Iterable[tuple[str, RemoteJob]]) -> None:
    """Azure shows other details of these jobs, and their status stays: keep them, in one round trip."""
    rows = [{"job_id": job_id, "tokens": remote.trained_tokens} | _said(remote) for job_id, remote in seen]
    if rows:
        session.connection().execute(_NOTE_DETAILS, rows)


def wake(session: Session, connection_id: str, remote_ids: Iterable[str]) -> Sequence[str]:
    """Have jobs in flight looked at by themselves, now. Returns their ids."""
    wanted = list(remote_ids)
    if not wanted:
        return ()
    return session.scalars(
        update(Job)
        .where(
            Job.connection_id == connection_id,
            _IN_FLIGHT,
            Job.parked_reason.is_(None),
            Job.remote_id == func.any(literal(wanted, ARRAY(String))),
            _UNLEASED,
            Job.missing_since.is_(None),
        )
        .values(next_check_at=func.clock_timestamp())
        .returning(Job.id)
        .execution_options(synchronize_session=False)
    ).all()


_EVENTS_DUE: Final = (
    select(*_WATCHED)
    .where(
        _OF_CONNECTION,
        Job.status.in_([literal_column(f"'{status}'") for status in (JobStatus.RUNNING, JobStatus.PAUSED)]),
        Job.missing_since.is_(None),
        _is_due(_jobs.events_read_at),
    )
    .order_by(Job.events_read_at.nulls_first())
    .limit(bindparam("most", type_=BigInteger))
)


def events_due(
    session: Session, connection_id: str, policy: Policy, *, early: float, limit: int
) -> Sequence[Watched]:
    """Running and paused jobs whose events were not asked for in their interval, the longest ago first.

    Args:
        early: as for `due_remote_ids`.
    """
    given = _given(connection_id, policy) | {"share": 1 - early, "most": limit}
    return [Watched(**row) for row in session.execute(_EVENTS_DUE, given).mappings()]


_EVENTS_ASKED: Final = (
    update(cast("Table", Job.__table__))
    .where(_jobs.id == bindparam("job_id"))
    .values(events_read_at=func.clock_timestamp())
)


def events_asked(session: Session, job_id: str) -> None:
    """Somebody asks Azure for the job's events; others are asked for first now."""
    session.connection().execute(_EVENTS_ASKED, {"job_id": job_id})


# ── job events, points, checkpoints ─────────────────────────────────────────


_KNOWN_EVENTS: Final = select(cast("Table", JobEventRow.__table__).c.remote_id).where(
    JobEventRow.job_id == bindparam("job_id")
)


def known_events(session: Session, job_id: str) -> frozenset[str]:
    return frozenset(session.scalars(_KNOWN_EVENTS, {"job_id": job_id}))


_NEXT_REVISION: Final = (
    update(cast("Table", Job.__table__))
    .where(_jobs.id == bindparam("job_id"))
    .values(live_revision=_jobs.live_revision + 1)
    .returning(_jobs.live_revision)
)


def next_revision(session: Session, job_id: str) -> int:
    """The revision of what this transaction writes of the job's course. It holds the job's row until it ends, so
    that revisions become visible in their order and whoever follows them misses none.
    """
    return int(session.connection().execute(_NEXT_REVISION, {"job_id": job_id}).scalar_one())


def told_of_hours(session: Session, job_id: str) -> list[Told]:
    """The job events that tell how long a reinforcement training took."""
    rows = session.execute(
        select(JobEventRow.created_at, JobEventRow.type, JobEventRow.message).where(
            JobEventRow.job_id == job_id,
            or_(JobEventRow.type == "metrics", JobEventRow.message.like("Training %")),
        )
    )
    return [Told(*row) for row in rows]


def add_events(session: Session, job_id: str, events: Sequence[RemoteJobEvent], *, revision: int) -> int:
    """Keep Azure's job events, oldest first; those kept already are left alone. Returns how many were new."""
    if not events:
        return 0
    statement = (
        insert(JobEventRow)
        .values(
            [
                {
                    "id": new_id("jev"),
                    "job_id": job_id,
                    "revision": revision,
                    "remote_id": event.remote_id,
                    "level": event.level,
                    "type": event.type,
                    "message": event.message[:4000].replace("\x00", "\ufffd"),
                    "data": dict(event.data),
                    "created_at": event.created_at,
                }
                for event in events
            ]
        )
        .on_conflict_do_nothing(index_elements=[JobEventRow.job_id, JobEventRow.remote_id])
        .returning(JobEventRow.id)
    )
    return len(session.execute(statement).all())


def event_page(session: Session, job_id: str, wanted: Page) -> Slice[JobEventRow]:
    statement = select(JobEventRow).where(JobEventRow.job_id == job_id)
    return slice_of(session.scalars(keyset(statement, JobEventRow.id, wanted)).all(), wanted)


_PUT_POINTS: Final = text(
    """
    INSERT INTO job_points (job_id, step, "values", revision)
    SELECT :job_id, new.step, new.measured, :revision
    FROM unnest(CAST(:steps AS integer[]), CAST(:measured AS jsonb[])) AS new (step, measured)
    ON CONFLICT (job_id, step) DO UPDATE
    SET "values" = job_points."values" || excluded."values", revision = excluded.revision
    WHERE job_points."values" || excluded."values" <> job_points."values"
    """
)
"""Arrays, so that the statement is the same for one point and for ten thousand."""
POINTS_AT_ONCE: Final = 10_000


def put_points(
    session: Session, job_id: str, points: Iterable[tuple[int, Mapping[str, float]]], *, revision: int
) -> None:
    """Keep measured values; a step that is there already gains the new names. One without news stays as it is."""
    rows = list(points)
    for start in range(0, len(rows), POINTS_AT_ONCE):
        part = rows[start : start + POINTS_AT_ONCE]
        arrays = {
            "steps": [step for step, _ in part],
            "measured": [json.dumps(_as_json(values)) for _, values in part],
        }
        session.execute(_PUT_POINTS, {"job_id": job_id, "revision": revision} | arrays)


def _as_json(values: Mapping[str, float]) -> dict[str, float | str]:
    """JSON has no NaN and no infinity, and a loss that is none of the numbers must not be lost: it is text."""
    return {name: value if math.isfinite(value) else str(value) for name, value in values.items()}


_TOLD_STEPS: Final = (
    select(JobEventRow.created_at, JobEventRow.data)
    .where(JobEventRow.job_id == bindparam("job_id"), JobEventRow.type == "metrics")
    .order_by(JobEventRow.revision.desc(), JobEventRow.id.desc())
    .limit(bindparam("most", type_=BigInteger))
)


def told_steps(session: Session, job_id: str, *, limit: int) -> list[tuple[datetime, Mapping[str, Any]]]:
    """The newest metrics events, each as Azure's time and its data."""
    rows = session.execute(_TOLD_STEPS, {"job_id": job_id, "most": limit})
    return [(at, data) for at, data in rows]


_LIVE: Final = select(_jobs.status, _jobs.live_revision, _jobs.updated_at, _jobs.parked_reason).where(
    _jobs.id == bindparam("job_id")
)


@dataclass(frozen=True, slots=True)
class LiveState:
    """All that an idle stream asks for."""

    status: str
    revision: int
    changed_at: datetime
    parked_reason: str | None


def live_state(session: Session, job_id: str) -> LiveState:
    status, revision, changed_at, parked_reason = session.execute(_LIVE, {"job_id": job_id}).one()
    return LiveState(status, revision, changed_at, parked_reason)


def points_behind(session: Session, job_id: str, place: tuple[int, int], *, limit: int) -> Sequence[JobPoint]:
    """Points whose (revision, step) lies behind a place, in that order."""
    return session.scalars(
        select(JobPoint)
        .where(JobPoint.job_id == job_id, tuple_(JobPoint.revision, JobPoint.step) > place)
        .order_by(JobPoint.revision, JobPoint.step)
        .limit(limit)
    ).all()


def events_behind(session: Session, job_id: str, place: tuple[int, str], *, limit: int) -> Sequence[JobEventRow]:
    """Azure's job events whose (revision, id) lies behind a place, in that order."""
    return session.scalars(
        select(JobEventRow)
        .where(JobEventRow.job_id == job_id, tuple_(JobEventRow.revision, JobEventRow.id) > place)
        .order_by(JobEventRow.revision, JobEventRow.id)
        .limit(limit)
    ).all()


def newest_step(session: Session, job_id: str) -> int:
    """The last step that anything was measured at; 0 before the first."""
    return session.scalar(select(func.max(JobPoint.step)).where(JobPoint.job_id == job_id)) or 0


def points(session: Session, job_id: str) -> Sequence[tuple[int, dict[str, Any]]]:
    return [
        (step, values)
        for step, values in session.execute(
            select(JobPoint.step, JobPoint.values).where(JobPoint.job_id == job_id).order_by(JobPoint.step)
        )
    ]


def has_points(session: Session, job_id: str) -> bool:
    """Whether any step of it was measured."""
    return session.scalars(select(JobPoint.step).where(JobPoint.job_id == job_id).limit(1)).first() is not None


def keep_checkpoints(session: Session, job_id: str, found: Sequence[RemoteCheckpoint]) -> None:
    """Keep what Azure lists now, each under the id it had; one that left the list can no longer be deployed.

    Twice at once is harmless: each is kept once.
    """
    names = [item.remote_id for item in found]
    session.execute(
        update(Checkpoint)
        .where(Checkpoint.job_id == job_id, Checkpoint.remote_id.not_in(names), Checkpoint.gone_at.is_(None))
        .values(gone_at=func.clock_timestamp())
        .execution_options(synchronize_session=False)
    )
    for item in found:
        says = {
            "step": item.step,
            "model_name": item.model_name,  # the last one takes the name of the model itself when the job ends
            "metrics": dict(item.metrics),
            "created_at": item.created_at,
            "gone_at": None,
        }
        session.execute(
            insert(Checkpoint)
            .values(id=new_id("ckp"), job_id=job_id, remote_id=item.remote_id, **says)
            .on_conflict_do_update(index_elements=[Checkpoint.job_id, Checkpoint.remote_id], set_=says)
        )


def checkpoint(session: Session, project_id: str, checkpoint_id: str) -> tuple[Checkpoint, Job] | None:
    row = session.execute(
        select(Checkpoint, Job)
        .join(Job, Job.id == Checkpoint.job_id)
        .where(Checkpoint.id == checkpoint_id, Job.project_id == project_id)
    ).one_or_none()
    return None if row is None else (row[0], row[1])


def checkpoints(session: Session, job_id: str, *, gone: bool = False) -> Sequence[Checkpoint]:
    """Those that Azure lists, oldest first.

    Args:
        gone: with those that have left its list.
    """
    wanted = select(Checkpoint).where(Checkpoint.job_id == job_id)
    if not gone:
        wanted = wanted.where(Checkpoint.gone_at.is_(None))
    return session.scalars(wanted.order_by(Checkpoint.step)).all()


def change(session: Session, held: Claim, **values: Any) -> None:
    """A guarded write that also says when the job changed."""
    care.write(session, held, updated_at=func.clock_timestamp(), **values)
