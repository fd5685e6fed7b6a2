"""The same request again: many at once, and after the process died between the deed and its answer."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx2
import pytest
from invariants_hold import assert_invariants
from lives import until
from nursery import Nursery
from servers import Postgres
from sqlalchemy import text
from standing import Standing, line_to, standing
from tcp_proxy import Line, Spoiled

from app.jobs.tables import Job

pytestmark = pytest.mark.fault
CLIENTS = 50


@pytest.fixture(scope="module")
def house(
    nursery: Nursery, postgres: Postgres, emulator_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Standing, Line, str]]:
    with (
        postgres.database() as database_url,
        line_to(database_url) as (line, through),
        standing(
            nursery, database_url, "redis://127.0.0.1:1/0", emulator_url, tmp_path_factory.mktemp("again")
        ) as made,
    ):
        made.start("api", database_url=through)
        yield made, line, through
        made.stop()
        assert_invariants(made.bench, emulator_url)


def jobs_named(house: Standing, name: str) -> int:
    with house.bench.read() as session:
        return session.query(Job).filter_by(suffix=name).count()


@pytest.mark.row(35)
def test_fifty_clients_with_one_key_make_one_job(house: tuple[Standing, Line, str]) -> None:
    made, *_ = house
    together = threading.Barrier(CLIENTS)

    def send(_: int) -> tuple[int, str]:
        with httpx2.Client(base_url=made.url, headers=made.project.headers, timeout=60) as http:
            together.wait()
            answer = http.post("/v1/jobs", json=made.wanted("fifty"), headers={"Idempotency-Key": "fifty"})
        return answer.status_code, answer.json().get("id", answer.json().get("code"))

    with ThreadPoolExecutor(CLIENTS) as pool:
        answers = set(pool.map(send, range(CLIENTS)))
    made_ids = {said for status, said in answers if status < 300}
    assert len(made_ids) == 1
    assert {(status, said) for status, said in answers if status >= 300} <= {(409, "idempotency_in_progress")}
    assert jobs_named(made, "fifty") == 1


@pytest.mark.row(36)
def test_a_key_whose_process_died_after_the_deed_completes_it_and_does_it_once(
    house: tuple[Standing, Line, str],
) -> None:
    made, line, through = house
    key = {"Idempotency-Key": "died"}
    made.http.get("/v1/jobs")
    line.down = Spoiled(latency_seconds=0.3)  # what the API hears of its database, late
    asking = threading.Thread(target=lambda: _ask(made, key))
    asking.start()
    until(lambda: jobs_named(made, "died") or None)
    made.stop("api", number=9)
    asking.join()
    line.heal()

    made.start("api", database_url=through)
    first = made.http.post("/v1/jobs", json=made.wanted("died"), headers=key)
    if not first.is_success:  # its lock lasts as long as any request might; here that time is over
        assert (first.status_code, first.json()["code"]) == (409, "idempotency_in_progress")
        with made.bench.begin() as work:
            work.session.execute(text("UPDATE idempotency_keys SET locked_at = locked_at - interval '1 hour'"))
        first = made.http.post("/v1/jobs", json=made.wanted("died"), headers=key)
    assert first.is_success, first.text
    assert jobs_named(made, "died") == 1
    other = made.http.post("/v1/jobs", json=made.wanted("other"), headers=key)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")


def _ask(house: Standing, headers: dict[str, str]) -> None:
    try:
        house.http.post("/v1/jobs", json=house.wanted("died"), headers=headers)
    except httpx2.TransportError:
        return  # as expected: the API dies in the middle
