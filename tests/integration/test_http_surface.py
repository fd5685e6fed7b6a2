"""What holds for every route there is, read from the OpenAPI document itself."""

import io
import logging
import re
import socket
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import httpx2
import orjson
import pytest
from fastapi import APIRouter, Request
from openapi_spec_validator import OpenAPIV31SpecValidator
from sqlalchemy import text
from starlette.testclient import TestClient

from app.access.secrets import new_secret
from app.http.docs import STATIC
from app.kit.logging import set_up_logging
from app.kit.measures import Measure
from app.main import ROUTERS, create_app
from app.settings import Settings

_OPEN = {"/healthz", "/readyz", "/metrics"}
"""For machines that watch; they tell nothing of anybody's data."""
_SIGNED = {"/hooks/{trigger}"}
"""No key: the message carries a signature."""
_METHODS = ("get", "put", "post", "patch", "delete")


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    """The document needs neither a database nor settings."""
    built: dict[str, Any] = create_app(Settings(_env_file=None), _NoBench()).openapi()  # type: ignore[arg-type]
    return built


class _NoBench:
    """Enough of a workbench for an app that answers no request."""

    sessions = None


def _operations(document: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    return [
        (path, method, item[method])
        for path, item in document["paths"].items()
        for method in _METHODS
        if method in item
    ]


def test_the_document_is_valid_openapi_3_1(document):
    assert document["openapi"].startswith("3.1")
    errors = list(OpenAPIV31SpecValidator(document).iter_errors())
    assert errors == []


def test_every_operation_has_an_id_a_summary_and_a_tag(document):
    ids = [operation["operationId"] for _, _, operation in _operations(document)]
    assert len(set(ids)) == len(ids)
    for path, method, operation in _operations(document):
        assert re.fullmatch(r"[a-z][A-Za-z0-9]+", operation["operationId"]), (method, path)
        assert operation.get("summary"), (method, path)
        assert operation.get("tags"), (method, path)


def test_every_error_is_documented_as_a_problem(document):
    for path, method, operation in _operations(document):
        answers = operation["responses"]
        wanted = {"400", "500"}
        if path not in _OPEN:
            wanted |= set() if path in _SIGNED else {"401", "403", "429", "503"}
            assert path in _SIGNED or operation["security"], (method, path)
        if "{" in path:
            wanted.add("404")
        if "requestBody" in operation:
            wanted |= {"413", "422"}
        assert wanted <= set(answers), (method, path, sorted(wanted - set(answers)))
        for status, answer in answers.items():
            if status[0] in "45" and path not in _OPEN:
                assert list(answer["content"]) == ["application/problem+json"], (method, path, status)
    assert "HTTPValidationError" not in document["components"]["schemas"]


def test_every_body_is_typed_and_has_an_example(document):
    def resolve(schema: dict[str, Any]) -> dict[str, Any]:
        return document["components"]["schemas"][schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema

    def has_example(media: dict[str, Any]) -> bool:
        schema = resolve(media["schema"])
        if "anyOf" in schema:
            return all(has_example({"schema": choice}) for choice in schema["anyOf"])
        items = schema.get("properties", {}).get("data", {}).get("items")
        return bool(
            media.get("example")
            or media.get("examples")
            or schema.get("examples")
            or (items and resolve(items).get("examples"))
        )

    bare = []
    for path, method, operation in _operations(document):
        bodies = [operation["requestBody"]] if "requestBody" in operation else []
        bodies += [answer for status, answer in operation["responses"].items() if status[0] == "2"]
        for body in bodies:
            for name, media in body.get("content", {}).items():
                assert media.get("schema"), (method, path, name)
                if name == "application/json" and not has_example(media):
                    bare.append((method, path, media["schema"]))
    assert bare == []


def test_lists_in_generated_clients_have_speaking_names(document):
    assert {"ProjectReadList", "ApiKeyReadList", "EventReadList"} <= set(document["components"]["schemas"])
    assert not [name for name in document["components"]["schemas"] if not re.fullmatch(r"[A-Za-z0-9]+", name)]


def test_no_route_but_the_watchers_opens_without_a_key(service, document):
    bare = TestClient(service)
    tried = 0
    for path, method, _ in _operations(document):
        url = re.sub(r"\{[^}]+\}", "x", path)
        for body in (None, {"any": "thing"}):
            response = bare.request(method, url, json=body)
            assert (response.status_code == 401) == (path not in _OPEN | _SIGNED), (
                method,
                path,
                response.status_code,
            )
        tried += 1
    assert tried == len(_operations(document)) >= 8


def test_a_key_without_scopes_of_use_is_refused_everywhere(client, service, document):
    """`events:read` opens the log and the project's own name, and nothing else."""
    secret = client.post("/v1/api-keys", json={"name": "k", "scopes": ["events:read"]}).json()["secret"]
    weak = TestClient(service, headers={"api-key": secret})
    allowed = {"listEvents", "listProjects", "getProject", "getHealth", "getReadiness", "getMetrics"}
    for path, method, operation in _operations(document):
        if operation["operationId"] in allowed or path in _SIGNED:
            continue
        response = weak.request(method, re.sub(r"\{[^}]+\}", "x", path), json={})
        assert response.status_code == 403, (method, path, response.status_code)


@pytest.mark.parametrize(
    "hostile",
    [
        "nobody",
        "1",
        "prj_01m7zckjh2efdacchjmxmqy9rx",
        "job_01m7zckjh2efdacchjmxmqy9rx",
        "..%2f..%2fetc%2fpasswd",
        "%27%20OR%201=1--",
        "a@99999999999999999999999999",
        "99999999999999999999999999",
        "%F0%9F%92%A9",
        "%ED%A0%80",
        "a" * 3000,
        "%0d%0aSet-Cookie:%20x=1",
        "=HYPERLINK(1)",
    ],
)
def test_an_id_that_is_nobodys_breaks_nothing(service, project, document, hostile):
    web = TestClient(service, headers=project.headers, raise_server_exceptions=False)
    for path, method, _ in _operations(document):
        if "{" not in path:
            continue
        url = re.sub(r"\{[^}]+\}", hostile, path)
        for body in ({}, None):
            response = web.request(method, url, json=body)
            assert 400 <= response.status_code < 500, (method, path, response.text)
            assert response.headers["content-type"] == "application/problem+json", (method, path)
            assert "set-cookie" not in response.headers


def test_the_served_document_is_the_built_one(service, document):
    served = TestClient(service).get("/openapi.json")
    assert served.status_code == 200
    assert served.json() == orjson.loads(orjson.dumps(document))


@pytest.mark.parametrize(
    "path", ["/healthz", "/nowhere", "/v1/projects", "/docs", "/static/docs.js", "/openapi.json"]
)
def test_every_answer_carries_the_headers_that_browsers_obey(service, path):
    headers = TestClient(service).get(path).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["x-request-id"].startswith("req_")
    assert "server" not in headers
    assert "access-control-allow-origin" not in headers


def test_a_crash_carries_them_too(settings, bench):
    router = APIRouter()

    @router.get("/t/crash")
    def crash(_request: Request) -> None:
        raise ZeroDivisionError

    app = create_app(settings, bench, routers=(*ROUTERS, router))
    response = TestClient(app, raise_server_exceptions=False).get("/t/crash", headers={"X-Request-Id": "mine-1"})
    assert response.status_code == 500
    assert response.headers["x-request-id"] == response.json()["request_id"] == "mine-1"
    assert response.headers["x-content-type-options"] == "nosniff"


def test_a_harmless_request_id_is_kept_and_any_other_replaced(client):
    assert client.get("/healthz", headers={"X-Request-Id": "abc-DEF_123"}).headers["x-request-id"] == "abc-DEF_123"
    for hostile in ("a b", "a\tb", "x" * 65, "é".encode(), "<script>", "", "a;b", "\x1b[31m"):
        answered = client.get("/healthz", headers={"X-Request-Id": hostile}).headers["x-request-id"]
        assert answered.startswith("req_")


@pytest.fixture
def log_lines() -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """What the service has written to its log since the last call, every line parsed as JSON."""
    written = io.StringIO()

    def lines() -> list[dict[str, Any]]:
        text = written.getvalue()
        written.seek(0)
        written.truncate()
        return [orjson.loads(line) for line in text.splitlines()]

    set_up_logging()
    (handler,) = logging.getLogger().handlers
    assert isinstance(handler, logging.StreamHandler)
    handler.setStream(written)
    yield lines
    logging.getLogger().handlers.remove(handler)


def test_each_request_leaves_one_line_that_says_whose_it_was(client, project, log_lines):
    trace, span = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
    log_lines()
    client.get("/v1/projects/first", headers={"X-Request-Id": "mine", "traceparent": f"00-{trace}-{span}-01"})
    (line,) = log_lines()
    assert line["event"] == "http.request"
    assert (line["method"], line["route"], line["status"]) == ("GET", "/v1/projects/{project}", 200)
    assert (line["request_id"], line["trace_id"], line["parent_span_id"]) == ("mine", trace, span)
    assert line["project_id"] == project.id
    client.get("/healthz")
    assert log_lines() == []
    client.get("/v1/projects/first", headers={"traceparent": "00-nonsense"})
    assert "trace_id" not in log_lines()[0]


def test_nothing_a_caller_sends_breaks_a_log_line_or_leaves_a_key_in_it(client, project, log_lines):
    log_lines()
    client.get("/v1/projects/a%0d%0a%7b%22event%22:1%7d%1b%5b31m")
    client.get(f"/v1/projects?key={project.secret}", headers={"User-Agent": f"x {project.secret}"})
    client.get(f"/v1/projects/{project.secret}")
    client.post("/v1/api-keys", json={"name": "k", "scopes": ["*"]})
    lines = log_lines()
    assert [line["event"] for line in lines] == ["http.request"] * 4
    assert project.secret not in str(lines)


def test_an_error_inside_is_logged_with_its_request(settings, bench, log_lines):
    router = APIRouter()

    @router.get("/t/crash")
    def crash() -> None:
        raise ZeroDivisionError("by hand")

    app = create_app(settings, bench, routers=(*ROUTERS, router))
    log_lines()
    TestClient(app, raise_server_exceptions=False).get("/t/crash", headers={"X-Request-Id": "mine"})
    lines = log_lines()
    assert {line["request_id"] for line in lines} == {"mine"}
    assert "ZeroDivisionError: by hand" in next(line for line in lines if line["level"] == "error")["exception"]


def test_hostile_headers_reach_no_code_that_trusts_them(live_url, project):
    hostile = {
        "traceparent": "00-" + "0" * 32 + "-" + "0" * 16 + "-01",
        "X-Forwarded-For": "1.2.3.4, <script>",
        "X-Forwarded-Host": "evil.example",
        "Host": "evil.example",
        "If-None-Match": '"' * 500,
        "Accept": "*/*;q=" + "9" * 400,
        "Idempotency-Key": "%00",
        "Last-Event-ID": "../../etc/passwd",
        "Range": "bytes=0-",
        "Content-Length": "0",
        **project.headers,
    }
    response = httpx2.get(f"{live_url}/v1/api-keys?limit=1", headers=hostile)
    assert response.status_code == 200
    assert "evil.example" not in response.text + str(response.headers)


def test_links_and_locations_do_not_follow_a_forged_host(client):
    client.post("/v1/api-keys", json={"name": "k", "scopes": ["jobs:read"]})
    link = client.get("/v1/api-keys?limit=1", headers={"Host": "evil.example"}).headers["link"]
    assert link.startswith("</v1/api-keys?")


def test_the_viewer_loads_nothing_from_elsewhere(service):
    web = TestClient(service)
    page = web.get("/docs")
    assert page.status_code == 200
    assert "script-src 'self';" in page.headers["content-security-policy"]
    loaded = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert all(url.startswith(("/", "data:")) for url in loaded)
    for url in loaded:
        if url.startswith("/static/"):
            assert web.get(url).status_code == 200
    assert "<script>" not in page.text
    assert (STATIC / "vendor" / "swagger-ui" / "LICENSE").exists()


def test_static_files_stay_inside_their_folder(service):
    for path in ("/static/../main.py", "/static/%2e%2e/%2e%2e/settings.py", "/static/..%2f..%2fsettings.py"):
        assert TestClient(service).get(path).status_code == 404


def test_a_list_that_has_not_changed_is_not_sent_again(client):
    first = client.get("/v1/projects")
    etag = first.headers["etag"]
    assert not etag.startswith("W/")
    assert first.headers["cache-control"] == "no-store"
    for known in (etag, f"W/{etag}", f'"other", {etag}', "*"):
        again = client.get("/v1/projects", headers={"If-None-Match": known})
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["etag"] == etag
    client.patch("/v1/projects/first", json={"paused": True})
    assert client.get("/v1/projects", headers={"If-None-Match": etag}).status_code == 200


def test_secrets_are_not_kept_by_caches(client):
    made = client.post("/v1/api-keys", json={"name": "k", "scopes": ["jobs:read"]})
    assert made.headers["cache-control"] == "no-store"


def test_the_process_is_alive_without_a_database(settings, postgres, bench):
    app = create_app(settings, bench)
    web = TestClient(app, raise_server_exceptions=False)
    assert web.get("/readyz").json()["status"] == "ready"
    postgres.forbid(settings.database_url.get_secret_value())
    assert web.get("/healthz").json() == {"status": "ok"}
    ready = web.get("/readyz")
    assert ready.status_code == 503
    assert ready.headers["retry-after"]
    assert {check["name"]: check["ok"] for check in ready.json()["checks"]}["database"] is False
    refused = web.get("/v1/events", headers={"Authorization": "Bearer " + new_secret().secret})
    assert refused.status_code == 503
    assert refused.json()["code"] == "database_unavailable"
    assert refused.headers["retry-after"]
    assert "kitae_database_up 0.0" in web.get("/metrics").text


def test_readiness_asks_whatever_it_is_told_to_ask(settings, bench):
    def queue() -> None:
        raise ConnectionError("nobody listens")

    web = TestClient(create_app(settings, bench, probes={"queue": queue}))
    ready = web.get("/readyz")
    assert ready.status_code == 503
    named = {check["name"]: check["detail"] for check in ready.json()["checks"]}
    assert named["queue"] == "ConnectionError: nobody listens"
    assert named["database"] is None


def test_readiness_refuses_a_database_without_its_migrations_and_takes_a_newer_one(client, bench):
    assert client.get("/readyz").status_code == 200
    with bench.begin() as work:
        work.session.execute(text("UPDATE alembic_version SET version_num = 'of_next_release'"))
    assert client.get("/readyz").status_code == 200
    with bench.begin() as work:
        work.session.execute(text("DELETE FROM alembic_version"))
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert "kitae migrate" in answer.text


def test_what_rooms_count_is_read_from_the_database_at_every_scrape(settings, bench, project):
    measure = Measure(
        "kitae_api_keys",
        "Keys by whether they are revoked.",
        ("revoked",),
        "SELECT revoked_at IS NOT NULL, count(*) FROM api_keys GROUP BY 1",
    )
    web = TestClient(create_app(settings, bench, measures=(measure,)), headers=project.headers)
    assert 'kitae_api_keys{revoked="False"} 1.0' in web.get("/metrics").text
    web.post("/v1/api-keys", json={"name": "k", "scopes": ["jobs:read"]})
    metrics = web.get("/metrics")
    assert 'kitae_api_keys{revoked="False"} 2.0' in metrics.text
    assert metrics.headers["content-type"].startswith("text/plain")
    assert project.id not in metrics.text


def test_requests_are_counted_by_route_and_not_by_path(client):
    client.get("/v1/projects/first")
    client.get("/v1/projects/other")
    client.get("/v1/nowhere/1")
    client.get("/v1/nowhere/2")
    metrics = client.get("/metrics").text
    assert 'route="/v1/projects/{project}",status="200"' in metrics
    assert 'route="/v1/projects/{project}",status="404"' in metrics
    assert 'kitae_http_request_seconds_count{method="-",route="unmatched",status="404"} 2.0' in metrics
    assert "nowhere" not in metrics


def test_a_request_to_a_socket_that_is_no_http_is_answered_and_forgotten(live_url):
    where = urlsplit(live_url)
    for junk in (
        b"\x00\x01\x02\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n",
    ):
        with socket.create_connection((where.hostname, where.port), timeout=5) as connection:
            connection.sendall(junk)
            connection.recv(100)
    assert httpx2.get(f"{live_url}/healthz").status_code == 200
