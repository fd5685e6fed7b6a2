"""The watch: one reading of Azure's job list per connection instead of one poll per job.

It decides which jobs are looked at; what is done with what is seen is the job's own step (`app.jobs.steps`).
"""

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import structlog

from app.azure.port import AzureError, AzureTarget, RemoteJob, Throttled, Unauthorised
from app.connections.service import ConnectionService, Traffic
from app.connections.tables import Connection
from app.jobs import repository
from app.jobs.states import JobStatus
from app.jobs.steps import FALLBACK_FACTOR, JobSteps, meaning, tell_unknown
from app.kit import care
from app.kit.care import Claim
from app.kit.failpoints import failpoint
from app.workbench import Workbench, describe

log = structlog.get_logger("kitae.watch")

PAGE: Final = 100
"""Jobs asked for at once. Microsoft names no limit; 20 is the default. Source: v1 OpenAPI, 2026-02-02."""
EARLY: Final = 0.2
"""A job goes along with a round that comes up to this part of its interval too early, so that rounds are few."""
SOON_SECONDS: Final = 2.0
"""Pause before a round that was broken off on its way goes on."""


@dataclass(slots=True)
class _Round:
    """One reading of a connection's list."""

    due: set[str]
    """Azure's ids of the jobs that are to be seen and were not yet."""
    after: str | None
    """Where the round before was broken off."""
    pages: int = field(default=0)


class ConnectionWatch:
    """One round per connection instead of one poll per job.

    What a page shows is kept before the next is asked for, so that a round may break off anywhere: the next one
    goes on behind that page, then at the top, until every job that was due has been seen.
    """

    def __init__(self, bench: Workbench) -> None:
        self._bench = bench
        self._connections = ConnectionService(bench)
        self._steps = JobSteps(bench)
        self._policy = bench.policy
        self._shortest = min(self._policy.watch_starting_seconds, self._policy.watch_running_seconds)

    def watch(self, connection_id: str) -> None:
        """Read Azure's list until every job that is due was seen, then the events of running jobs that are due."""
        self._bench.tend(Connection, connection_id, self._look_round, noun="connection")

    def _look_round(self, held: Claim) -> None:
        with self._bench.read() as session:
            if repository.next_look_seconds(session, held.row_id, self._policy) is not None:
                due = repository.due_remote_ids(session, held.row_id, self._policy, early=EARLY)
                round_ = _Round(due, session.get_one(Connection, held.row_id).watch_after)
            else:
                round_ = None
        if round_ is not None:
            target = self._connections.target_of(held.row_id)
            try:
                self._read_list(held, target, round_)
            except Throttled:
                raise  # waits for as long as Azure says, and counts for nothing
            except AzureError as error:
                self._break_off(held, round_, error)
                return
            self._read_events(held, target)
        self._finish(held)

    # ── the list ────────────────────────────────────────────────────────────

    def _read_list(self, held: Claim, target: AzureTarget, round_: _Round) -> None:
        if round_.after is not None:
            self._read_pages(held, target, round_, after=round_.after)
        if round_.after is None or round_.due:
            self._read_pages(held, target, round_, after=None)
            if round_.due:
                self._ask_for_absent(held, round_.due)

    def _read_pages(self, held: Claim, target: AzureTarget, round_: _Round, *, after: str | None) -> None:
        """Page by page, each through the gate, to the end of the list or until nothing that is due is left."""
        pages = None
        while pages is None or round_.due:
            with self._connections.data(target, Traffic.READ) as azure:
                pages = pages or azure.list_jobs(page_size=PAGE, after=after)
                page = next(pages, None)
            if page is None:
                return
            failpoint("jobs.watch.listed")
            self._take_page(held, page)
            round_.pages += 1
            round_.due.difference_update(remote.remote_id for remote in page)

    def _take_page(self, held: Claim, page: Sequence[RemoteJob]) -> None:
        """Keep what the page shows: most jobs as they were, a few that moved."""
        shown = {remote.remote_id: remote for remote in page}
        if not shown:
            return
        marks = {remote_id: repository.mark(remote.raw) for remote_id, remote in shown.items()}
        moved: list[tuple[str, RemoteJob]] = []
        details: list[tuple[str, RemoteJob]] = []
        ended: list[str] = []
        with self._bench.begin() as work:
            same = repository.seen_again(work.session, held.row_id, marks, self._policy, fallback=FALLBACK_FACTOR)
            for job in repository.in_flight_among(work.session, held.row_id, shown.keys() - same):
                remote = shown[job.remote_id]
                wanted = meaning(remote)
                if wanted is None or wanted == job.status:
                    tell_unknown(job.id, job.remote_status, remote)
                    details.append((job.id, remote))
                elif wanted in {JobStatus.FAILED, JobStatus.CANCELLED}:
                    ended.append(
                        job.remote_id
                    )  # its job events say why, and reading them is a call: its own task's
                else:
                    moved.append((job.id, remote))
            repository.note_details(work.session, details)
            for job_id in repository.wake(work.session, held.row_id, ended):
                work.nudge("jobs.advance", job_id)
            care.write(  # last: whoever holds a job and wakes the watch takes the rows in this order, too
                work.session,
                held,
                lease_until=care.in_seconds(self._policy.lease_seconds),
                watch_after=page[-1].remote_id,
            )
        for job_id, remote in moved:
            self._steps.look(job_id, remote)

    def _ask_for_absent(self, held: Claim, absent: set[str]) -> None:
        """The whole list did not show these. Their own looks ask for them by id; only those may find them gone."""
        log.info("watch.absent", connection=held.row_id, jobs=len(absent))
        with self._bench.begin() as work:
            asked = sorted(absent)[: self._policy.watch_details_max]
            for job_id in repository.wake(work.session, held.row_id, asked):
                work.nudge("jobs.advance", job_id)

    def _break_off(self, held: Claim, round_: _Round, error: AzureError) -> None:
        """Azure did not answer. Nothing is parked for that: a look costs nothing, and not looking may."""
        got_on = round_.pages > 0
        pause = SOON_SECONDS if got_on else self._shortest
        if isinstance(error, Unauthorised):
            pause = self._policy.watch_old_seconds  # a new credential brings the look forward
        log.warning("watch.broke_off", connection=held.row_id, pages=round_.pages, error=error.message[:300])
        with self._bench.begin() as work:
            if not got_on:
                care.write(work.session, held, watch_after=None)  # the place it names may be what Azure chokes on
            care.give_back(
                work.session,
                held,
                error=describe(error),
                check_in_seconds=pause * random.uniform(0.5, 1.0),
                forgive=True,
            )

    # ── the events of running jobs ──────────────────────────────────────────

    def _read_events(self, held: Claim, target: AzureTarget) -> None:
        """Of so many running jobs that are due, the longest unread first, and not for longer than a round may."""
        held_since = began = time.monotonic()
        with self._bench.read() as session:
            due = repository.events_due(
                session, held.row_id, self._policy, early=EARLY, limit=self._policy.watch_details_max
            )
        for job in due:
            try:
                self._steps.read_events(
                    held, target, job_id=job.id, project_id=job.project_id, remote_id=job.remote_id
                )
            except Throttled:
                return
            except AzureError as error:
                log.info("watch.events_unread", id=job.id, error=error.message[:300])
            now = time.monotonic()
            if now - began > self._shortest:
                return
            if now - held_since > self._policy.lease_seconds / 4:
                held_since = now
                with self._bench.begin() as work:
                    care.extend(work.session, held, lease_seconds=self._policy.lease_seconds)

    def _finish(self, held: Claim) -> None:
        """Say when to look again: when the first job is due, spread a little; never when none is in flight."""
        with self._bench.begin() as work:
            care.write(
                work.session, held, watch_after=None
            )  # holds the row: a job that comes now wakes it after us
            seconds = repository.next_look_seconds(work.session, held.row_id, self._policy)
            if seconds is not None:
                seconds = max(seconds * random.uniform(1 - EARLY / 2, 1.0), self._shortest / 2)
            care.finish(work.session, held, check_in_seconds=seconds)
