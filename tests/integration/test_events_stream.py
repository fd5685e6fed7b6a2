"""The event log over HTTP: pages, and a live stream that loses nothing and shows nothing twice."""

import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import orjson
import pytest
from fastapi import APIRouter, Request, Response
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from processes import free_port, running, serve
from sqlalchemy.orm import Session

from app.events.endpoints import _look, _Tail, _Wanted, stream
from app.events.log import START, append
from app.http.access import ReadEvents
from app.http.bench import Bench
from app.kit.ids import new_id
from app.main import ROUTERS, create_app
from app.workbench import NewEvent, Workbench

ROOT = Path(__file__).resolve().parents[2]
JOB = "job_01m7zckjh2efdacchjmxmqy9rx"


def _write(
    bench: Workbench, project_id: str, *numbers: int, event_type: str = "t.done", subject: str = JOB
) -> None:
    with bench.begin() as work:
        for number in numbers:
            work.announce(event_type, project_id=project_id, subject_id=subject, n=number)


def _numbers(page: Any) -> list[int]:
    return [event["data"]["n"] for event in page.json()["data"]]


class _Reader:
    """Reads a stream of Server-Sent Events line by line."""

    def __init__(self, response: httpx2.Response) -> None:
        self._lines = response.iter_lines()

    def blocks(self) -> Iterator[dict[str, str]]:
        """One dictionary of fields for each block; a comment is the field ''."""
        block: dict[str, str] = {}
        for line in self._lines:
            if line:
                name, _, value = line.partition(": ") if not line.startswith(":") else ("", "", line[2:])
                block[name] = value
            elif block:
                yield block
                block = {}

    def events(self, count: int) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        for block in self.blocks():
            if "data" in block:
                event = orjson.loads(block["data"])
                assert block["id"] == event["id"]
                assert block["event"] == event["type"]
                found.append(event)
            if len(found) == count:
                break
        return found

    def numbers(self, count: int) -> list[int]:
        return [event["data"]["n"] for event in self.events(count)]


@contextmanager
def _open(url: str, headers: dict[str, str], path: str = "/v1/events", **more: str) -> Iterator[_Reader]:
    accept = {"Accept": "text/event-stream", **headers, **more}
    with httpx2.stream("GET", url + path, headers=accept, timeout=20) as response:
        assert response.status_code == 200, response.read()
        assert response.headers["content-type"].startswith("text/event-stream")
        assert response.headers["cache-control"] == "no-store"
        reader = _Reader(response)
        assert "retry" in next(reader.blocks())
        yield reader


def test_the_log_is_paged_and_filtered(client, bench, project):
    for number in range(5):
        _write(bench, project.id, number)
    _write(bench, project.id, 9, event_type="t.other", subject="job_2")
    assert _numbers(client.get("/v1/events?limit=3&type=t.done")) == [4, 3, 2]
    assert _numbers(client.get("/v1/events?limit=3&order=asc&type=t.done")) == [0, 1, 2]
    assert _numbers(client.get("/v1/events?subject=job_2")) == [9]
    page = client.get("/v1/events?limit=2&order=asc&type=t.done")
    assert _numbers(client.get(page.links["next"]["url"])) == [2, 3]
    cursor = client.get("/v1/events?limit=1&type=t.done").json()["last_id"]
    assert _numbers(client.get(f"/v1/events?limit=2&order=asc&type=t.done&before={cursor}")) == [2, 3]


def test_events_of_one_transaction_keep_their_order(client, bench, project):
    _write(bench, project.id, *range(10))
    assert _numbers(client.get("/v1/events?order=asc&type=t.done")) == list(range(10))


def test_another_projects_events_and_cursors_do_not_exist(client, stranger, bench, project, second_project):
    _write(bench, second_project.id, 1)
    theirs = stranger.get("/v1/events?type=t.done").json()["data"][0]["id"]
    assert client.get("/v1/events?type=t.done").json()["data"] == []
    assert client.get(f"/v1/events?subject={JOB}").json()["data"] == []
    assert client.get(f"/v1/events?after={theirs}").status_code == 404
    live = client.get("/v1/events", headers={"Accept": "text/event-stream", "Last-Event-ID": theirs})
    assert live.status_code == 404


@pytest.mark.parametrize("cursor", ["x", "evt_", "0", JOB, "evt_01m7zckjh2efdacchjmxmqy9r'"])
def test_a_last_event_id_that_is_none_is_refused_before_the_stream_begins(client, cursor):
    response = client.get("/v1/events", headers={"Accept": "text/event-stream", "Last-Event-ID": cursor})
    assert response.status_code == 422
    assert response.json()["errors"][0]["header"] == "Last-Event-ID"


def test_a_stream_brings_what_happens_from_now_on(live_url, bench, project, second_project):
    _write(bench, project.id, 1)
    with _open(live_url, project.headers) as reader:
        _write(bench, second_project.id, 2)
        _write(bench, project.id, 3)
        _write(bench, project.id, 4)
        assert reader.numbers(2) == [3, 4]


def test_a_stream_of_one_thing_and_one_type_brings_only_that(live_url, bench, project):
    with _open(live_url, project.headers, f"/v1/events?type=t.done&subject={JOB}") as reader:
        _write(bench, project.id, 1, subject="job_2")
        _write(bench, project.id, 2, event_type="t.other")
        _write(bench, project.id, 3)
        assert reader.numbers(1) == [3]


def test_last_event_id_catches_up_with_everything_missed(live_url, bench, project):
    with _open(live_url, project.headers) as reader:
        _write(bench, project.id, 0)
        (seen,) = reader.events(1)
    _write(bench, project.id, *range(1, 450))
    with _open(live_url, project.headers, **{"Last-Event-ID": seen["id"]}) as reader:
        assert reader.numbers(449) == list(range(1, 450))
        _write(bench, project.id, 450)
        assert reader.numbers(1) == [450]


def test_a_transaction_that_commits_late_is_not_skipped(live_url, bench, project):
    def event(number: int) -> list[NewEvent]:
        return [NewEvent("t.done", project.id, JOB, {"n": number})]

    with _open(live_url, project.headers) as reader, bench.sessions() as slow, bench.sessions() as quick:
        append(slow, event(1))
        append(quick, event(2))
        quick.commit()
        _write(bench, project.id, 3)
        slow.commit()
        assert reader.numbers(3) == [1, 2, 3]


def test_writers_at_once_reach_an_open_stream_whole_and_without_doubles(live_url, bench, project):
    writers, each = 6, 25

    def write(writer: int) -> None:
        dice = random.Random(writer)
        for number in range(each):
            with bench.begin() as work:
                work.announce("t.done", project_id=project.id, subject_id=JOB, n=writer * 1000 + number)
                work.session.flush()
                work.session.connection().exec_driver_sql(f"SELECT pg_sleep({dice.random() * 0.02})")

    with _open(live_url, project.headers) as reader:
        threads = [threading.Thread(target=write, args=(writer,)) for writer in range(writers)]
        for thread in threads:
            thread.start()
        got = reader.numbers(writers * each)
        for thread in threads:
            thread.join()
    assert len(set(got)) == len(got)
    for writer in range(writers):
        mine = [number for number in got if number // 1000 == writer]
        assert mine == [writer * 1000 + number for number in range(each)]


@given(data=st.data())
@hypothesis_settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_the_order_of_commits_a_reader_sees_each_event_once(bench, data):
    """Each writer opens, writes and commits at times of its own; the reader looks after every step."""
    project_id = new_id("prj")
    wanted = _Wanted(project_id, None, None)
    steps = data.draw(st.permutations([writer for writer in range(5) for _ in range(3)]), label="steps")
    rolled_back = data.draw(st.sets(st.integers(0, 4), max_size=2), label="rolled back")
    done = dict.fromkeys(range(5), 0)
    sessions: dict[int, Session] = {}
    place, seen = START, []

    def look() -> None:
        nonlocal place
        more = True
        while more:
            events, place, more = _look(bench, _Tail(), place, wanted)
            seen.extend(event.data["n"] for event in events)

    try:
        for writer in steps:
            done[writer] += 1
            if done[writer] == 1:
                sessions[writer] = bench.sessions()
                sessions[writer].connection()
            elif done[writer] == 2:
                append(sessions[writer], [NewEvent("t.done", project_id, JOB, {"n": writer})])
            elif writer in rolled_back:
                sessions[writer].rollback()
            else:
                sessions[writer].commit()
            look()
    finally:
        for session in sessions.values():
            session.close()
    look()
    assert sorted(seen) == sorted(set(range(5)) - rolled_back)


def test_a_silent_stream_pings_and_ends_when_its_key_is_revoked(settings, bench, project):
    router = APIRouter()

    @router.get("/t/stream")
    async def watched(request: Request, bench: Bench, caller: ReadEvents) -> Response:
        return await stream(request, bench, project_id=caller.project_id, ping_seconds=0.1)

    app = create_app(settings, bench, routers=(*ROUTERS, router))
    with serve(app) as url, httpx2.Client(base_url=url, headers=project.headers) as web:
        key = web.post("/v1/api-keys", json={"name": "k", "scopes": ["events:read"]}).json()
        with _open(url, {"api-key": key["secret"]}, "/t/stream") as reader:
            assert next(reader.blocks()) == {"": "ping"}
            web.delete(f"/v1/api-keys/{key['id']}")
            blocks = list(reader.blocks())  # ends only if the server ends the stream
        assert "ended" in blocks[-1][""]


def test_a_stream_that_loses_the_database_ends_so_that_its_reader_comes_again(
    live_url, settings, bench, postgres, project
):
    with _open(live_url, project.headers) as reader:
        _write(bench, project.id, 1)
        assert reader.numbers(1) == [1]
        postgres.forbid(settings.database_url.get_secret_value())
        assert "Last-Event-ID" in list(reader.blocks())[-1][""]


def test_an_idle_stream_holds_no_database_connection(live_url, bench, project):
    with _open(live_url, project.headers) as reader:
        _write(bench, project.id, 1)
        reader.numbers(1)
        deadline = time.monotonic() + 5
        while (busy := bench.sessions.kw["bind"].pool.checkedout()) and time.monotonic() < deadline:
            pass
        assert busy == 0


@pytest.mark.e2e
def test_an_open_stream_does_not_keep_a_stopped_server_up(settings, bench, project):
    program = (
        "import sys\n"
        "from app.bootstrap import open_workbench\n"
        "from app.http.server import make_server\n"
        "from app.main import create_app\n"
        "from app.settings import Settings\n"
        "settings = Settings()\n"
        "with open_workbench(settings) as bench:\n"
        "    make_server(create_app(settings, bench), host='127.0.0.1', port=int(sys.argv[1])).run()\n"
    )
    port = free_port()
    environment = {
        "PATH": "/usr/bin:/bin",
        "PYTHONPATH": str(ROOT),
        "KITAE_DATABASE_URL": settings.database_url.get_secret_value(),
        "KITAE_DATA_DIR": str(settings.data_dir),
    }
    starting = subprocess.Popen([sys.executable, "-c", program, str(port)], env=environment, cwd=ROOT)
    with running(starting) as server:
        url = f"http://127.0.0.1:{port}"
        _wait_until_it_answers(url, server)
        with _open(url, project.headers) as reader:
            _write(bench, project.id, 1)
            assert reader.numbers(1) == [1]
            told = time.monotonic()
            server.send_signal(signal.SIGTERM)
            last = list(reader.blocks())[-1]
            server.wait(10)
        assert time.monotonic() - told < 2
        assert "Last-Event-ID" in last[""]
        assert server.returncode in {0, -signal.SIGTERM}


def _wait_until_it_answers(url: str, server: "subprocess.Popen[Any]") -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        assert server.poll() is None, "the server ended while it started"
        try:
            if httpx2.get(f"{url}/healthz", timeout=5).status_code == 200:
                return
        except httpx2.TransportError:
            continue
    raise AssertionError("the server did not start")
