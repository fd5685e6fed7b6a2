"""Many jobs in flight at once, for tests of the watch: planted at the emulator, with rows as submitted jobs leave them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from lives import Emulator, Life
from sqlalchemy import func, insert, select, text, update

from app.connections.tables import Connection
from app.jobs.steps import JobSteps
from app.jobs.tables import Job
from app.jobs.watch import ConnectionWatch
from app.kit.clock import utc_now
from app.kit.ids import new_id


@dataclass
class Fleet:
    """The jobs of one connection, oldest first."""

    life: Life
    connection_id: str
    remote_ids: Sequence[str]

    @classmethod
    def plant(cls, life: Life, count: int, *, name: str = "emulator", status: str = "running") -> "Fleet":
        """So many at the emulator, running there whatever our rows say."""
        connection_id = life.connect(name=name)
        ids = Emulator(life.emulator_url).post("/portal", {"action": "create_jobs", "count": count})["ids"]
        with life.bench.begin() as work:
            work.session.execute(
                text("SET LOCAL session_replication_role = replica")
            )  # no data of theirs is needed
            work.session.execute(
                insert(Job),
                [
                    {
                        "id": new_id("job"),
                        "project_id": life.caller.project_id,
                        "connection_id": connection_id,
                        "training_version_id": None,
                        "base_model": "gpt-4.1-mini-2025-04-14",
                        "model": "gpt-4.1-mini-2025-04-14",
                        "method": "supervised",
                        "training_type": "GlobalStandard",
                        "hyperparameters": {},
                        "user_metadata": {},
                        "plan": {},
                        "status": status,
                        "send_state": "confirmed",
                        "remote_id": remote_id,
                        "remote_status": status,
                        "next_check_at": utc_now() + timedelta(hours=1),
                    }
                    for remote_id in ids
                ],
            )
            work.session.execute(
                update(Connection)
                .where(Connection.id == connection_id)
                .values(next_check_at=func.clock_timestamp())
            )
        return cls(life, connection_id, ids)

    def watch(self, *, due: Sequence[str] | None = None) -> None:
        """One round, with all jobs due, or just those with these of Azure's ids."""
        wanted = self.remote_ids if due is None else due
        with self.life.bench.begin() as work:
            long_ago = func.clock_timestamp() - text("interval '1 hour'")
            work.session.execute(
                update(Job)
                .where(Job.remote_id.in_(wanted))
                .values(remote_seen_at=long_ago, events_read_at=long_ago)
            )
        ConnectionWatch(self.life.bench).watch(self.connection_id)

    def go_on(self) -> None:
        """One round with whatever is due."""
        ConnectionWatch(self.life.bench).watch(self.connection_id)

    def rows(self) -> list[Job]:
        with self.life.bench.read() as session:
            return list(
                session.scalars(select(Job).where(Job.connection_id == self.connection_id).order_by(Job.id))
            )

    def row(self, remote_id: str) -> Job:
        return next(job for job in self.rows() if job.remote_id == remote_id)

    def connection(self) -> Connection:
        with self.life.bench.read() as session:
            return session.get_one(Connection, self.connection_id)

    def seconds_to_next(self) -> float:
        """Until the next round."""
        with self.life.bench.read() as session:
            left = select(func.extract("epoch", Connection.next_check_at - func.clock_timestamp()))
            return float(session.scalar(left.where(Connection.id == self.connection_id)) or 0)

    def advance(self, remote_id: str) -> None:
        """The job's own task."""
        JobSteps(self.life.bench).advance(self.row(remote_id).id)
