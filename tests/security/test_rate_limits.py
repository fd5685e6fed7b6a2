"""How much one caller may ask: counted in the process alone, so that it holds whatever else is away."""

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from lives import until
from processes import serve
from servers import Postgres, Project
from starlette.requests import Request
from starlette.testclient import TestClient

from app.access.secrets import new_secret
from app.http.problems import TooMany
from app.http.rates import Buckets, Slots, caller_address, neighbourhood
from app.main import create_app, rates
from app.settings import Settings
from app.workbench import Workbench


class Clock:
    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


# ── buckets and slots ───────────────────────────────────────────────────────


def test_a_bucket_grants_its_burst_and_then_its_rate() -> None:
    clock = Clock()
    buckets = Buckets(per_second=2, burst=5, now=clock)
    assert [buckets.take("a").wait_seconds for _ in range(5)] == [0] * 5
    assert buckets.take("a").wait_seconds == pytest.approx(0.5)
    assert buckets.take("b").wait_seconds == 0, "another caller's bucket is another's"
    clock.seconds += 0.5
    assert buckets.take("a").wait_seconds == 0
    assert buckets.take("a").wait_seconds > 0
    clock.seconds += 3600
    full = buckets.look("a")
    assert (full.left, full.full_in_seconds) == (5, 0)


@hypothesis_settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(0, 3), max_size=80), st.floats(0.1, 50), st.integers(1, 20))
def test_a_bucket_never_grants_more_than_its_burst_and_what_flowed_in(
    pauses: list[float], rate: float, burst: int
) -> None:
    clock = Clock()
    buckets = Buckets(per_second=rate, burst=burst, now=clock)
    granted = 0
    for pause in pauses:
        clock.seconds += pause
        granted += buckets.take("a").wait_seconds == 0
    assert granted <= burst + sum(pauses) * rate + 1e-6


def test_who_waits_as_long_as_told_is_granted() -> None:
    clock = Clock()
    buckets = Buckets(per_second=0.3, burst=1, now=clock)
    for _ in range(20):
        wait = buckets.take("a").wait_seconds
        if wait:
            clock.seconds += wait + 1e-9
            assert buckets.take("a").wait_seconds == 0


def test_a_million_callers_take_no_more_memory_than_the_limit() -> None:
    buckets = Buckets(per_second=1, burst=1, most=500)
    for number in range(20_000):
        buckets.take(f"caller {number}")
    assert len(buckets) == 500
    assert buckets.take("caller 19999").wait_seconds > 0, "whoever asked last is still known"


def test_slots_are_given_back_whatever_happens() -> None:
    slots = Slots(2)
    with slots.one("a", "things", "too_many"), slots.one("a", "things", "too_many"):
        with pytest.raises(TooMany, match="2 things"), slots.one("a", "things", "too_many"):
            pass
        with slots.one("b", "things", "too_many"):
            assert len(slots) == 2
    with pytest.raises(KeyError), slots.one("a", "things", "too_many"):
        raise KeyError
    assert len(slots) == 0


# ── addresses ───────────────────────────────────────────────────────────────


def asked_from(hops: int, client: str | None, *forwarded: str) -> str:
    app = FastAPI()
    app.state.rates = rates(Settings(_env_file=None, proxy_hops=hops))
    headers = [(b"x-forwarded-for", value.encode()) for value in forwarded]
    scope: dict[str, Any] = {"type": "http", "app": app, "headers": headers}
    scope["client"] = None if client is None else (client, 5)
    return caller_address(Request(scope))


def test_what_a_caller_says_of_its_address_is_believed_only_behind_proxies() -> None:
    assert asked_from(0, "203.0.113.7", "198.51.100.1") == "203.0.113.7"
    assert asked_from(1, "10.0.0.2", "198.51.100.1, 203.0.113.7") == "203.0.113.7"
    assert asked_from(1, "10.0.0.2", "198.51.100.1", "203.0.113.7") == "203.0.113.7"
    assert asked_from(2, "10.0.0.2", "1.1.1.1, 203.0.113.7, 10.0.0.9") == "203.0.113.7"
    assert asked_from(2, "10.0.0.2", "203.0.113.7") == "10.0.0.2", "too few: it did not come through the proxies"
    assert asked_from(1, "10.0.0.2", "not an address") == "10.0.0.2"
    assert asked_from(1, "10.0.0.2") == "10.0.0.2"
    assert asked_from(0, None) == "unknown"


def test_one_customers_many_addresses_are_one_neighbourhood() -> None:
    assert neighbourhood("2001:db8:1:2::1") == neighbourhood("2001:db8:1:2:ffff::9")
    assert neighbourhood("2001:db8:1:2::1") != neighbourhood("2001:db8:1:3::1")
    assert neighbourhood("203.0.113.7") != neighbourhood("203.0.113.8")
    assert neighbourhood("::ffff:203.0.113.7") == neighbourhood("203.0.113.7")
    assert neighbourhood("testclient") == "testclient"


# ── over HTTP ───────────────────────────────────────────────────────────────


@contextmanager
def limited(settings: Settings, bench: Workbench, project: Project, **changes: Any) -> Iterator[TestClient]:
    changed = settings.model_copy(update=changes)
    with TestClient(create_app(changed, bench), headers=project.headers) as client:
        yield client


def test_a_key_that_asks_too_much_answers_429_and_says_when_to_come_back(
    settings: Settings, bench: Workbench, project: Project, second_project: Project
) -> None:
    with limited(settings, bench, project, key_requests_per_second=0.1) as client:
        first = client.get("/v1/jobs")
        assert first.status_code == 200
        assert first.headers["ratelimit-policy"] == '"key";q=1;w=10'
        left = re.fullmatch(r'"key";r=(\d+);t=(\d+)', first.headers["ratelimit"])
        assert left is not None
        assert (int(left[1]), int(left[2])) == (0, 10)
        over = client.get("/v1/jobs")
        assert over.status_code == 429
        assert over.json()["code"] == "rate_limited"
        assert over.headers["content-type"] == "application/problem+json"
        assert 1 <= int(over.headers["retry-after"]) <= 10
        assert '"key";r=0;' in over.headers["ratelimit"]
        assert client.get("/v1/jobs", headers=second_project.headers).status_code == 200, "another key is free"
        assert client.get("/healthz").status_code == 200
        assert "ratelimit" not in client.get("/healthz").headers


def test_a_request_with_an_idempotency_key_is_counted_once(
    settings: Settings, bench: Workbench, project: Project
) -> None:
    with limited(settings, bench, project, key_requests_per_second=0.5) as client:
        headers = {"Idempotency-Key": "one"}
        answer = client.post("/v1/jobs", json={}, headers=headers)
        assert answer.status_code == 422, answer.text


def test_by_default_no_caller_that_waits_for_its_answers_is_ever_refused(client: TestClient) -> None:
    for _ in range(200):
        assert client.get("/v1/projects").status_code == 200


def test_guessing_keys_is_stopped_and_locks_out_nobody_whose_key_was_good(
    settings: Settings, bench: Workbench, project: Project, second_project: Project
) -> None:
    with limited(settings, bench, project, wrong_keys_per_minute=5) as client:
        assert client.get("/v1/jobs").status_code == 200
        guesses = [client.get("/v1/jobs", headers=_guess()).status_code for _ in range(9)]
        assert guesses == [401] * 5 + [429] * 4
        refused = client.get("/v1/jobs", headers=_guess())
        assert refused.json()["code"] == "too_many_wrong_keys"
        assert int(refused.headers["retry-after"]) >= 1
        assert client.get("/v1/jobs").status_code == 200, "a key that was good before goes on"
        assert client.get("/v1/jobs", headers=second_project.headers).status_code == 429, "an unknown one waits"
        assert client.get("/v1/jobs", headers={"Authorization": ""}).status_code == 401, "no key is no guess"


def _guess() -> dict[str, str]:
    return {"Authorization": f"Bearer {new_secret().secret}"}


def test_a_guess_costs_the_database_nothing_once_they_are_too_many(
    settings: Settings, bench: Workbench, project: Project, postgres: Postgres
) -> None:
    with limited(settings, bench, project, wrong_keys_per_minute=1) as client:
        assert client.get("/v1/jobs", headers=_guess()).status_code == 401
        assert settings.database_url is not None
        postgres.forbid(settings.database_url.get_secret_value())
        assert client.get("/v1/jobs", headers=_guess()).status_code == 429, "without a database, too"


def test_streams_of_one_key_are_counted_and_given_back(
    settings: Settings, bench: Workbench, project: Project, second_project: Project
) -> None:
    app = create_app(settings.model_copy(update={"streams_per_key_max": 2}), bench)
    with serve(app) as url:
        stream = {"Accept": "text/event-stream"}
        with httpx2.Client(base_url=url, headers=project.headers, timeout=5) as client:
            for _ in range(3):  # as often as one likes, but only two at once
                with (
                    client.stream("GET", "/v1/events", headers=stream) as first,
                    client.stream("GET", "/v1/events", headers=stream) as second,
                ):
                    bytes_of = [first.iter_raw(), second.iter_raw()]  # kept: a reader that is dropped hangs up
                    assert all(next(each) for each in bytes_of)
                    third = client.get("/v1/events", headers=stream)
                    assert third.status_code == 429
                    assert third.json()["code"] == "too_many_streams"
                    assert third.headers["retry-after"]
                    others = stream | second_project.headers
                    with client.stream("GET", "/v1/events", headers=others) as of_other:
                        assert of_other.status_code == 200
                _until_free(app)


def _until_free(app: FastAPI) -> None:
    """The server notices that a stream's reader has gone with its next look at the log."""
    until(lambda: None if len(app.state.rates.streams) else True)


def test_costly_requests_of_one_project_are_counted_and_given_back(
    settings: Settings, bench: Workbench, project: Project, second_project: Project
) -> None:
    app = create_app(settings.model_copy(update={"costly_requests_per_project_max": 1}), bench)
    with serve(app) as url, httpx2.Client(base_url=url, headers=project.headers, timeout=30) as client:
        client.post("/v1/datasets", json={"name": "d"}).raise_for_status()
        began, end = threading.Event(), threading.Event()

        def slowly() -> Iterator[bytes]:
            yield b"{"
            began.set()
            end.wait(20)
            yield b"}"

        answers: list[int] = []
        upload = threading.Thread(
            target=lambda: answers.append(client.put("/v1/datasets/d/content", content=slowly()).status_code)
        )
        upload.start()
        assert began.wait(10)
        refused = _asked_until(client, lambda answer: answer.status_code == 429)
        assert refused.json()["code"] == "too_many_at_once"
        assert client.get("/v1/datasets").status_code == 200, "what costs little goes on"
        others = client.put("/v1/datasets/d/content", content=b"{}", headers=second_project.headers)
        assert others.status_code == 404, "another project's are its own"
        end.set()
        upload.join(20)
        assert answers[0] in {200, 202}
        assert client.put("/v1/datasets/d/content", content=b"{}").status_code in {200, 202}
        assert len(app.state.rates.costly) == 0


def _asked_until(client: httpx2.Client, fits: Any) -> httpx2.Response:
    """The upload's headers may still be on their way."""
    for _ in range(200):
        answer = client.put("/v1/datasets/d/content", content=b"{}")
        if fits(answer):
            return answer
    raise AssertionError("it was never refused")


def test_a_project_may_have_so_many_uploads_open(settings: Settings, bench: Workbench, project: Project) -> None:
    tight = replace(bench, policy=replace(bench.policy, uploads_per_project_max=2))
    with limited(settings, tight, project) as client:
        client.post("/v1/datasets", json={"name": "d"})
        open_ones = [client.post("/v1/datasets/d/uploads", json={"bytes": 5}).json()["id"] for _ in range(2)]
        over = client.post("/v1/datasets/d/uploads", json={"bytes": 5})
        assert over.status_code == 409
        assert over.json()["code"] == "too_many_uploads"
        assert client.delete(f"/v1/datasets/d/uploads/{open_ones[0]}").status_code == 204
        assert client.post("/v1/datasets/d/uploads", json={"bytes": 5}).status_code == 201
