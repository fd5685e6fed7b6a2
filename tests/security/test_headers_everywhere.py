"""What every answer tells a browser: all routes, all kinds of refusals, the pages, a crash. One table, no exception."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import httpx2
import pytest
from fastapi import APIRouter, FastAPI, Request
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from processes import serve
from servers import Postgres, Project, make_project
from starlette.testclient import TestClient

from app.bootstrap import open_workbench
from app.datasets.service import DatasetService
from app.http.docs import STATIC
from app.http.responses import as_attachment
from app.main import ROUTERS, create_app
from app.settings import Settings
from app.workbench import Workbench

API: Final = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
PAGE: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "font-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
ALWAYS: Final = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}
NEVER: Final = ("server", "x-powered-by", "via", "set-cookie", "access-control-allow-origin")
GOOD: Final = b'{"messages":[{"role":"user","content":"Hello?"},{"role":"assistant","content":"Good morning."}]}\n'


def wrong_with(answer: Any, *, policy: str = API, cache: str | None = "no-store") -> list[str]:
    """What its headers lack or have too much; empty when they are as the table says."""
    headers = answer.headers
    found = [f"{name}: {headers.get(name)}" for name, value in ALWAYS.items() if headers.get(name) != value]
    found += [name for name in NEVER if name in headers]
    if headers.get("content-security-policy") != policy:
        found.append(f"policy {headers.get('content-security-policy')}")
    if cache is not None and headers.get("cache-control") != cache:
        found.append(f"cache-control {headers.get('cache-control')}")
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", headers.get("x-request-id", "")):
        found.append("x-request-id")
    return found


@pytest.fixture(scope="module")
def bench(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workbench]:
    with postgres.database() as url:
        settings = Settings(_env_file=None, database_url=url, data_dir=tmp_path_factory.mktemp("headers"))
        with open_workbench(settings) as opened:
            yield opened


@pytest.fixture(scope="module")
def app(bench: Workbench) -> FastAPI:
    """With one route that crashes, beside all there are."""
    router = APIRouter()

    @router.get("/t/crash", include_in_schema=False)
    def crash(_request: Request) -> None:
        raise ZeroDivisionError

    settings = Settings(_env_file=None, body_max_bytes=10_000, wrong_keys_per_minute=100_000)
    return create_app(settings, bench, routers=(*ROUTERS, router))


@pytest.fixture(scope="module")
def project(bench: Workbench) -> Project:
    return make_project(bench, "first")


@pytest.fixture(scope="module")
def client(app: FastAPI, project: Project) -> Iterator[TestClient]:
    with TestClient(app, headers=project.headers, raise_server_exceptions=False) as opened:
        opened.post("/v1/datasets", json={"name": "letters"})
        yield opened


def test_every_route_answers_with_these_headers_however_it_answers(client: TestClient, app: FastAPI) -> None:
    statuses: dict[int, int] = {}
    for path, item in app.openapi()["paths"].items():
        url = re.sub(r"\{number\}", "1", path)
        url = re.sub(r"\{\w+\}", "letters", url)
        for method in item:
            tries: list[tuple[str, dict[str, Any]]] = [
                (method, {}),
                (method, {"headers": {"Authorization": "Bearer nonsense"}}),
                (method, {"headers": {"Authorization": ""}}),
                (method, {"content": b"{", "headers": {"Content-Type": "application/json"}}),
                (method, {"content": b"x" * 20_000, "headers": {"Content-Type": "application/json"}}),
                (method, {"content": b"{}", "headers": {"Content-Type": "application/xml"}}),
                (method, {"headers": {"Origin": "https://evil.example"}}),
                ("trace", {}),
                (
                    "options",
                    {"headers": {"Origin": "https://evil.example", "Access-Control-Request-Method": "GET"}},
                ),
            ]
            for verb, sent in tries:
                answer = client.request(verb.upper(), url, **sent)
                assert answer.status_code < 500 or url == "/readyz", (verb, url, sent, answer.text)
                statuses[answer.status_code] = statuses.get(answer.status_code, 0) + 1
                svg = url.endswith("chart.svg") and answer.status_code == 200
                assert svg or wrong_with(answer) == [], (verb, url, sent, answer.status_code, wrong_with(answer))
                if answer.status_code >= 400 and url != "/readyz":
                    assert answer.headers["content-type"] == "application/problem+json", (verb, url)
    print(f"{sum(statuses.values())} answers: {dict(sorted(statuses.items()))}")
    assert {200, 401, 404, 405, 413, 422} <= set(statuses)


def test_a_crash_a_missing_page_and_a_nul_answer_with_them_too(client: TestClient) -> None:
    for path, status in (("/t/crash", 500), ("/nowhere", 404), ("/v1/%00", 400), ("/v1/jobs?after=%00", 400)):
        answer = client.get(path)
        assert answer.status_code == status, path
        assert wrong_with(answer) == [], path


def test_a_database_that_is_away_changes_no_header(postgres: Postgres, tmp_path: Path) -> None:
    with postgres.database() as url:
        settings = Settings(_env_file=None, database_url=url, data_dir=tmp_path, key_cache_seconds=0)
        with open_workbench(settings) as bench, TestClient(create_app(settings, bench)) as client:
            headers = make_project(bench, "first").headers
            postgres.forbid(url)
            answer = client.get("/v1/jobs", headers=headers)
            assert answer.status_code == 503
            assert wrong_with(answer) == []


@pytest.mark.parametrize("path", ["/docs", "/docs/errors"])
def test_a_page_may_load_our_own_files_and_nothing_else(client: TestClient, path: str) -> None:
    page = client.get(path)
    assert wrong_with(page, policy=PAGE) == []
    for source in re.findall(r'(?:src|href)="([^"#]+)"', page.text):
        assert source.startswith(("/static/", "/openapi.json", "data:,")), source
        if source.startswith("/static/"):
            file = client.get(source)
            assert file.status_code == 200
            assert wrong_with(file, cache=None) == []
            assert file.headers["content-type"].partition(";")[0] in {"text/css", "text/javascript"}
    assert "<script>" not in page.text, "no script stands in the page itself"
    assert not re.search(r"\son\w+=", page.text)
    assert list(STATIC.rglob("*.js"))


def test_no_header_says_what_runs_here(app: FastAPI) -> None:
    with serve(app) as url:
        for path in ("/healthz", "/nowhere", "/v1/jobs"):
            answer = httpx2.get(url + path)
            assert wrong_with(answer) == [], path


def test_a_download_is_saved_and_not_shown(client: TestClient, bench: Workbench) -> None:
    client.post("/v1/datasets", json={"name": "postcards"}).raise_for_status()
    version = client.put("/v1/datasets/postcards/content", content=GOOD).json()
    DatasetService(bench).check(version["id"])
    answer = client.get("/v1/datasets/postcards/versions/1/content")
    assert answer.status_code == 200
    assert wrong_with(answer) == []
    name = f"{version['id']}.jsonl"
    assert answer.headers["content-disposition"] == f"attachment; filename=\"{name}\"; filename*=UTF-8''{name}"
    assert answer.headers["content-type"] == "application/jsonl"


@hypothesis_settings(max_examples=300, deadline=None)
@given(st.text(max_size=60))
def test_no_name_breaks_out_of_its_header(name: str) -> None:
    try:
        header = as_attachment(name)
    except UnicodeEncodeError:
        pytest.fail("a lone surrogate must not be an error")
    assert re.fullmatch(r"attachment; filename=\"[A-Za-z0-9._ -]*\"; filename\*=UTF-8''[A-Za-z0-9._~%-]*", header)


@pytest.mark.parametrize(
    ("name", "plain", "encoded"),
    [
        ("train.jsonl", "train.jsonl", "train.jsonl"),
        ("naïve résumé.jsonl", "na_ve r_sum_.jsonl", "na%C3%AFve%20r%C3%A9sum%C3%A9.jsonl"),
        ("木.jsonl", "_.jsonl", "%E6%9C%A8.jsonl"),
        ('a"; filename="evil.exe', "a__ filename=_evil.exe".replace("=", "_"), "a%22%3B%20filename%3D%22evil.exe"),
        ("../../etc/passwd", "....etcpasswd", "....etcpasswd"),
        ("a\r\nSet-Cookie: x", "aSet-Cookie_ x", "aSet-Cookie%3A%20x"),
        ("cod\u202egnp.exe", "codgnp.exe", "codgnp.exe"),
    ],
)
def test_a_name_reads_the_same_for_old_and_new_browsers(name: str, plain: str, encoded: str) -> None:
    assert as_attachment(name) == f"attachment; filename=\"{plain}\"; filename*=UTF-8''{encoded}"
