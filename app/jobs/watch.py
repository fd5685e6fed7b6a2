"""The watch: one reading of Azure's job list per connection instead of one poll per job.

It decides which jobs are looked at; what is done with what is seen is the job's own step (`app.jobs.steps`).
"""

from collections.abc import Sequence

from app.azure.port import RemoteJob
from app.connections.service import ConnectionService, Traffic
from app.connections.tables import Connection
from app.jobs import repository
from app.jobs.states import BY_REMOTE_WORD, JobStatus
from app.jobs.steps import FALLBACK_FACTOR, JobSteps, watch_interval
from app.jobs.tables import Job
from app.kit import care
from app.kit.care import Claim
from app.kit.clock import utc_now
from app.kit.failpoints import failpoint
from app.workbench import Workbench


class ConnectionWatch:
    """One sweep per connection instead of one poll per job."""

    def __init__(self, bench: Workbench) -> None:
        self._bench = bench
        self._connections = ConnectionService(bench)
        self._steps = JobSteps(bench)
        self._policy = bench.policy

    def watch(self, connection_id: str) -> None:
        """Read Azure's job list in pages until every job in flight was seen; look at those that changed."""
        self._bench.tend(Connection, connection_id, self._sweep, noun="connection")

    def _sweep(self, held: Claim) -> None:
        with self._bench.read() as session:
            jobs = {str(job.remote_id): job for job in repository.in_flight(session, held.row_id)}
        if jobs:
            self._look_at(held.row_id, jobs)
        with self._bench.begin() as work:
            left = repository.in_flight(work.session, held.row_id)
            care.finish(work.session, held, check_in_seconds=self._next(left))

    def _look_at(self, connection_id: str, jobs: dict[str, Job]) -> None:
        target = self._connections.target_of(connection_id)
        missing = set(jobs)
        changed: list[tuple[Job, RemoteJob]] = []
        unchanged: list[str] = []
        with self._connections.data(target, Traffic.READ) as azure:
            for page in azure.list_jobs(page_size=100):
                for remote in page:
                    if remote.remote_id not in missing:
                        continue
                    missing.discard(remote.remote_id)
                    job = jobs[remote.remote_id]
                    moved = BY_REMOTE_WORD.get(remote.status, job.status) != job.status
                    if moved or remote.status == "running" or dict(remote.raw) != job.remote:
                        changed.append((job, remote))
                    else:
                        unchanged.append(job.id)
                if not missing:
                    break
        failpoint("jobs.watch.listed")
        with self._bench.begin() as work:
            repository.seen_unchanged(
                work.session,
                unchanged,
                check_in_seconds=self._policy.watch_starting_seconds * FALLBACK_FACTOR,
            )
        for job, remote in changed:
            self._steps.look(job.id, remote)
        for remote_id in missing:
            self._steps.advance(jobs[remote_id].id)

    def _next(self, left: Sequence[Job]) -> float | None:
        """When to sweep again: as soon as the most impatient job wants; None when none is left."""
        if not left:
            return None
        now = utc_now()
        return min(
            watch_interval(self._policy, JobStatus(job.status), age_seconds=(now - job.created_at).total_seconds())
            for job in left
        )
