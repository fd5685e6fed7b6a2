"""All SQL of the baselines room."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, func, insert, select, update
from sqlalchemy.orm import Session

from app.baselines.states import BaselineStatus
from app.baselines.tables import Baseline, BaselineAnswer, BaselineGrade
from app.deployments import asked
from app.deployments.asked import Tally
from app.kit.ids import new_id
from app.kit.pagination import Page, Slice, keyset, slice_of


def add(session: Session, baseline: Baseline, units: Sequence[tuple[int, int]]) -> None:
    """With an answer to be asked for each (way, case)."""
    session.add(baseline)
    session.flush()
    rows = [{"id": new_id("ban"), "baseline_id": baseline.id, "way": way, "place": place} for way, place in units]
    session.execute(insert(BaselineAnswer), rows)


def find_reserved(session: Session, reservation_id: str) -> Baseline | None:
    return session.scalars(select(Baseline).where(Baseline.reservation_id == reservation_id)).one_or_none()


def find(session: Session, project_id: str, baseline_id: str, *, lock: bool = False) -> Baseline | None:
    statement = select(Baseline).where(Baseline.project_id == project_id, Baseline.id == baseline_id)
    return session.scalars(statement.with_for_update() if lock else statement).one_or_none()


def get_unscoped(session: Session, baseline_id: str) -> Baseline:
    """For workers."""
    return session.get_one(Baseline, baseline_id)


def page(session: Session, project_id: str, wanted: Page, *, status: BaselineStatus | None) -> Slice[Baseline]:
    statement = select(Baseline).where(Baseline.project_id == project_id)
    if status is not None:
        statement = statement.where(Baseline.status == status)
    return slice_of(session.scalars(keyset(statement, Baseline.id, wanted)).all(), wanted)


def answer_page(session: Session, baseline_id: str, wanted: Page, *, way: int | None) -> Slice[BaselineAnswer]:
    statement = select(BaselineAnswer).where(BaselineAnswer.baseline_id == baseline_id)
    if way is not None:
        statement = statement.where(BaselineAnswer.way == way)
    return slice_of(session.scalars(keyset(statement, BaselineAnswer.id, wanted)).all(), wanted)


def answers(session: Session, baseline_id: str) -> Sequence[BaselineAnswer]:
    return session.scalars(
        select(BaselineAnswer)
        .where(BaselineAnswer.baseline_id == baseline_id)
        .order_by(BaselineAnswer.way, BaselineAnswer.place)
    ).all()


def grades(session: Session, baseline_id: str, answer_ids: Sequence[str] | None = None) -> dict[str, BaselineGrade]:
    """Answer → its grade, of these answers or of all."""
    statement = select(BaselineGrade).where(BaselineGrade.baseline_id == baseline_id)
    if answer_ids is not None:
        statement = statement.where(BaselineGrade.answer_id.in_(answer_ids))
    return {grade.answer_id: grade for grade in session.scalars(statement)}


def open_answers(session: Session, baseline_id: str, *, limit: int) -> Sequence[BaselineAnswer]:
    """The next to be asked; those that were sent before and never answered come first."""
    return session.scalars(
        select(BaselineAnswer)
        .where(BaselineAnswer.baseline_id == baseline_id, BaselineAnswer.answered_at.is_(None))
        .order_by(BaselineAnswer.attempts.desc(), BaselineAnswer.place, BaselineAnswer.way)
        .limit(limit)
    ).all()


def open_grades(
    session: Session, baseline_id: str, *, limit: int
) -> Sequence[tuple[BaselineGrade, BaselineAnswer]]:
    """The next answers to be graded."""
    rows = session.execute(
        select(BaselineGrade, BaselineAnswer)
        .join(BaselineAnswer, BaselineAnswer.id == BaselineGrade.answer_id)
        .where(BaselineGrade.baseline_id == baseline_id, BaselineGrade.answered_at.is_(None))
        .order_by(BaselineGrade.attempts.desc(), BaselineGrade.answer_id)
        .limit(limit)
    )
    return [(grade, one) for grade, one in rows]


def tallies(session: Session, baseline_ids: Sequence[str]) -> dict[str, tuple[Tally, Tally]]:
    """Baseline → how far its answers are, and their grades."""
    ids = list(baseline_ids)
    of_answers = asked.tallies(session, BaselineAnswer, BaselineAnswer.baseline_id, ids)
    of_grades = asked.tallies(session, BaselineGrade, BaselineGrade.baseline_id, ids)
    return {one: (of_answers.get(one, Tally()), of_grades.get(one, Tally())) for one in ids}


def answer(answer_id: str) -> ColumnElement[bool]:
    """Which row of `BaselineAnswer`."""
    return BaselineAnswer.id == answer_id


def grade(answer_id: str) -> ColumnElement[bool]:
    """Which row of `BaselineGrade`."""
    return BaselineGrade.answer_id == answer_id


def add_grade(session: Session, baseline_id: str, answer_id: str) -> None:
    session.execute(insert(BaselineGrade).values(answer_id=answer_id, baseline_id=baseline_id))


def give_up_open(session: Session, baseline_id: str, error: Mapping[str, Any], *, graded: bool) -> int:
    """End every answer that is still to be asked for, or with `graded` every grade. Returns how many."""
    if graded:
        return asked.give_up(session, BaselineGrade, BaselineGrade.baseline_id == baseline_id, error)
    return asked.give_up(session, BaselineAnswer, BaselineAnswer.baseline_id == baseline_id, error)


def ask(session: Session, baseline_id: str, values: Mapping[str, Any]) -> None:
    """Write a person's wish and have the row looked at now; a parked one is taken up again."""
    session.execute(
        update(Baseline)
        .where(Baseline.id == baseline_id)
        .values(
            next_check_at=func.clock_timestamp(),
            updated_at=func.clock_timestamp(),
            parked_reason=None,
            fail_count=0,
            failing_since=None,
            **values,
        )
        .execution_options(synchronize_session=False)
    )


def is_cancel_requested(session: Session, baseline_id: str) -> bool:
    return bool(session.scalar(select(Baseline.cancel_requested_at.is_not(None)).where(Baseline.id == baseline_id)))


def heed_cancel(session: Session, baseline_id: str) -> None:
    """Let no finished step put the next look behind a wish to cancel that was written meanwhile."""
    session.execute(
        update(Baseline)
        .where(
            Baseline.id == baseline_id,
            Baseline.cancel_requested_at.is_not(None),
            Baseline.next_check_at.is_not(None),
        )
        .values(next_check_at=func.clock_timestamp())
        .execution_options(synchronize_session=False)
    )
