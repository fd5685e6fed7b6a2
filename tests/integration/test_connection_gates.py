"""Gates and circuits of a connection: how long nobody calls, and who may try whether Azure is back."""

import threading
from collections.abc import Iterator
from typing import Final

import pytest
from lives import Emulator, Life, quick
from servers import make_project
from sqlalchemy import text

from app.azure.port import AzureError, NotThere, OutcomeUnknown, Throttled, Unavailable
from app.bootstrap import open_workbench
from app.connections import repository
from app.connections.gates import OPEN_AFTER, STOP_PAUSE_SECONDS, Gates, Traffic
from app.connections.service import ConnectionService
from app.events.tables import EventRow
from app.settings import Settings
from app.workbench import Workbench

SILENCE: Final = Unavailable("No answer", code="azure_no_answer")


@pytest.fixture
def life(settings: Settings, emulator_url: str) -> Iterator[Life]:
    changes = {"circuit_rest_seconds": 30.0, "lease_seconds": 5.0}
    with open_workbench(quick(settings, emulator_url, **changes), pool_size=20) as bench:
        Emulator(emulator_url).reset()
        yield Life.begin(bench, make_project(bench, "gates").id, emulator_url)
        Emulator(emulator_url).faults()


@pytest.fixture
def connection(life: Life) -> str:
    return life.connect()


def call(life: Life, connection: str, traffic: Traffic, error: AzureError | None = None) -> str | None:
    """Make a call that ends like this; the code of what the caller sees."""
    try:
        with Gates(life.bench).passing(connection, traffic):
            if error is not None:
                raise error
    except AzureError as seen:
        return seen.code
    return None


def left(bench: Workbench, connection: str, traffic: Traffic = Traffic.READ) -> float:
    with bench.read() as session:
        return repository.gate(session, connection, traffic)[0]


def open_now(bench: Workbench, connection: str, traffic: Traffic = Traffic.READ) -> bool:
    with bench.read() as session:
        return repository.gate(session, connection, traffic)[1]


def let_time_pass(life: Life, connection: str, seconds: float) -> None:
    """As if so much time had gone by for the gates."""
    columns = [f"{name}_closed_until" for name in ("reads", "writes", "stops")]
    columns += [f"{name}_{time}" for name in ("reads", "writes") for time in ("probe_until", "open_since")]
    moved = [f"{column} = {column} - make_interval(secs => :seconds)" for column in columns]
    with life.bench.begin() as work:
        work.session.execute(
            text(f"UPDATE connections SET {', '.join(moved)} WHERE id = :id"),  # noqa: S608  only our own words
            {"seconds": seconds, "id": connection},
        )


def told(life: Life, event_type: str) -> list[dict[str, object]]:
    with life.bench.read() as session:
        return [row.data for row in session.query(EventRow).filter(EventRow.type == event_type)]


# ── Retry-After ─────────────────────────────────────────────────────────────

IN_AN_HOUR: Final = "{now+3600}"
"""The emulator writes the date when it answers."""


@pytest.mark.row(23)
@pytest.mark.parametrize(
    ("headers", "least", "most"),
    [
        ({"Retry-After": "7"}, 6, 7),
        ({"Retry-After": "86400"}, 86_390, 86_400),
        ({"Retry-After": "999999999"}, 172_790, 172_800),
        ({"Retry-After": "0"}, 0.5, 1),
        ({"Retry-After": "-5"}, 0.5, 1),
        ({"Retry-After": "soon"}, 9, 10),
        ({}, 9, 10),
        ({"retry-after-ms": "4000"}, 3, 4),
        ({"x-ms-retry-after-ms": "4000", "Retry-After": "2"}, 3, 4),
        ({"Retry-After": IN_AN_HOUR}, 3000, 3601),  # a date has whole seconds
    ],
)
def test_a_429_shuts_the_gate_for_as_long_as_it_says_for_every_worker(
    headers: dict[str, str], least: float, most: float, life: Life, connection: str, emulator_url: str
) -> None:
    azure, service = Emulator(emulator_url), ConnectionService(life.bench)
    azure.strike("jobs.list", times=1000, status=429, headers=headers)
    target = service.target_of(connection)
    with pytest.raises(Throttled), service.data(target, Traffic.READ) as plane:
        next(iter(plane.list_jobs()))
    assert least <= left(life.bench, connection) <= most
    for _ in range(20):
        with pytest.raises(Throttled) as refused, ConnectionService(life.bench).data(target, Traffic.READ):
            pytest.fail("the gate is shut")
        assert refused.value.code == "gate_closed"
        assert refused.value.retry_after_seconds is not None
        assert refused.value.retry_after_seconds <= most
    assert len(azure.requests("jobs.list")) == 1


@pytest.mark.row(23)
def test_a_shorter_wait_said_later_opens_nothing_earlier(life: Life, connection: str) -> None:
    for seconds in (300.0, 2.0):
        with life.bench.begin() as work:
            repository.close_for(work.session, connection, "read", seconds=seconds)
    assert left(life.bench, connection) > 290


def test_one_class_of_calls_waits_alone(life: Life, connection: str) -> None:
    told_to_wait = Throttled("slow", code="azure_throttled", retry_after_seconds=300.0)
    assert call(life, connection, Traffic.WRITE, told_to_wait) == "azure_throttled"
    assert call(life, connection, Traffic.WRITE) == "gate_closed"
    assert call(life, connection, Traffic.READ) is None
    assert call(life, connection, Traffic.STOP_MONEY) is None


# ── circuits ────────────────────────────────────────────────────────────────


@pytest.mark.row(22)
@pytest.mark.parametrize("error", [SILENCE, OutcomeUnknown("lost", code="azure_no_answer")])
def test_five_silent_calls_in_a_row_open_the_circuit(error: AzureError, life: Life, connection: str) -> None:
    for _ in range(OPEN_AFTER - 1):
        call(life, connection, Traffic.WRITE, error)
    assert not open_now(life.bench, connection, Traffic.WRITE)
    call(life, connection, Traffic.WRITE, error)
    assert open_now(life.bench, connection, Traffic.WRITE)
    assert call(life, connection, Traffic.WRITE) == "gate_closed"
    assert call(life, connection, Traffic.READ) is None
    assert 29 < left(life.bench, connection, Traffic.WRITE) <= 30


@pytest.mark.row(22)
def test_half_of_the_last_twenty_open_it_too_and_a_refusal_counts_as_an_answer(life: Life, connection: str) -> None:
    answers = [None, NotThere("404", code="azure_not_found")]
    calls = 0
    while not open_now(life.bench, connection):
        call(life, connection, Traffic.READ, SILENCE)
        call(life, connection, Traffic.READ, answers[calls % 2])
        calls += 1
        assert calls <= 10
    assert calls == 10


def test_old_silences_are_forgotten_after_twenty_calls(life: Life, connection: str) -> None:
    for number in range(60):
        call(life, connection, Traffic.READ, SILENCE if number % 3 == 0 else None)
    assert not open_now(life.bench, connection)


def _opened(life: Life, connection: str) -> None:
    for _ in range(OPEN_AFTER):
        call(life, connection, Traffic.READ, SILENCE)
    assert open_now(life.bench, connection)


@pytest.mark.row(22)
def test_of_many_who_wait_exactly_one_tries_whether_azure_is_back(life: Life, connection: str) -> None:
    _opened(life, connection)
    let_time_pass(life, connection, 31)
    passed: list[int] = []
    shut: list[int] = []
    meet, done = threading.Barrier(8), threading.Barrier(8)

    def ask(number: int) -> None:
        meet.wait(30)
        try:
            with Gates(life.bench).passing(connection, Traffic.READ):
                passed.append(number)
                done.wait(30)
        except Throttled:
            shut.append(number)
            done.wait(30)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(passed), len(shut)) == (1, 7)
    assert not open_now(life.bench, connection)
    assert call(life, connection, Traffic.READ) is None


@pytest.mark.row(22)
def test_a_probe_without_an_answer_rests_again_and_one_that_died_gives_way(life: Life, connection: str) -> None:
    _opened(life, connection)
    let_time_pass(life, connection, 31)
    call(life, connection, Traffic.READ, SILENCE)
    assert 29 < left(life.bench, connection) <= 30
    let_time_pass(life, connection, 31)
    with life.bench.begin() as work:
        assert repository.take_probe(work.session, connection, "read", seconds=5.0)  # and its process dies
    assert call(life, connection, Traffic.READ) == "gate_closed"
    let_time_pass(life, connection, 6)
    assert call(life, connection, Traffic.READ) is None
    assert not open_now(life.bench, connection)


def test_a_probe_that_fails_for_a_reason_of_ours_lets_the_next_one_try(life: Life, connection: str) -> None:
    _opened(life, connection)
    let_time_pass(life, connection, 31)
    with pytest.raises(ZeroDivisionError), Gates(life.bench).passing(connection, Traffic.READ):
        raise ZeroDivisionError
    assert call(life, connection, Traffic.READ) is None


@pytest.mark.row(22)
def test_cancelling_passes_every_circuit_and_only_pauses_for_seconds(life: Life, connection: str) -> None:
    for traffic in (Traffic.READ, Traffic.WRITE):
        for _ in range(OPEN_AFTER):
            call(life, connection, traffic, SILENCE)
    assert call(life, connection, Traffic.STOP_MONEY) is None
    waits = []
    for _ in range(8):
        assert call(life, connection, Traffic.STOP_MONEY, SILENCE) == "azure_no_answer"
        waits.append(left(life.bench, connection, Traffic.STOP_MONEY))
        assert call(life, connection, Traffic.STOP_MONEY) == "gate_closed"
        let_time_pass(life, connection, 61)
    assert [round(wait) for wait in waits] == sorted(round(wait) for wait in waits)  # less what has passed since
    assert 0 < waits[0] <= 1
    assert waits[-1] <= 30
    slow = Throttled("slow", code="azure_throttled", retry_after_seconds=86_400.0)
    assert call(life, connection, Traffic.STOP_MONEY, slow) == "azure_throttled"
    assert 0 < left(life.bench, connection, Traffic.STOP_MONEY) <= STOP_PAUSE_SECONDS


def test_a_long_outage_is_told_once_and_its_end_too(life: Life, connection: str) -> None:
    gates = Gates(life.bench)
    _opened(life, connection)
    assert gates.tell_outages() == 0
    let_time_pass(life, connection, 301)
    assert gates.tell_outages() == 1
    assert gates.tell_outages() == 0
    assert [data["traffic"] for data in told(life, "connection.unreachable")] == ["read"]
    assert told(life, "connection.reachable") == []
    assert call(life, connection, Traffic.READ) is None
    assert [data["traffic"] for data in told(life, "connection.reachable")] == ["read"]
    assert call(life, connection, Traffic.READ) is None
    assert len(told(life, "connection.reachable")) == 1
