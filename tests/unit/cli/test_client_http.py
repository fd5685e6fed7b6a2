"""The client against a scripted server: what it repeats, what it never repeats, what it makes of bad answers."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from app.client import ApiProblem, Client, Unreachable
from app.connections.schemas import ConnectionCreate
from app.costs.schemas import BudgetPut
from app.jobs.schemas import JobCreate

PLAN = {
    "object": "job.plan",
    "ok": True,
    "base_model": "m",
    "method": "supervised",
    "training_type": "Standard",
    "training": "dsv_1",
    "validation": None,
    "hyperparameters": {},
    "examples": 10,
    "tokens": 100,
    "checks": [],
    "estimate": None,
}
PROJECT = {
    "object": "project",
    "id": "prj_1",
    "name": "one",
    "paused": False,
    "created_at": "2026-11-20T10:00:00Z",
    "updated_at": "2026-11-20T10:00:00Z",
    "archived_at": None,
}
BUSY = {"code": "unavailable", "detail": "Come back.", "status": 503, "title": "Unavailable"}


@dataclass
class Answer:
    status: int
    body: Any
    headers: dict[str, str] = field(default_factory=dict)
    cut: bool = False
    """Break the connection instead of answering."""


@dataclass
class Script:
    """Answers in order, and what was asked."""

    answers: list[Answer]
    asked: list[dict[str, Any]] = field(default_factory=list)
    url: str = ""


@contextmanager
def serving(*answers: Answer) -> Iterator[Script]:
    script = Script(list(answers))

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            script.asked.append(
                {"method": self.command, "path": self.path, "headers": dict(self.headers), "body": body}
            )
            answer = script.answers.pop(0)
            if answer.cut:
                self.close_connection = True
                self.connection.close()
                return
            payload = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
            self.send_response(answer.status)
            for name, value in {"Content-Length": str(len(payload)), **answer.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(payload)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _serve  # noqa: N815  names that http.server asks for

        def log_message(self, *_arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    script.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield script
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def page(*items: dict[str, Any], has_more: bool = False) -> dict[str, Any]:
    ids = [item["id"] for item in items]
    first, last = (ids[0], ids[-1]) if ids else (None, None)
    return {"object": "list", "data": list(items), "first_id": first, "last_id": last, "has_more": has_more}


def wanted() -> JobCreate:
    return JobCreate(connection="c", model="m", training="t")


def test_a_read_is_repeated_after_the_time_that_the_service_asks_for() -> None:
    busy = Answer(503, BUSY, {"Retry-After": "0"})
    with serving(busy, busy, Answer(200, PROJECT)) as script, Client(script.url, "k") as client:
        assert client.projects.get("one").id == "prj_1"
    assert len(script.asked) == 3


def test_a_spending_post_is_repeated_under_the_same_idempotency_key() -> None:
    with (
        serving(Answer(0, b"", cut=True), Answer(503, BUSY, {"Retry-After": "0"}), Answer(200, PLAN)) as script,
        Client(script.url, "k") as client,
    ):
        client.jobs.plan(wanted())
    keys = {asked["headers"]["Idempotency-Key"] for asked in script.asked}
    assert len(script.asked) == 3
    assert len(keys) == 1


def test_two_deeds_have_two_idempotency_keys() -> None:
    with serving(Answer(200, PLAN), Answer(200, PLAN)) as script, Client(script.url, "k") as client:
        client.jobs.plan(wanted())
        client.jobs.plan(wanted())
    assert len({asked["headers"]["Idempotency-Key"] for asked in script.asked}) == 2


def test_a_post_without_a_key_is_never_sent_twice() -> None:
    with (
        serving(Answer(0, b"", cut=True), Answer(201, PROJECT)) as script,
        Client(script.url, "k") as client,
        pytest.raises(Unreachable),
    ):
        client.projects.create("one")
    assert len(script.asked) == 1


def test_a_wait_that_is_too_long_is_the_callers_to_wait_for() -> None:
    with (
        serving(Answer(429, BUSY, {"Retry-After": "300"})) as script,
        Client(script.url, "k") as client,
        pytest.raises(ApiProblem) as refused,
    ):
        client.projects.get("one")
    assert refused.value.retry_after_seconds == 300
    assert len(script.asked) == 1


def test_a_problem_keeps_everything_that_the_service_said() -> None:
    body = {
        "status": 422,
        "code": "plan_refused",
        "detail": "The plan has 1 error.",
        "hint": "Mend it.",
        "request_id": "req_1",
        "errors": [{"pointer": "/model", "code": "unknown-model", "detail": "no such model"}],
        "remote": {"code": "x"},
    }
    with (
        serving(Answer(422, body)) as script,
        Client(script.url, "k") as client,
        pytest.raises(ApiProblem) as refused,
    ):
        client.jobs.create(wanted())
    problem = refused.value
    assert (problem.status, problem.code, problem.hint) == (422, "plan_refused", "Mend it.")
    assert problem.errors[0].place == "/model"
    assert problem.remote == {"code": "x"}
    assert problem.request_id == "req_1"


@pytest.mark.parametrize("body", [b"<html>gateway</html>", b"", b"[]", b'{"error": "x"}'])
def test_an_error_page_of_something_else_is_not_taken_for_a_problem(body: bytes) -> None:
    with (
        serving(Answer(404, body)) as script,
        Client(script.url, "k") as client,
        pytest.raises(Unreachable, match="is this Kitae"),
    ):
        client.projects.get("one")


def test_a_good_answer_of_something_else_is_not_believed() -> None:
    with (
        serving(Answer(200, {"hello": "world"})) as script,
        Client(script.url, "k") as client,
        pytest.raises(Unreachable, match="not Kitae's"),
    ):
        client.projects.get("one")


def test_a_list_is_walked_to_its_end_behind_the_last_id() -> None:
    first, second = PROJECT, PROJECT | {"id": "prj_2"}
    with (
        serving(Answer(200, page(first, has_more=True)), Answer(200, page(second))) as script,
        Client(script.url, "k") as client,
    ):
        assert [project.id for project in client.projects.list()] == ["prj_1", "prj_2"]
    assert "after=prj_1" in script.asked[1]["path"]


def test_a_secret_reaches_the_service_and_what_was_not_set_does_not() -> None:
    new = ConnectionCreate(name="x", endpoint="https://x", auth="api_key", api_key=SecretStr("s3cret"))
    with (
        serving(Answer(409, BUSY | {"status": 409})) as script,
        Client(script.url, "k") as client,
        pytest.raises(ApiProblem),
    ):
        client.connections.create(new)
    assert json.loads(script.asked[0]["body"]) == {
        "name": "x",
        "endpoint": "https://x",
        "auth": "api_key",
        "api_key": "s3cret",
    }


def test_a_cap_that_is_taken_away_is_sent_as_null() -> None:
    with (
        serving(Answer(409, BUSY | {"status": 409})) as script,
        Client(script.url, "k") as client,
        pytest.raises(ApiProblem),
    ):
        client.costs.set_budget(BudgetPut(month_cap_usd=None))
    assert json.loads(script.asked[0]["body"]) == {"month_cap_usd": None}


def test_an_upload_tells_how_far_it_is_and_begins_anew_when_it_breaks(tmp_path: Path) -> None:
    file = tmp_path / "data.jsonl"
    file.write_bytes(b"x" * 600_000)
    told: list[tuple[int, int]] = []
    conflict = Answer(409, BUSY | {"status": 409})
    with (
        serving(Answer(0, b"", cut=True), conflict) as script,
        Client(script.url, "k") as client,
        pytest.raises(ApiProblem),
    ):
        client.datasets.upload("d", file, on_progress=lambda sent, total: told.append((sent, total)))
    assert [len(asked["body"]) for asked in script.asked] == [600_000, 600_000]
    assert told[-1] == (600_000, 600_000)
    assert "filename=data.jsonl" in script.asked[0]["path"]


def test_a_name_with_a_slash_stays_one_segment_of_the_path() -> None:
    with serving(Answer(200, PROJECT)) as script, Client(script.url, "k") as client:
        client.projects.get("../keys?x")
    assert script.asked[0]["path"] == "/v1/projects/..%2Fkeys%3Fx"


def test_an_event_stream_is_taken_up_again_behind_the_last_event() -> None:
    def event(number: int) -> bytes:
        body = {
            "id": f"evt_{number}",
            "type": "x.y",
            "subject_id": "s",
            "data": {},
            "created_at": "2026-11-20T10:00:00Z",
        }
        return f"id: evt_{number}\nevent: x.y\ndata: {json.dumps(body)}\n\n".encode()

    stream = {"Content-Type": "text/event-stream"}
    with (
        serving(Answer(200, b": connected\n\n" + event(1), stream), Answer(200, event(2), stream)) as script,
        Client(script.url, "k") as client,
    ):
        follow = client.events.follow()
        assert [next(follow).id, next(follow).id] == ["evt_1", "evt_2"]
    assert script.asked[1]["headers"]["Last-Event-ID"] == "evt_1"
