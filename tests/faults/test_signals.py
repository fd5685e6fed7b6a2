"""Signals to workers and APIs: SIGTERM in every kind of call, twice, SIGQUIT, SIGHUP. Nothing held, nothing lost."""

import signal
import subprocess
from collections.abc import Callable, Iterator

import httpx2
import pytest
from invariants_hold import assert_invariants
from lives import until
from nursery import Nursery
from servers import Postgres
from standing import Standing, standing

from app.datasets.tables import RemoteFileRow
from app.jobs.states import SendState
from app.jobs.tables import Job
from worker.celery_app import make_celery, nudge_through

pytestmark = pytest.mark.fault
STOP_SECONDS = 45.0


@pytest.fixture(scope="module")
def house(
    nursery: Nursery,
    postgres: Postgres,
    redis_server: str,
    emulator_url: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Standing]:
    with (
        postgres.database() as database_url,
        standing(
            nursery,
            database_url,
            redis_server,
            emulator_url,
            tmp_path_factory.mktemp("signals"),
            lease_seconds=20.0,
        ) as made,
    ):
        made.start("api")
        yield made
        made.stop()
        assert_invariants(made.bench, emulator_url)


def uploading(house: Standing, job: str) -> bool:
    with house.bench.read() as session:
        return session.query(RemoteFileRow).filter_by(owner_id=job, remote_id=None).one_or_none() is not None


def posting(house: Standing, job: str) -> bool:
    return house.life.read(job).send_state == SendState.SENT


def looking(house: Standing, job: str) -> bool:
    return house.life.read(job).status in {"queued", "running"} and house.life.read(job).lease_owner is not None


CALLS: dict[str, tuple[str, Callable[[Standing, str], bool]]] = {
    "upload": ("files.upload", uploading),
    "POST": ("jobs.create", posting),
    "look": ("jobs.get", looking),
}


def a_worker_in(house: Standing, call: str) -> str:
    """A worker that waits for Azure's answer to such a call; its job."""
    operation, under_way = CALLS[call]
    house.azure.strike(operation, delay_seconds=1.5)
    house.start("worker")
    job = house.ask_for_job()
    send = nudge_through(make_celery(house.redis_url))

    def there() -> bool | None:
        send("jobs.advance", job)
        return under_way(house, job) or None

    until(there)
    return job


def held(house: Standing) -> list[str]:
    with house.bench.read() as session:
        return [row.id for row in session.query(Job) if row.lease_owner is not None]


def end_by_others(house: Standing, job: str) -> None:
    """What a killed worker held is free now, as if its time had passed; others go on."""
    with house.bench.begin() as work:
        work.session.query(Job).filter(Job.lease_owner.is_not(None)).update({"lease_until": Job.created_at})
    house.azure.faults()
    house.crew.finish()
    house.ended(job)


@pytest.mark.row(9)
@pytest.mark.parametrize("call", CALLS)
def test_sigterm_lets_the_call_end_gives_the_lease_back_and_ends_with_0(call: str, house: Standing) -> None:
    job = a_worker_in(house, call)
    house.processes["worker"].send_signal(signal.SIGTERM)
    assert house.processes["worker"].wait(STOP_SECONDS) == 0, house.processes["worker"].said()[-3000:]
    assert held(house) == []
    end_by_others(house, job)


@pytest.mark.row(10)
@pytest.mark.parametrize("numbers", [(signal.SIGTERM, signal.SIGTERM), (signal.SIGQUIT,)], ids=["twice", "quit"])
def test_a_worker_that_is_pressed_ends_and_the_next_one_goes_on(
    numbers: tuple[signal.Signals, ...], house: Standing
) -> None:
    job = a_worker_in(house, "POST")
    for number in numbers:
        house.processes["worker"].send_signal(number)
    house.processes["worker"].wait(STOP_SECONDS)
    end_by_others(house, job)


@pytest.mark.row(10)
def test_a_worker_that_is_hung_up_on_loses_nothing(house: Standing) -> None:
    job = a_worker_in(house, "upload")
    house.processes["worker"].send_signal(signal.SIGHUP)
    try:
        house.processes["worker"].wait(3)
    except subprocess.TimeoutExpired:  # it starts itself anew instead
        house.processes["worker"].kill()
    end_by_others(house, job)


@pytest.mark.row(10)
@pytest.mark.parametrize(
    "numbers",
    [(signal.SIGTERM,), (signal.SIGTERM, signal.SIGTERM), (signal.SIGQUIT,), (signal.SIGHUP,)],
    ids=["TERM", "twice", "QUIT", "HUP"],
)
def test_an_api_that_is_stopped_in_the_middle_of_a_request_never_does_the_deed_twice(
    numbers: tuple[signal.Signals, ...], house: Standing
) -> None:
    key = {"Idempotency-Key": f"stopped-{'-'.join(number.name for number in numbers)}"}
    for number in numbers:
        house.processes["api"].send_signal(number)
    try:
        first = house.http.post("/v1/jobs", json=house.wanted(), headers=key)
    except httpx2.TransportError:
        first = None
    code = house.processes["api"].wait(STOP_SECONDS)
    assert code in {0, *(-number for number in numbers)}
    if numbers == (signal.SIGTERM,):
        assert code == 0
    house.start("api")
    second = house.http.post("/v1/jobs", json=house.wanted(), headers=key)
    assert second.is_success, second.text
    if first is not None and first.is_success:
        assert first.json()["id"] == second.json()["id"]
