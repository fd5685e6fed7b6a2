"""The same POST twice is one deed and one answer."""

import itertools
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import pytest
from fastapi import APIRouter, FastAPI, Request, Response
from lives import until
from processes import serve
from sqlalchemy import text
from starlette.testclient import TestClient

from app.azure.port import OutcomeUnknown
from app.http.access import WriteJobs
from app.http.bench import Bench
from app.http.idempotency import IdempotentRoute, ReservationId, purge_expired
from app.http.responses import answer
from app.kit.errors import Conflict, Unready
from app.kit.wire import RequestModel
from app.main import ROUTERS, create_app


class _Order(RequestModel):
    size: int


class _Shop:
    """An endpoint that spends, and remembers what it was asked."""

    def __init__(self) -> None:
        self.deeds: list[str | None] = []
        self.fails: list[Exception] = []
        self.begun = threading.Event()
        self.go_on = threading.Event()
        self.go_on.set()
        numbers = itertools.count(1)
        self.router = APIRouter(prefix="/t", route_class=IdempotentRoute)

        @self.router.post("/orders", operation_id="createOrder", status_code=201)
        def create(
            request: Request, _bench: Bench, _caller: WriteJobs, order: _Order, reservation: ReservationId
        ) -> Response:
            self.begun.set()
            assert self.go_on.wait(10)
            if self.fails:
                raise self.fails.pop()
            self.deeds.append(reservation)
            number = next(numbers)
            return answer(request, {"n": number, "size": order.size}, status=201, location=f"/t/orders/{number}")

        @self.router.post("/answers/{status}", operation_id="answerWith")
        def answer_with(request: Request, _caller: WriteJobs, status: int) -> Response:
            self.deeds.append(None)
            return answer(request, {}, status=status)


@pytest.fixture
def shop() -> _Shop:
    return _Shop()


@pytest.fixture
def app(settings, bench, shop) -> FastAPI:
    return create_app(settings, bench, routers=(*ROUTERS, shop.router))


@pytest.fixture
def web(app, project) -> Iterator[TestClient]:
    with TestClient(app, headers=project.headers, raise_server_exceptions=False) as client:
        yield client


def _order(web: Any, key: str | None, size: int = 1, **more: Any) -> Any:
    headers = {} if key is None else {"Idempotency-Key": key}
    return web.post("/t/orders", json={"size": size}, headers=headers, **more)


def test_a_repeated_request_gets_the_first_answer(web, shop):
    first = _order(web, "k-1")
    again = _order(web, "k-1")
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.content == first.content
    assert again.headers["location"] == first.headers["location"] == "/t/orders/1"
    assert again.headers["idempotent-replayed"] == "true"
    assert "idempotent-replayed" not in first.headers
    assert again.headers["x-request-id"] != first.headers["x-request-id"]
    assert len(shop.deeds) == 1


def test_the_quoted_form_of_the_draft_is_the_same_key(web, shop):
    assert _order(web, "k-1").json() == _order(web, '"k-1"').json()
    assert len(shop.deeds) == 1


def test_without_a_key_every_request_is_a_deed(web, shop):
    assert [_order(web, None).json()["n"] for _ in range(2)] == [1, 2]
    assert shop.deeds == [None, None]


@pytest.mark.row(36)
def test_the_same_key_with_another_request_is_refused(web, shop):
    _order(web, "k-1", size=1)
    other = _order(web, "k-1", size=2)
    assert other.status_code == 422
    assert other.json()["code"] == "idempotency_key_reused"
    assert other.json()["errors"][0]["header"] == "Idempotency-Key"
    elsewhere = web.post("/t/answers/200", json={"size": 1}, headers={"Idempotency-Key": "k-1"})
    assert elsewhere.status_code == 422
    assert web.post("/t/orders?x=1", json={"size": 1}, headers={"Idempotency-Key": "k-1"}).status_code == 422
    assert len(shop.deeds) == 1


@pytest.mark.parametrize("key", ["", " ", '""', "a b", "k" * 256, b"\xe9", '"a'])
def test_a_key_that_is_none_is_refused_before_anything_is_done(web, shop, key):
    response = web.post("/t/orders", json={"size": 1}, headers={"Idempotency-Key": key})
    assert response.status_code == 400
    assert response.json()["code"] == "idempotency_key_invalid"
    assert shop.deeds == []


def test_two_callers_may_use_the_same_key(web, app, shop, second_project):
    other = TestClient(app, headers=second_project.headers)
    assert _order(web, "k-1").json()["n"] == 1
    assert _order(other, "k-1").json()["n"] == 2
    assert len(set(shop.deeds)) == 2


def test_nobody_without_a_key_reserves_anything(app, shop, bench):
    assert _order(TestClient(app), "k-1").status_code == 401
    with bench.read() as session:
        assert session.scalar(text("SELECT count(*) FROM idempotency_keys")) == 0


def test_a_key_without_the_scope_leaves_no_trace(web, app, bench):
    weak = web.post("/v1/api-keys", json={"name": "k", "scopes": ["jobs:read"]}).json()["secret"]
    assert _order(TestClient(app, headers={"api-key": weak}), "k-1").status_code == 403
    with bench.read() as session:
        assert session.scalar(text("SELECT count(*) FROM idempotency_keys")) == 0


def test_ten_at_once_are_one_deed(app, shop, project):
    shop.go_on.clear()
    with serve(app) as url, httpx2.Client(base_url=url, headers=project.headers) as web:
        with ThreadPoolExecutor(10) as pool:
            first = pool.submit(_order, web, "k-1")
            assert shop.begun.wait(10)
            others = [pool.submit(_order, web, "k-1") for _ in range(9)]
            answers = [other.result() for other in others]
            shop.go_on.set()
            assert first.result().status_code == 201
        assert [answer.status_code for answer in answers] == [409] * 9
        assert {answer.headers["retry-after"] for answer in answers} == {"1"}
        assert {answer.json()["code"] for answer in answers} == {"idempotency_in_progress"}
        assert _order(web, "k-1").headers["idempotent-replayed"] == "true"
    assert len(shop.deeds) == 1


@pytest.mark.row(35)
def test_thirty_unordered_requests_are_one_deed(app, shop, project):
    with (
        serve(app) as url,
        httpx2.Client(base_url=url, headers=project.headers) as web,
        ThreadPoolExecutor(10) as pool,
    ):
        answers = list(pool.map(lambda _: _order(web, "k-1"), range(30)))
    assert {answer.status_code for answer in answers} <= {201, 409}
    assert len({answer.content for answer in answers if answer.status_code == 201}) == 1
    assert len(shop.deeds) == 1


def test_a_refused_request_leaves_the_key_free_for_the_corrected_one(web, shop):
    wrong = web.post("/t/orders", json={"size": "many"}, headers={"Idempotency-Key": "k-1"})
    assert wrong.status_code == 422
    broken = web.post(
        "/t/orders", content=b"{", headers={"Idempotency-Key": "k-1", "Content-Type": "application/json"}
    )
    assert broken.status_code == 400
    shop.fails = [Conflict("Not now.")]
    assert _order(web, "k-1", size=3).status_code == 409
    assert _order(web, "k-1", size=4).json() == {"n": 1, "size": 4}


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (RuntimeError("crash"), 500),
        (Unready("Away."), 503),
        (OutcomeUnknown("Lost.", code="azure_lost"), 502),
    ],
)
def test_a_failed_request_may_be_repeated_but_not_replaced(web, shop, error, status):
    shop.fails = [error]
    assert _order(web, "k-1", size=1).status_code == status
    assert _order(web, "k-1", size=2).status_code == 422
    assert _order(web, "k-1", size=1).status_code == 201
    assert _order(web, "k-1", size=1).headers["idempotent-replayed"] == "true"
    assert len(shop.deeds) == 1


def test_answers_of_4xx_and_5xx_are_not_kept(web, shop):
    for status in (400, 500):
        for _ in range(2):
            response = web.post(f"/t/answers/{status}", headers={"Idempotency-Key": f"k-{status}"})
            assert response.status_code == status
            assert "idempotent-replayed" not in response.headers
    assert len(shop.deeds) == 4


def _set(bench: Any, assignment: str) -> None:
    with bench.begin() as work:
        work.session.execute(text(f"UPDATE idempotency_keys SET {assignment}"))  # noqa: S608  the test's own words


@pytest.mark.row(36)
def test_a_dead_request_is_taken_over_under_the_same_id(web, shop, bench):
    _order(web, "k-1")
    _set(bench, "status = NULL, locked_at = clock_timestamp() - interval '9 minutes'")
    assert _order(web, "k-1").status_code == 409
    _set(bench, "locked_at = clock_timestamp() - interval '11 minutes'")
    assert _order(web, "k-1", size=2).status_code == 422
    assert _order(web, "k-1").status_code == 201
    assert len(shop.deeds) == 2
    assert len(set(shop.deeds)) == 1, "the room recognises its earlier deed by this id"


def test_a_request_during_which_the_database_went_away_can_be_repeated_as_soon_as_it_is_back(
    app, shop, bench, project, postgres, settings
):
    url_of_database = settings.database_url.get_secret_value()
    shop.go_on.clear()
    with (
        serve(app) as url,
        httpx2.Client(base_url=url, headers=project.headers) as web,
        ThreadPoolExecutor(1) as pool,
    ):
        first = pool.submit(_order, web, "k-1")
        assert shop.begun.wait(10)
        postgres.forbid(url_of_database)
        shop.fails.append(Unready("The database went away."))
        shop.go_on.set()
        assert first.result().status_code == 503
        postgres.allow(url_of_database)

        again = until(lambda: found if (found := _order(web, "k-1")).status_code not in {409, 503} else None)

        assert again.status_code == 201
    assert len(shop.deeds) == 1


def test_a_slow_request_that_was_taken_over_does_not_overwrite_the_answer(app, shop, bench, project):
    shop.go_on.clear()
    with (
        serve(app) as url,
        httpx2.Client(base_url=url, headers=project.headers) as web,
        ThreadPoolExecutor(2) as pool,
    ):
        slow = pool.submit(_order, web, "k-1")
        assert shop.begun.wait(10)
        _set(bench, "locked_at = clock_timestamp() - interval '11 minutes'")
        shop.begun.clear()
        second = pool.submit(_order, web, "k-1")
        assert shop.begun.wait(10)
        shop.go_on.set()
        slow_answer, second_answer = slow.result(), second.result()
        replayed = _order(web, "k-1")
    assert slow_answer.status_code == second_answer.status_code == 201
    assert replayed.content == second_answer.content


def test_a_day_later_the_key_is_new(web, shop, bench):
    _order(web, "k-1", size=1)
    _set(bench, "created_at = clock_timestamp() - interval '23 hours'")
    assert _order(web, "k-1", size=1).headers["idempotent-replayed"] == "true"
    _set(bench, "created_at = clock_timestamp() - interval '25 hours'")
    assert _order(web, "k-1", size=2).json() == {"n": 2, "size": 2}
    assert len(set(shop.deeds)) == 2
    assert _order(web, "k-1", size=2).headers["idempotent-replayed"] == "true"


def test_old_keys_are_purged_and_young_ones_stay(web, bench):
    _order(web, "old")
    _set(bench, "created_at = clock_timestamp() - interval '25 hours'")
    _order(web, "young")
    with bench.begin() as work:
        assert purge_expired(work.session) == 0  # the young one has taken the old one along
    with bench.read() as session:
        assert session.scalars(text("SELECT key FROM idempotency_keys")).all() == ["young"]


def test_the_document_tells_of_the_header(app):
    operation = app.openapi()["paths"]["/t/orders"]["post"]
    names = [parameter["name"] for parameter in operation["parameters"]]
    assert names == ["Idempotency-Key"]
    assert {"409", "422"} <= set(operation["responses"])
    assert "Idempotent-Replayed" in operation["responses"]["201"]["headers"]
