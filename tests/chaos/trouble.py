"""The trouble of a chaos run: which process is killed or paused when, and where that struck.

Follows from the seed as far as scheduling allows: the order of troubles and the pauses between them do; which
process holds a row at that moment does not.
"""

import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import psycopg
from population import Database
from redis import Redis
from redis.exceptions import RedisError
from stack import Herd, Postgres

AIM: Final = 0.7
"""Share of kills and pauses that are aimed at a worker that holds a lease, if one does; the others hit anybody."""
BEAT_SHARE: Final = 0.02
"""Share of kills that hit the beat."""
PAUSE_LEASES: Final = (1.2, 2.5)
"""How long a pause lasts, in leases."""
PAUSE_PATIENCE_SECONDS: Final = 5.0
"""A pause lasts so much longer at most, until others have taken over every row that the process holds."""
PAUSED_SHARE: Final = 0.5
"""So many of the workers stand still at once, at most; the others do their work."""
PATIENCE_SECONDS: Final = 120.0
"""A row that nobody has taken up by then is looked for again at the end."""
LOOK_SECONDS: Final = 0.03
"""How often it is looked who took up what was dropped: the exactness of the recovery times."""

HELD: Final = """
SELECT 'job' AS noun, j.id, j.fence,
       j.status || CASE
           WHEN j.status = 'preparing' THEN
               CASE WHEN f.op_key IS NULL THEN ', before the upload'
                    WHEN f.remote_id IS NULL THEN ', upload under way or lost'
                    WHEN f.remote_status IS DISTINCT FROM 'processed' THEN ', file at Azure'
                    ELSE ', files ready' END
           WHEN j.status = 'submitting' AND j.send_state = 'sent' THEN
               CASE WHEN j.lease_until - j.sent_at <= make_interval(secs => %(lease)s::float8 + 0.05)
                    THEN ', sent: POST under way'
                    WHEN j.fenced_at IS NOT NULL THEN ', sent: file deleted, looking'
                    ELSE ', sent: looking for it' END
           WHEN j.status = 'submitting' THEN ', ' || j.send_state
           WHEN j.status IN ('succeeded', 'failed', 'cancelled') THEN ', giving files back'
           WHEN j.cancel_requested_at IS NOT NULL THEN ', to be cancelled'
           ELSE '' END AS place
FROM jobs j LEFT JOIN remote_files f ON f.owner_id = j.id AND f.role = 'training' AND f.attempt = j.attempt
WHERE j.lease_owner = %(owner)s AND j.lease_until > clock_timestamp()
UNION ALL
SELECT 'deployment', id, fence,
       status || CASE
           WHEN status = 'creating' AND put_sent_at IS NULL THEN ', before the PUT'
           WHEN status = 'creating' AND provisioning_state IS NULL THEN ', PUT under way or lost'
           WHEN status = 'deleting' AND delete_sent_at IS NULL THEN ', before the DELETE'
           ELSE '' END
FROM deployments WHERE lease_owner = %(owner)s AND lease_until > clock_timestamp()
UNION ALL
SELECT 'connection', id, fence, 'reading the list of jobs'
FROM connections WHERE lease_owner = %(owner)s AND lease_until > clock_timestamp()
"""
"""What a process holds, and which stretch of its step that is."""

HOLDERS: Final = """
SELECT lease_owner AS owner FROM jobs WHERE lease_until > clock_timestamp() UNION
SELECT lease_owner FROM deployments WHERE lease_until > clock_timestamp() UNION
SELECT lease_owner FROM connections WHERE lease_until > clock_timestamp()
"""
COUNT_CLAIMS: Final = """
CREATE SEQUENCE chaos_claims;
CREATE FUNCTION count_claim() RETURNS trigger LANGUAGE plpgsql AS
    'BEGIN PERFORM nextval(''chaos_claims''); RETURN NULL; END';
CREATE TRIGGER count_claim AFTER UPDATE OF fence ON jobs FOR EACH ROW EXECUTE FUNCTION count_claim();
CREATE TRIGGER count_claim AFTER UPDATE OF fence ON connections FOR EACH ROW EXECUTE FUNCTION count_claim();
CREATE TRIGGER count_claim AFTER UPDATE OF fence ON deployments FOR EACH ROW EXECUTE FUNCTION count_claim();
"""
"""Only a claim writes the fence. How many there were paces the trouble, so that a slow machine is not killed so
quickly that nothing is ever under way."""
CLAIMS: Final = "SELECT last_value AS claims FROM chaos_claims"
PACE_PATIENCE_SECONDS: Final = 10.0
"""A trouble waits at most so long for the claims before it."""
STANDSTILL_SECONDS: Final = 60.0
"""Without any claim for so long, something is broken that no trouble of ours explains."""
TABLE_OF: Final = {"job": "jobs", "deployment": "deployments", "connection": "connections"}


@dataclass(frozen=True)
class Plan:
    """How much trouble there shall be."""

    seed: int
    kills: int
    pauses: int
    restarts: int
    flushes: int
    claims_between: float
    """Mean number of claims between two troubles."""
    workers: int
    lease_seconds: float


@dataclass
class Struck:
    """A row whose holder was killed, until somebody has claimed it again."""

    noun: str
    id: str
    fence: int
    owner: str
    at: float


@dataclass
class Ledger:
    """What was done, and where it landed."""

    claims: int = 0
    """Of jobs, deployments and connections, by workers."""
    kills: int = 0
    beats_killed: int = 0
    holding: int = 0
    """Kills that hit a worker with at least one lease."""
    unsampled: int = 0
    """Kills while the database was away: nobody could say what they hit."""
    pauses: int = 0
    pauses_holding: int = 0
    taken_over: int = 0
    """Rows that another worker claimed while their holder was paused."""
    restarts: int = 0
    away_seconds: float = 0.0
    flushes: int = 0
    places: Counter[str] = field(default_factory=Counter)
    """Row states in which the kills landed."""
    pause_places: Counter[str] = field(default_factory=Counter)
    recovery_seconds: list[float] = field(default_factory=list)
    """From the kill to the next claim of each row its victim held."""
    finished: int = 0
    """Rows whose last write of the killed worker was still on its way to PostgreSQL, and arrived."""
    late: int = 0
    """Rows taken up only after PATIENCE_SECONDS; the machine was too busy."""
    never_claimed: list[str] = field(default_factory=list)
    """Rows that nobody took up in two minutes after their holder was killed."""
    ended_by_themselves: list[str] = field(default_factory=list)
    """Processes that ended without being killed: always a defect."""


class Troublemaker:
    """Makes trouble in a thread of its own until the plan is done."""

    def __init__(self, plan: Plan, herd: Herd, postgres: Postgres, redis_url: str, host: str) -> None:
        self._plan, self._herd, self._postgres, self._host = plan, herd, postgres, host
        self._redis_url = redis_url
        self._database = Database(postgres.url, patience_seconds=0.3)
        self._chance = random.Random(plan.seed)
        self._paused: dict[int, tuple[float, list[Struck]]] = {}
        self._struck: list[Struck] = []
        self._late: list[Struck] = []
        self._killed: set[int] = set()
        self._restarting: threading.Thread | None = None
        self._counted = 0
        self._looked = 0.0
        self._moved_at = time.monotonic()
        self.did = Ledger()
        self.done = threading.Event()
        self.failure: BaseException | None = None

    def start(self) -> threading.Thread:
        thread = threading.Thread(target=self._run, name="trouble", daemon=True)
        thread.start()
        return thread

    def _run(self) -> None:
        try:
            self._make_trouble()
        except BaseException as error:  # noqa: BLE001  told by whoever waits for us
            self.failure = error
        finally:
            self.done.set()

    def _make_trouble(self) -> None:
        plan = self._plan
        deeds: list[Callable[[], None]] = [
            *[self._kill] * plan.kills,
            *[self._pause] * plan.pauses,
            *[self._restart] * plan.restarts,
            *[self._flush] * plan.flushes,
        ]
        self._chance.shuffle(deeds)
        self._keep_up()
        for deed in deeds:
            self._let_work(self._chance.expovariate(1 / plan.claims_between))
            deed()
            self._keep_up()
        while self._paused or self._struck or self._restarting:
            self._wait(0.05)
        self._keep_up()

    def _let_work(self, claims: float) -> None:
        """Wait until the workers have made so many claims since the last time."""
        began = time.monotonic()
        while True:
            self._wait(0.01)
            now = self._claims()
            waited = time.monotonic() - began
            if now is not None and (now - self._counted >= claims or waited > PACE_PATIENCE_SECONDS):
                break
            if waited > STANDSTILL_SECONDS:
                raise RuntimeError(f"PostgreSQL has been away for {STANDSTILL_SECONDS:.0f} s")
        if now > self._counted:
            self._moved_at = time.monotonic()
        elif time.monotonic() - self._moved_at > STANDSTILL_SECONDS:
            raise RuntimeError(f"no row has been claimed for {STANDSTILL_SECONDS:.0f} s: see the workers' log")
        self.did.claims = self._counted = now

    def _claims(self) -> int | None:
        try:
            return int(self._database.rows(CLAIMS)[0]["claims"])
        except psycopg.Error:
            return None

    def _wait(self, seconds: float) -> None:
        """Let time pass, waking who slept long enough and watching who takes up what was dropped."""
        until = time.monotonic() + seconds
        while True:
            self._wake()
            if time.monotonic() - self._looked > LOOK_SECONDS:
                self._looked = time.monotonic()
                self._watch_struck()
            if self._restarting is not None and not self._restarting.is_alive():
                self._restarting = None
            left = until - time.monotonic()
            if left <= 0:
                return
            time.sleep(min(left, 0.03))

    def _keep_up(self) -> None:
        """As many processes as there should be; those that ended by themselves are told."""
        for pid, code in self._herd.reap().items():
            if pid not in self._killed:
                self.did.ended_by_themselves.append(f"process {pid} ended with {code}")
            self._killed.discard(pid)
        roles = Counter(role for pid, role in self._herd.alive.items() if pid not in self._killed)
        for role, wanted in (("worker", self._plan.workers), ("beat", 1)):
            for _ in range(wanted - roles[role]):
                self._herd.start(role)
        self._herd.bound_log()

    # ── whom ────────────────────────────────────────────────────────────────

    def _workers(self) -> list[int]:
        return sorted(
            pid
            for pid, role in self._herd.alive.items()
            if role == "worker" and pid not in self._killed and pid not in self._paused
        )

    def _victim(self) -> int:
        """A worker: with the probability `AIM` one that holds a lease."""
        workers = self._workers()
        aimed, drawn = self._chance.random() < AIM, self._chance.random()
        if aimed:
            try:
                owners = {row["owner"] for row in self._database.rows(HOLDERS)}
            except psycopg.Error:
                owners = set()
            workers = [pid for pid in workers if self._owner(pid) in owners] or workers
        return workers[int(drawn * len(workers))]

    def _owner(self, pid: int) -> str:
        return f"{self._host}:{pid}"

    def _held(self, pid: int) -> list[dict[str, Any]] | None:
        """What this process holds; None when the database is away."""
        try:
            return self._database.rows(HELD, {"owner": self._owner(pid), "lease": self._plan.lease_seconds})
        except psycopg.Error:
            return None

    # ── deeds ───────────────────────────────────────────────────────────────

    def _kill(self) -> None:
        beats = [pid for pid, role in self._herd.alive.items() if role == "beat" and pid not in self._killed]
        if self._chance.random() < BEAT_SHARE and beats:
            self._strike(beats[0])
            self.did.beats_killed += 1
            return
        pid = self._victim()
        self._strike(pid)
        at = time.monotonic()
        held = self._held(pid)
        self.did.kills += 1
        if held is None:
            self.did.unsampled += 1
            return
        self.did.holding += bool(held)
        self.did.places.update(f"{row['noun']}: {row['place']}" for row in held)
        self._struck += self._struck_rows(pid, held, at)

    def _struck_rows(self, pid: int, held: list[dict[str, Any]], at: float = 0.0) -> list[Struck]:
        return [Struck(row["noun"], row["id"], row["fence"], self._owner(pid), at) for row in held]

    def _strike(self, pid: int) -> None:
        self._killed.add(pid)
        self._herd.signal(pid, signal.SIGKILL)

    def _pause(self) -> None:
        while len(self._paused) >= max(1, int(self._plan.workers * PAUSED_SHARE)):
            self._wait(0.02)
        pid = self._victim()
        self._herd.signal(pid, signal.SIGSTOP)
        held = self._held(pid) or []
        self.did.pauses += 1
        self.did.pauses_holding += bool(held)
        for row in held:
            self.did.pause_places[f"{row['noun']}: {row['place']}"] += 1
        long = self._chance.uniform(*PAUSE_LEASES) * self._plan.lease_seconds
        self._paused[pid] = (time.monotonic() + long, self._struck_rows(pid, held))

    def _wake(self) -> None:
        for pid, (until, held) in list(self._paused.items()):
            now = time.monotonic()
            if now < until:
                continue
            claimed, given_back = self._looked_up(held)
            taken = len(claimed)
            if len(claimed | given_back) < len(held) and now < until + PAUSE_PATIENCE_SECONDS:
                continue  # a pause that nobody used would try nothing
            self.did.taken_over += taken
            self._herd.signal(pid, signal.SIGCONT)
            del self._paused[pid]

    def _restart(self) -> None:
        if self._restarting is not None:
            self._restarting.join()

        def crash() -> None:
            self.did.away_seconds += self._postgres.crash_and_restart()

        self.did.restarts += 1
        self._restarting = threading.Thread(target=crash, name="crash", daemon=True)
        self._restarting.start()

    def _flush(self) -> None:
        with Redis.from_url(self._redis_url, socket_timeout=5) as redis:
            try:
                redis.flushall()
            except RedisError:
                return
        self.did.flushes += 1

    # ── who takes up what was dropped ───────────────────────────────────────

    def _watch_struck(self) -> None:
        if not self._struck:
            return
        now = time.monotonic()
        claimed, given_back = self._looked_up(self._struck)
        for struck in [struck for struck in self._struck if struck.id in claimed | given_back]:
            if struck.id in claimed:
                self.did.recovery_seconds.append(now - struck.at)
            else:
                self.did.finished += 1
            self._struck.remove(struck)
        late = [struck for struck in self._struck if now - struck.at > PATIENCE_SECONDS]
        self._late += late
        self._struck = [struck for struck in self._struck if struck not in late]

    def look_for_the_late(self) -> None:
        """At the very end: rows that nobody had taken up in time are late, or were never claimed again."""
        claimed, given_back = self._looked_up(self._late)
        self.did.late = len([struck for struck in self._late if struck.id in claimed | given_back])
        self.did.never_claimed += [
            f"{struck.noun} {struck.id}" for struck in self._late if struck.id not in claimed | given_back
        ]

    def _looked_up(self, wanted: list[Struck]) -> tuple[set[str], set[str]]:
        """Ids of those that somebody has claimed since, and of those whose holder gave them back after all."""
        claimed: set[str] = set()
        given_back: set[str] = set()
        for noun in {struck.noun for struck in wanted}:
            known = {struck.id: struck for struck in wanted if struck.noun == noun}
            try:
                rows = self._database.rows(
                    f"SELECT id, fence, lease_owner FROM {TABLE_OF[noun]} WHERE id = ANY(%s)",  # noqa: S608  ours
                    [list(known)],
                )
            except psycopg.Error:
                break
            for row in rows:
                if row["fence"] > known[row["id"]].fence:
                    claimed.add(row["id"])
                elif row["lease_owner"] != known[row["id"]].owner:
                    given_back.add(row["id"])
        return claimed, given_back
