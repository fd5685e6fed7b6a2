"""Every way in which a request can fail answers one shape."""

from collections.abc import Iterator
from typing import Annotated, Any

import pytest
from fastapi import APIRouter, FastAPI, Query
from pydantic import Field
from sqlalchemy import text
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.testclient import TestClient

from app.azure.port import AzureError, Busy, NotThere, OutcomeUnknown, Refused, Throttled, Unauthorised, Unavailable
from app.http.bench import Bench
from app.kit.errors import Conflict, FieldError, Forbidden, IllegalMove, Invalid, NotFound, Stale, TooLarge, Unready
from app.kit.wire import Label, Name, RequestModel, ShortText
from app.main import ROUTERS, create_app

router = APIRouter(prefix="/t")

_AZURE = {"code": "azure_word", "hint": "Do this.", "http_status": 400, "remote": {"error": {"code": "theirs"}}}
_RAISED: dict[str, Exception] = {
    "invalid": Invalid("No.", errors=[FieldError(pointer="/a/0", code="bad_a", detail="Not an a.")], hint="Do it."),
    "not-found": NotFound("No such job.", code="job_not_found"),
    "conflict": Conflict("Not now."),
    "illegal-move": IllegalMove("job", "succeeded", "running"),
    "forbidden": Forbidden("Not you."),
    "too-large": TooLarge("Too much."),
    "stale": Stale("Changed."),
    "unready": Unready("Away.", retry_after_seconds=7),
    "azure-refused": Refused("Azure says no.", **_AZURE),
    "azure-unauthorised": Unauthorised("Azure does not know us.", **_AZURE),
    "azure-not-there": NotThere("Azure has none.", **_AZURE),
    "azure-throttled": Throttled("Slow down.", retry_after_seconds=12.4, **_AZURE),
    "azure-busy": Busy("Busy.", **_AZURE),
    "azure-unavailable": Unavailable("Away.", **_AZURE),
    "azure-unknown": OutcomeUnknown("Lost.", **_AZURE),
    "database": OperationalError("SELECT secret", {}, Exception("connection refused")),
    "pool": PoolTimeout("QueuePool limit"),
    "anything": RuntimeError("the password is hunter2"),
}


class _Line(RequestModel):
    count: int = Field(gt=0)


class _Body(RequestModel):
    name: Name
    label: Label = "x"
    note: ShortText = ""
    lines: list[_Line] = Field(default_factory=list)
    extra: dict[str, Any] = Field(default_factory=dict)


@router.get("/raise/{what}")
def _raise(what: str) -> None:
    raise _RAISED[what]


@router.post("/body")
def _body(body: _Body) -> dict[str, str]:
    return {"name": body.name}


@router.get("/number")
def _number(bench: Bench, n: Annotated[int, Query(ge=1)]) -> dict[str, int]:
    with bench.read() as session:
        return {"n": session.scalar(text("SELECT CAST(:n AS bigint)"), {"n": n}) or 0}


@pytest.fixture
def web(settings, bench) -> Iterator[TestClient]:
    app: FastAPI = create_app(settings, bench, routers=(*ROUTERS, router))
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


def _problem(response: Any, status: int, code: str) -> dict[str, Any]:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = response.json()
    assert body["status"] == status
    assert body["code"] == code
    assert body["request_id"] == response.headers["x-request-id"]
    assert body["type"].startswith("/docs/errors#")
    assert body["title"]
    assert body["detail"]
    assert body["instance"] == response.request.url.path
    assert response.headers["x-content-type-options"] == "nosniff"
    return body


@pytest.mark.parametrize(
    ("what", "status", "code"),
    [
        ("invalid", 422, "invalid_request"),
        ("not-found", 404, "job_not_found"),
        ("conflict", 409, "conflict"),
        ("illegal-move", 409, "illegal_state"),
        ("forbidden", 403, "forbidden"),
        ("too-large", 413, "content_too_large"),
        ("stale", 412, "precondition_failed"),
        ("unready", 503, "unavailable"),
        ("azure-refused", 502, "azure_word"),
        ("azure-unauthorised", 502, "azure_word"),
        ("azure-not-there", 502, "azure_word"),
        ("azure-throttled", 429, "azure_word"),
        ("azure-busy", 503, "azure_word"),
        ("azure-unavailable", 503, "azure_word"),
        ("azure-unknown", 502, "azure_word"),
        ("database", 503, "database_unavailable"),
        ("pool", 503, "database_unavailable"),
        ("anything", 500, "internal_error"),
    ],
)
def test_every_error_of_the_house_has_its_status_and_its_code(web, what, status, code):
    response = web.get(f"/t/raise/{what}")
    body = _problem(response, status, code)
    if status in {429, 503}:
        assert int(response.headers["retry-after"]) >= 1
    error = _RAISED[what]
    if isinstance(error, AzureError):
        assert body["remote"] == {"error": {"code": "theirs"}}
        assert body["hint"] == "Do this."
    assert "hunter2" not in response.text
    assert "Traceback" not in response.text
    assert "SELECT secret" not in response.text


def test_a_field_error_says_where_and_a_hint_says_what_to_do(web):
    body = _problem(web.get("/t/raise/invalid"), 422, "invalid_request")
    assert body["errors"] == [{"pointer": "/a/0", "code": "bad_a", "detail": "Not an a."}]
    assert body["hint"] == "Do it."


def test_how_long_azure_asked_to_wait_is_passed_on(web):
    assert web.get("/t/raise/azure-throttled").headers["retry-after"] == "12"
    assert web.get("/t/raise/unready").headers["retry-after"] == "7"


def test_an_unknown_path_and_a_wrong_method_are_problems_too(web):
    _problem(web.get("/nowhere"), 404, "not_found")
    wrong = web.delete("/v1/events")
    _problem(wrong, 405, "method_not_allowed")
    assert wrong.headers["allow"] == "GET"


def test_a_wrong_method_is_told_every_right_one(web):
    assert web.put("/v1/projects").headers["allow"] == "GET, POST"
    assert web.put("/v1/projects/x").headers["allow"] == "DELETE, GET, PATCH"
    assert web.post("/healthz").headers["allow"] == "GET"
    assert web.post("/docs").headers["allow"] == "GET"


def test_each_wrong_member_is_named_by_a_json_pointer(web):
    body = {"name": "-", "lines": [{"count": 1}, {"count": 0, "odd~/one": 1}], "unknown": 1}
    problem = _problem(web.post("/t/body", json=body), 422, "invalid_request")
    where = {error["pointer"]: error["code"] for error in problem["errors"]}
    assert where == {
        "/name": "string_pattern_mismatch",
        "/lines/1/count": "greater_than",
        "/lines/1/odd~0~1one": "extra_forbidden",
        "/unknown": "extra_forbidden",
    }


def test_a_wrong_query_parameter_is_named(web):
    problem = _problem(web.get("/t/number?n=0"), 422, "invalid_request")
    assert problem["errors"][0]["parameter"] == "n"


@pytest.mark.parametrize("content", [b"{", b"", b'{"name": "a"', b"\xff\xfe", b"[1,]"])
def test_what_is_no_json_cannot_be_read(web, content):
    response = web.post("/t/body", content=content, headers={"Content-Type": "application/json"})
    assert response.status_code in {400, 422}
    assert response.headers["content-type"] == "application/problem+json"


def test_json_without_its_content_type_is_refused(web):
    response = web.post("/t/body", content=b'{"name": "a"}')
    assert response.status_code == 422


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        (b'{"name": "a", "note": "x\\u0000y"}', "/note"),
        (b'{"name": "a", "note": "\\ud800"}', "/note"),
        (b'{"name": "a", "extra": {"k": ["fine", {"b/c": "\\u0000"}]}}', "/extra/k/1/b~1c"),
        (b'{"name": "a", "extra": {"k\\u0000": 1}}', "/extra"),
    ],
)
def test_text_that_cannot_be_stored_is_refused_where_it_stands(web, body, pointer):
    response = web.post("/t/body", content=body, headers={"Content-Type": "application/json"})
    problem = _problem(response, 422, "invalid_request")
    assert problem["errors"][0] == {
        "pointer": pointer,
        "code": "unstorable_text",
        "detail": problem["errors"][0]["detail"],
    }


@pytest.mark.parametrize("number", [b"NaN", b"-Infinity", b"1e999"])
def test_a_number_that_is_none_is_refused(web, number):
    body = b'{"name": "a", "extra": {"n": ' + number + b"}}"
    response = web.post("/t/body", content=body, headers={"Content-Type": "application/json"})
    assert _problem(response, 422, "invalid_request")["errors"][0]["pointer"] == "/extra/n"


def test_an_integer_of_ten_thousand_digits_is_no_crash(web):
    body = b'{"name": "a", "extra": {"n": ' + b"9" * 10_000 + b"}}"
    response = web.post("/t/body", content=body, headers={"Content-Type": "application/json"})
    assert response.status_code in {400, 422}


def test_a_body_nested_beyond_reason_is_refused(web):
    deep = b'{"name": "a", "extra": {"a":' + b"[" * 300 + b"]" * 300 + b"}}"
    _problem(
        web.post("/t/body", content=deep, headers={"Content-Type": "application/json"}), 422, "invalid_request"
    )


def test_a_body_nested_beyond_what_the_parser_takes_is_no_crash(web):
    deep = b'{"name": "a", "extra": {"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}}"
    response = web.post("/t/body", content=deep, headers={"Content-Type": "application/json"})
    assert response.status_code in {400, 422}
    assert response.headers["content-type"] == "application/problem+json"


def test_a_body_above_the_limit_is_a_problem_with_and_without_its_length(web, settings):
    big = b'{"name": "' + b"a" * settings.body_max_bytes + b'"}'
    headers = {"Content-Type": "application/json"}
    _problem(web.post("/t/body", content=big, headers=headers), 413, "content_too_large")
    pieces = iter([big[:1000], big[1000:]])
    _problem(web.post("/t/body", content=pieces, headers=headers), 413, "content_too_large")


def test_a_number_that_the_database_cannot_hold_is_the_callers_mistake(web):
    assert web.get("/t/number?n=9223372036854775807").json() == {"n": 9223372036854775807}
    response = web.get("/t/number?n=9223372036854775808")
    _problem(response, 422, "value_out_of_range")


@pytest.mark.parametrize("path", ["/v1/projects/a%00b", "/v1/projects?after=%00", "/%00"])
def test_a_nul_in_the_url_never_reaches_the_database(web, project, path):
    response = web.get(path, headers=project.headers)
    assert response.status_code == 400
    assert response.json()["code"] == "bad_request"


def test_the_page_of_errors_describes_every_type(web):
    page = web.get("/docs/errors").text
    for what in _RAISED:
        anchor = web.get(f"/t/raise/{what}").json()["type"].partition("#")[2]
        assert f'id="{anchor}"' in page
