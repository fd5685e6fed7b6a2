"""The workbench: everything a service may reach, and the unit of work in which it changes anything.

It knows no door, no room and no setting by name; `app.bootstrap` builds it.
"""

import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import structlog
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.orm import Session, sessionmaker

from app.azure.catalogue.catalogue import Catalogue
from app.azure.port import Azure, AzureError, Busy, Throttled, Unauthorised
from app.kit import care
from app.kit.care import CareColumns, Claim, LeaseLost
from app.kit.deeds import Deed, current_deed
from app.kit.secrets import Vault
from app.kit.web import Web
from app.storage.port import Storage

log = structlog.get_logger("kitae.care")

INSTALLATION: Final = "installation"
"""Stands for a project where something concerns all of them."""
HERD_SECONDS: Final = 30.0
"""Rows that waited for the same gate are spread over at most so long."""
PARKED_FOR_AUTH: Final = "auth"
"""Why a row is parked whose credential Azure refused, also after a forced renewal of its token."""
STINT_SECONDS: Final = 20.0
"""How long one task goes on with steps that are due at once, before others get their turn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """How patient the service is. All in seconds unless the name says otherwise; each is a setting."""

    environment: str
    """Tag on everything we make at Azure, so that two installations on one resource stay apart."""
    halted: bool
    """The whole installation begins nothing that costs money, by setting."""
    lease_seconds: float
    settle_seconds: float
    """How long a created job may take to show in Azure's list before we believe that it does not exist."""
    backoff_max_seconds: float
    """A failing step is looked at again at least this often until it parks."""
    park_after_failures: int
    park_after_seconds: float
    circuit_rest_seconds: float
    """How long calls of one class rest after several of them in a row got no answer."""
    watch_starting_seconds: float
    watch_running_seconds: float
    watch_old_seconds: float
    watch_old_after_seconds: float
    watch_details_max: int
    """Single jobs that one look at a connection's list may ask about."""
    retry_after_max_seconds: float
    """Longer waits that Azure asks for are taken for a mistake and cut to this."""
    file_poll_seconds: float
    deployment_poll_seconds: float
    warm_up_limit_seconds: float
    deployment_ttl_seconds: float
    quota_release_seconds: float
    sweep_seconds: float
    """How often a whole resource is compared with our rows."""
    catalogue_seconds: float
    """How often ARM is asked which models a resource offers and when they end."""
    recreate_max: int
    """How often a deployment that Azure removed is made again, if its `on_removal` says so."""
    janitor_seconds: float
    leftover_seconds: float
    """How old something in our storage that no row names must be before it is thrown away."""
    keep_files: bool
    """Whether training files stay at Azure after their job has ended."""
    jobs_per_project_max: int
    upload_bytes_max: int
    unpacked_bytes_max: int
    unpack_ratio_max: int
    uploads_per_project_max: int
    fetch_seconds: float
    fetches_per_project_max: int
    transforms_per_project_max: int
    hub_url: str
    blob_url: str
    """With `{account}` in it."""
    blob_accounts: frozenset[str]
    """`account` or `account/container`: what may be read with the service's own identity."""
    azure_parts_from_bytes: int
    azure_part_bytes: int


@dataclass(frozen=True, slots=True)
class NewEvent:
    """A fact to be written into the log with the change that made it true."""

    type: str
    project_id: str
    subject_id: str
    data: dict[str, Any]


@dataclass(slots=True)
class UnitOfWork:
    """One transaction, the events it makes true and the nudges to send once it is committed."""

    session: Session
    events: list[NewEvent] = field(default_factory=list)
    notes: list[NewEvent] = field(default_factory=list)
    nudges: list[tuple[str, str]] = field(default_factory=list)

    def announce(self, event_type: str, *, project_id: str, subject_id: str, **data: Any) -> None:
        """Append an event to the log, in this transaction."""
        self.events.append(NewEvent(event_type, project_id, subject_id, data))

    def note(self, change: str, *, project_id: str, subject_id: str, **data: Any) -> None:
        """Record a change that is no news to anybody but an auditor; what is announced is recorded already.

        Args:
            project_id: `INSTALLATION` where it concerns no project.
        """
        self.notes.append(NewEvent(change, project_id, subject_id, data))

    def nudge(self, task: str, row_id: str) -> None:
        """Ask for work now instead of at the next tick. Sent after the commit; losing it costs only time."""
        self.nudges.append((task, row_id))


RecordEvents = Callable[[Session, Sequence[NewEvent]], None]
RecordDeed = Callable[[Session, Deed, Sequence[NewEvent]], bool]
"""Puts changes, with who made them, into the record that nobody can edit; False when none of them belongs there."""
SendNudge = Callable[[str, str], None]
CheckUrl = Callable[[str], str]
"""The URL as it will be called, without a trailing slash; ValueError, in words, when it may never be called."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workbench:
    """What a service may reach. Every door builds its services from one."""

    sessions: sessionmaker[Session]
    azure: Azure
    web: Web
    storage: Storage
    vault: Vault
    catalogue: Catalogue
    policy: Policy
    check_url: CheckUrl
    record_events: RecordEvents
    record_deed: RecordDeed
    send_nudge: SendNudge
    owner: str
    """Name of this process in leases."""

    @contextmanager
    def begin(self) -> Iterator[UnitOfWork]:
        """One transaction: commits on a clean exit, rolls back on any exception, then sends the nudges.

        Never open across a call to Azure.
        """
        deed = current_deed() or Deed(actor_kind="worker", actor_id=self.owner, operation="", chain=INSTALLATION)
        recorded = False
        with self.sessions() as session:
            work = UnitOfWork(session)
            with session.begin():
                yield work
                if work.events:
                    self.record_events(session, work.events)
                if work.events or work.notes:  # last: it locks the end of a chain until the commit
                    recorded = self.record_deed(session, deed, [*work.events, *work.notes])
        deed.recorded |= recorded
        for task, row_id in work.nudges:
            self.send_nudge(task, row_id)

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A session for reading only: each statement stands alone (autocommit)."""
        with self.sessions() as session:
            session.connection(execution_options={"isolation_level": "AUTOCOMMIT"})
            yield session

    def tend(
        self,
        table: type[CareColumns],
        row_id: str,
        step: Callable[[Claim], None],
        *,
        noun: str,
        once: bool = False,
    ) -> None:
        """Claim the row, take one step, and go on while steps are due at once.

        A step does at most one remote mutation and ends with `care.finish`. Whatever it raises is recorded in the
        row: a 429 or a busy account waits without counting, a failure backs off with full jitter, and after
        `policy.park_after_failures` failures or `policy.park_after_seconds` on the same step the row is parked.
        A credential that Azure does not accept parks it at once: that is no failure of the row, and only a person
        can mend it.

        Args:
            once: leave the next step to another task even if it is due at once.
        """
        deadline = time.monotonic() + STINT_SECONDS
        while True:
            with self.begin() as work:
                held = care.claim(
                    work.session, table, row_id, owner=self.owner, lease_seconds=self.policy.lease_seconds
                )
            if held is None:
                return
            try:
                self._take_step(held, step, noun=noun)
            except LeaseLost:
                log.info("care.lease_lost", noun=noun, id=row_id)
                return
            if once or held.check_in_seconds != 0 or time.monotonic() > deadline:
                return

    def _take_step(self, held: Claim, step: Callable[[Claim], None], *, noun: str) -> None:
        if held.fail_count > self.policy.park_after_failures or (
            held.fail_count > 1 and held.failing_seconds > self.policy.park_after_seconds
        ):
            self._park(held, noun)
            return
        try:
            step(held)
        except LeaseLost:
            raise
        except (Throttled, Busy) as error:
            self._give_back(held, noun, error, forgive=True, wait=error.retry_after_seconds or 5.0)
        except Unauthorised as error:
            self._park(held, noun, reason=PARKED_FOR_AUTH, error=describe(error))
        except AzureError as error:
            self._give_back(held, noun, error, forgive=False, wait=error.retry_after_seconds)
        except (OperationalError, DBAPIError):
            raise  # the database is away: the lease ends by itself and the row is looked at again
        except Exception as error:
            log.exception("care.step_failed", noun=noun, id=held.row_id)
            self._give_back(held, noun, error, forgive=False, wait=None)
        if not held.finished:
            raise RuntimeError(f"a step of {noun} {held.row_id} ended without saying when to look again")

    def _give_back(self, held: Claim, noun: str, error: Exception, *, forgive: bool, wait: float | None) -> None:
        ceiling = min(self.policy.backoff_max_seconds, 2.0 ** min(held.fail_count, 10))
        pause = random.uniform(0.2, 1.0) * ceiling
        if wait is not None:  # never earlier than asked; not all rows of a gate at the same moment
            wait = min(wait, self.policy.retry_after_max_seconds)
            pause = wait + random.uniform(0.0, min(0.1 * wait, HERD_SECONDS)) if forgive else max(wait, pause)
        log.warning(
            "care.step_gave_back",
            noun=noun,
            id=held.row_id,
            error=str(error)[:300],
            wait_seconds=round(pause, 1),
        )
        with self.begin() as work:
            care.give_back(work.session, held, error=describe(error), check_in_seconds=pause, forgive=forgive)

    def _park(
        self, held: Claim, noun: str, *, reason: str | None = None, error: dict[str, Any] | None = None
    ) -> None:
        reason = reason or f"{held.fail_count - 1} attempts in a row did not go well"
        with self.begin() as work:
            row: Any = work.session.get(held.table, held.row_id)
            crashed = {"code": "crashed", "message": "The worker ended during this step."}
            last = error or row.last_error or crashed
            care.park(work.session, held, reason=reason, error=last)
            project_id = getattr(row, "project_id", None)
            if project_id:
                work.announce(
                    f"{noun}.parked", project_id=project_id, subject_id=held.row_id, reason=reason, error=last
                )
        log.error("care.parked", noun=noun, id=held.row_id, reason=reason)


def describe(error: Exception) -> dict[str, Any]:
    """An error as it is kept in a row: our code, words for people, and Azure's answer verbatim if there is one."""
    if isinstance(error, AzureError):
        return {
            "code": error.code,
            "message": error.message,
            "hint": error.hint,
            "http_status": error.http_status,
            "remote": error.remote,
        }
    return {"code": "internal_error", "message": f"{type(error).__name__}: {error}"[:500]}
