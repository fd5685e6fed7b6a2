"""News travels upward as events: rooms above learn here what happened in rooms below.

Each reaction is idempotent. The cursor moves only when all reactions to an event went well; a crash repeats them.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import structlog
from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert

from app.events.log import Event, read_after
from app.events.tables import EventCursor
from app.kit.failpoints import failpoint
from app.models.service import ModelService
from app.studies.service import StudyService
from app.workbench import Workbench

log = structlog.get_logger("kitae.reactions")

READER: Final = "reactions"
BATCH: Final = 200

Reaction = Callable[[Workbench, Event], None]


def _register_models(bench: Workbench, event: Event) -> None:
    ModelService(bench).register(event.subject_id)


def _go_on_with_studies(bench: Workbench, event: Event) -> None:
    StudyService(bench).job_ended(event.subject_id)


REACTIONS: Final[Mapping[str, Sequence[Reaction]]] = {
    "job.succeeded": (_register_models, _go_on_with_studies),
    "job.failed": (_go_on_with_studies,),
    "job.cancelled": (_go_on_with_studies,),
}
"""Event type → what the rooms above do about it."""


def react(bench: Workbench) -> int:
    """Apply reactions to events not yet seen, in order; returns how many events were passed.

    One reader at a time: the cursor row is locked while its batch is applied (SKIP LOCKED, so others go away).
    """
    with bench.begin() as work:
        work.session.execute(insert(EventCursor).values(name=READER).on_conflict_do_nothing())
    passed = 0
    with bench.begin() as work:
        cursor = work.session.scalars(
            select(EventCursor).where(EventCursor.name == READER).with_for_update(skip_locked=True)
        ).one_or_none()
        if cursor is None:
            return 0
        with bench.read() as reading:
            events = read_after(reading, (cursor.transaction, cursor.seq), limit=BATCH)
        for event in events:
            for reaction in REACTIONS.get(event.type, ()):
                reaction(bench, event)
                log.info("reaction.applied", event_type=event.type, subject=event.subject_id)
                failpoint("reactions.applied")
            cursor.transaction, cursor.seq = event.place
            passed += 1
    return passed
