"""Input that is wrong, hostile or broken off: answered 4xx or rejected with its lines, and nothing of it is left."""

import base64
import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import httpx2
import pytest
from fastapi import FastAPI
from installation import installed, resident_bytes
from nursery import DRIVE
from servers import ROOT, Postgres, Project, make_project
from sqlalchemy import select
from starlette.testclient import TestClient

from app.access.secrets import new_secret
from app.access.service import AccessService
from app.bootstrap import open_workbench
from app.datasets.service import DatasetService
from app.datasets.tables import DatasetVersion
from app.main import create_app
from app.settings import Settings
from app.workbench import Workbench

GOOD: Final = b'{"messages":[{"role":"user","content":"Hello?"},{"role":"assistant","content":"Good morning."}]}\n'
UPLOAD_MAX_BYTES: Final = 300_000
MEMORY_GROWTH_MAX_BYTES: Final = 150 * 1024 * 1024
DRIVER: Final = ROOT / "tests" / "nursery.py"


@dataclass(frozen=True)
class Target:
    """A service that all this is sent to; what it keeps from one attack, the next one meets."""

    bench: Workbench
    app: FastAPI
    client: TestClient
    operator: str
    """Secret of the operator's key."""

    def send(
        self, method: str, url: str, content: bytes, content_type: str = "application/json"
    ) -> httpx2.Response:
        """As the project, and as the operator where only they are let in."""
        headers = {"Content-Type": content_type}
        if (method, url) in {("POST", "/v1/projects"), ("PUT", "/v1/installation")}:
            headers["Authorization"] = f"Bearer {self.operator}"
        answer: httpx2.Response = self.client.request(method, url, content=content, headers=headers)
        if url == "/v1/installation" and answer.status_code == 200:  # what is hostile here may have halted it all
            self.client.put(url, json={"halted": False}, headers=headers).raise_for_status()
        return answer


@pytest.fixture(scope="module")
def target(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """With a dataset, its first version and a connection, that path parameters name."""
    operator = new_secret().secret
    with postgres.database() as url:
        settings = Settings(_env_file=None, database_url=url, data_dir=tmp_path_factory.mktemp("target"))
        with open_workbench(settings) as bench:
            AccessService(bench).ensure_operator_key(operator)
            app = create_app(settings, bench)
            with TestClient(app, headers=make_project(bench, "first").headers) as client:
                assert client.post("/v1/datasets", json={"name": "hostile"}).status_code == 201
                assert client.put("/v1/datasets/hostile/content", content=GOOD).status_code == 202
                there = {"name": "c", "endpoint": "https://contoso.openai.azure.com"}
                assert client.post("/v1/connections", json=there).status_code == 201
                yield Target(bench, app, client, operator)


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"upload_max_bytes": UPLOAD_MAX_BYTES})


@pytest.fixture
def dataset(client: TestClient) -> str:
    assert client.post("/v1/datasets", json={"name": "empty"}).status_code == 201
    return "empty"


def checked(target: Target, content: bytes) -> tuple[str, dict[str, Any]]:
    """A new version's status after a worker's check, and the errors by code."""
    client = target.client
    answer = client.put("/v1/datasets/hostile/content", content=content)
    assert answer.status_code == 202, answer.text
    DatasetService(target.bench).check(answer.json()["id"])
    base = f"/v1/datasets/hostile/versions/{answer.json()['number']}"
    found = client.get(f"{base}/findings", params={"severity": "error"}).json()["data"]
    for part in ("preview", "stats", "content"):
        assert client.get(f"{base}/{part}").status_code == 200, part
    return client.get(base).json()["status"], {finding["code"]: finding for finding in found}


def line(*messages: dict[str, Any], **more: Any) -> bytes:
    return json.dumps({"messages": list(messages), **more}).encode() + b"\n"


USER: Final = {"role": "user", "content": "Hello?"}
ASSISTANT: Final = {"role": "assistant", "content": "Good morning."}
PICTURE: Final = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
PNG: Final = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
BATCH: Final = (
    json.dumps(
        {"custom_id": "1", "method": "POST", "url": "/chat/completions", "body": {"messages": [USER]}}
    ).encode()
    + b"\n"
)

# content of line 11, behind ten good ones; the line must be named
BAD_LINES: Final[dict[str, bytes]] = {
    "not JSON": b"hello there\n",
    "broken JSON": b'{"messages": [}\n',
    "not an object": b"[1, 2]\n",
    "not UTF-8": b'{"messages":[{"role":"user","content":"\xff\xfe"},{"role":"assistant","content":"b"}]}\n',
    "2,000 nested arrays": b'{"messages":' + b"[" * 2000 + b"]" * 2000 + b"}\n",
    "100,000 open brackets": b"[" * 100_000 + b"\n",
    "NaN": b'{"messages":[{"role":"user","content":NaN},{"role":"assistant","content":"b"}]}\n',
    "an infinite number": b'{"messages":[{"role":"user","content":1e999},{"role":"assistant","content":"b"}]}\n',
    "half a surrogate pair": b'{"messages":[{"role":"user","content":"\\ud800"},{"role":"assistant","content":"b"}]}\n',
    "NUL itself": b'{"messages":[{"role":"user","content":"a\x00"},{"role":"assistant","content":"b"}]}\n',
    "an unknown role": line({"role": "robot", "content": "x"}, ASSISTANT),
    "a role that is a number": line({"role": 7, "content": "x"}, ASSISTANT),
    "no assistant": line(USER),
    "no messages": b'{"prompt": "a", "completion": "b"}\n',
    "messages that are a text": b'{"messages": "hello"}\n',
    "an image where text is expected": line({"role": "system", "content": [PICTURE]}, USER, ASSISTANT),
    "an image that the assistant says": line(USER, {"role": "assistant", "content": [PICTURE]}),
    "a content that is a number": line({"role": "user", "content": 5}, ASSISTANT),
    "a number of 5,000 digits": b'{"messages":' + b"9" * 5000 + b"}\n",
}

# whole files
BAD_FILES: Final[dict[str, bytes]] = {
    "an empty file": b"",
    "spaces": b"  \n\n \n",
    "a picture": PNG,
    "a Batch file": BATCH * 12,
    "half a JSON array": b"[" + b",".join([GOOD.strip()] * 12),
    "gzip": b"\x1f\x8b\x08\x00" + bytes(range(256)) * 20,
    "NULs": b"\x00" * 100_000,
    "random bytes": bytes(range(255, -1, -1)) * 100,
    "too few examples": GOOD * 3,
}


@pytest.mark.row(48)
@pytest.mark.parametrize("name", BAD_LINES)
def test_a_bad_line_is_rejected_under_its_number(name: str, target: Target) -> None:
    good = b"".join(line({"role": "user", "content": f"{number}?"}, ASSISTANT) for number in range(10))
    status, errors = checked(target, good + BAD_LINES[name] + GOOD)
    assert status == "rejected", errors
    named = {code: finding["lines"] for code, finding in errors.items() if finding["lines"]}
    assert [11, 11] in [ranges[0] for ranges in named.values()], errors
    assert all(finding["message"] and finding["remedy"] for finding in errors.values())


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_file_of_another_kind_is_rejected_with_words_that_help(name: str, target: Target) -> None:
    status, errors = checked(target, BAD_FILES[name])
    assert status == "rejected"
    assert errors
    assert all(finding["message"] and finding["remedy"] for finding in errors.values())


def test_nothing_of_a_rejected_version_goes_into_a_job(target: Target) -> None:
    assert checked(target, b"GIF89a" + PNG)[0] == "rejected"
    newest = target.client.get("/v1/datasets/hostile/versions").json()["data"][0]
    wanted = {"connection": "c", "model": "gpt-4.1-mini", "training": newest["id"]}
    answer = target.client.post("/v1/jobs", json=wanted)
    assert answer.status_code in {409, 422}, answer.text
    assert target.client.get("/v1/jobs").json()["data"] == []


# ── uploads that must leave nothing ─────────────────────────────────────────


def kept_files(settings: Settings) -> list[Path]:
    return [path for path in (settings.data_dir / "objects").rglob("*") if path.is_file()]


def versions(bench: Workbench) -> int:
    with bench.read() as session:
        return len(session.scalars(select(DatasetVersion.id)).all())


@pytest.mark.row(48)
@pytest.mark.parametrize("chunked", [True, False])
def test_a_file_beyond_the_limit_answers_413_and_is_not_kept(
    chunked: bool,  # noqa: FBT001  a parameter of pytest's
    client: TestClient,
    bench: Workbench,
    settings: Settings,
    dataset: str,
) -> None:
    piece = GOOD * 100
    content = (piece for _ in range(UPLOAD_MAX_BYTES // len(piece) + 2)) if chunked else piece * 60
    answer = client.put(f"/v1/datasets/{dataset}/content", content=content)
    assert answer.status_code == 413, answer.text
    assert f"{UPLOAD_MAX_BYTES:,}" in answer.json()["detail"]
    assert kept_files(settings) == []
    assert versions(bench) == 0


def wait_for(holds: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 10
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


@pytest.mark.parametrize("way", ["content-length", "chunked"])
def test_a_client_that_leaves_in_the_middle_leaves_nothing_behind(
    way: str, live_url: str, project: Project, bench: Workbench, settings: Settings
) -> None:
    httpx2.post(f"{live_url}/v1/datasets", json={"name": "torn"}, headers=project.headers).raise_for_status()
    where = urlsplit(live_url)
    announced = "Content-Length: 200000" if way == "content-length" else "Transfer-Encoding: chunked"
    head = (
        f"PUT /v1/datasets/torn/content HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {project.secret}\r\n"
        f"Content-Type: application/jsonl\r\n{announced}\r\n\r\n"
    )
    piece = GOOD * 500
    sent = piece if way == "content-length" else f"{len(piece):x}\r\n".encode() + piece + b"\r\n"
    for _ in range(5):
        with socket.create_connection((where.hostname or "", where.port or 0)) as wire:
            wire.sendall(head.encode() + sent)
            assert wait_for(lambda: bool(kept_files(settings))), "the upload never began"
            wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
        assert wait_for(lambda: not kept_files(settings)), kept_files(settings)
    assert versions(bench) == 0
    shown = httpx2.get(f"{live_url}/v1/datasets/torn", headers=project.headers).json()
    assert shown["version_count"] == 0


def one_line(size_bytes: int) -> Iterator[bytes]:
    """A line without an end."""
    yield b'{"messages":[{"role":"user","content":"'
    piece = b"x" * (1 << 20)
    for _ in range(size_bytes // len(piece)):
        yield piece
    yield b'"},{"role":"assistant","content":"b"}]}\n'


@pytest.mark.row(48)
@pytest.mark.e2e
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is read from /proc")
def test_a_line_of_a_gigabyte_costs_no_memory_in_the_api_or_the_worker(
    database_url: str, redis_url: str, tmp_path: Path
) -> None:
    with installed(database_url, redis_url, tmp_path, upload_max_bytes=2 << 30) as kitae:
        api = kitae.start_api()
        settings = Settings(_env_file=None, database_url=database_url, data_dir=kitae.data_dir, environment="test")
        with open_workbench(settings) as bench:
            project = make_project(bench, "huge")
            with httpx2.Client(base_url=kitae.url, headers=project.headers, timeout=120) as client:
                client.post("/v1/datasets", json={"name": "huge"}).raise_for_status()
                client.put("/v1/datasets/huge/content", content=GOOD).raise_for_status()
                small = _peak_of_worker(kitae.database_url, kitae.data_dir)
                before = resident_bytes(api.pid)
                answer = client.put("/v1/datasets/huge/content", content=one_line(1 << 30))
                assert answer.status_code == 202, answer.text
                assert answer.json()["bytes"] > 1 << 30
                api_growth = resident_bytes(api.pid, peak=True) - before
                client.put("/v1/datasets/huge/content", content=one_line(100 << 20)).raise_for_status()
                worker_growth = _peak_of_worker(kitae.database_url, kitae.data_dir) - small
                found = [_errors(client, number) for number in (2, 3)]
    print(f"API +{api_growth >> 20} MiB, worker +{worker_growth >> 20} MiB")
    assert "file-too-large" in [error["code"] for error in found[0]]
    assert [[1, 1]] in [error["lines"] for error in found[1]]
    assert api_growth < MEMORY_GROWTH_MAX_BYTES
    assert worker_growth < MEMORY_GROWTH_MAX_BYTES


def _errors(client: httpx2.Client, number: int) -> list[dict[str, Any]]:
    assert client.get(f"/v1/datasets/huge/versions/{number}").json()["status"] == "rejected"
    path = f"/v1/datasets/huge/versions/{number}/findings"
    errors: list[dict[str, Any]] = client.get(path, params={"severity": "error"}).json()["data"]
    return errors


def _peak_of_worker(database_url: str, data_dir: Path) -> int:
    """Most memory, in bytes, of a worker process that does what is due."""
    environment = {
        **os.environ,
        "KITAE_DATABASE_URL": database_url,
        "KITAE_DATA_DIR": str(data_dir),
        "KITAE_LOG_LEVEL": "ERROR",
        "KITAE_ENVIRONMENT": "test",
    }
    command = [sys.executable, str(DRIVER), DRIVE, "120"]
    worker = subprocess.Popen(command, env=environment, cwd=ROOT, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(worker.pid, 0)
    worker.returncode = os.waitstatus_to_exitcode(status)
    assert worker.returncode == 0
    return used.ru_maxrss * 1024


# ── JSON bodies ─────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def takers(target: Target) -> list[tuple[str, str, dict[str, Any], dict[str, Any]]]:
    """(method, path, example body, schema of its members) of every operation that takes JSON."""
    document = target.app.openapi()
    schemas = document["components"]["schemas"]
    names = {"dataset": "hostile", "number": "1", "connection": "c", "project": "first"}
    found = []
    for path, item in document["paths"].items():
        for method, operation in item.items():
            body = operation.get("requestBody", {}).get("content", {}).get("application/json")
            if body is None or "$ref" not in body["schema"]:
                continue
            schema = schemas[body["schema"]["$ref"].rpartition("/")[2]]
            url = re.sub(r"\{(\w+)\}", lambda place: names.get(place[1], "nothing"), path)
            found.append((method.upper(), url, schema["examples"][0], schema["properties"]))
    assert len(found) >= 15
    return found


BROKEN: Final[dict[str, bytes]] = {
    "nothing": b"",
    "half": b'{"name": "a',
    "a comma too many": b'{"name": "a",}',
    "single quotes": b"{'name': 'a'}",
    "two values": b"{} {}",
    "NaN": b"NaN",
    "Infinity": b'{"name": Infinity}',
    "100,000 open brackets": b"[" * 100_000,
    "100,000 open objects": b'{"a":' * 100_000,
    "bytes": b"\xff\xfe\x00\x80",
    "NUL": b"\x00",
    "a BOM": b'\xef\xbb\xbf{"name": 5}',
    "5,000 digits": b'{"name": ' + b"9" * 5000 + b"}",
    "a number that overflows": b'{"name": 1e999}',
    "an array": b"[]",
    "a text": b'"name"',
    "null": b"null",
    "true": b"true",
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_body_that_is_no_object_of_ours_is_refused_everywhere(
    name: str, target: Target, takers: list[Any]
) -> None:
    for method, url, _, _ in takers:
        answer = target.send(method, url, BROKEN[name])
        assert answer.status_code in {400, 404, 409, 422}, (method, url, answer.status_code, answer.text)
        assert answer.headers["content-type"] == "application/problem+json"


HOSTILE: Final[dict[str, tuple[str, bool]]] = {
    # JSON text of a value, and whether every member must refuse it
    "NUL": (r'"a\u0000b"', True),
    "half a surrogate pair": (r'"\ud800"', True),
    "the other half": (r'"\udc00"', True),
    "10,000 characters": (json.dumps("x" * 10_000), False),
    "a million characters": (json.dumps("x" * 1_000_000), False),
    "a huge number": ("9" * 400, False),
    "a number beyond 64 bits": ("9223372036854775808", False),
    "beyond 32 bits": ("2147483648", False),
    "minus one": ("-1", False),
    "a fraction": ("0.5", False),
    "NaN": ("NaN", True),
    "infinity": ("-Infinity", True),
    "overflow": ("1e999", True),
    "true": ("true", False),
    "null": ("null", False),
    "an empty text": ('""', False),
    "an empty list": ("[]", False),
    "an empty object": ("{}", False),
    "65 levels": ("[" * 65 + "]" * 65, True),
    "900 levels": ('{"a":' * 900 + "1" + "}" * 900, True),
    "a list of NUL": (r'["\u0000"]', True),
    "a member named NUL": (r'{"\u0000": "a"}', True),
    "line ends": (r'"a\r\nSet-Cookie: x=1"', False),
    "a path": ('"../../etc/passwd"', False),
    "a query": ('"\' OR 1=1 --"', False),
    "direction override": (r'"a\u202eb"', False),
    "a format": ('"%s%n{0}${7*7}"', False),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_value_in_any_member_never_breaks_the_service(
    name: str, target: Target, takers: list[Any]
) -> None:
    value, always_refused = HOSTILE[name]
    for method, url, example, members in takers:
        for member in members:
            text = json.dumps({**example, member: "HOSTILE"}).replace('"HOSTILE"', value)
            answer = target.send(method, url, text.encode())
            assert answer.status_code < 500, (method, url, member, answer.text)
            if always_refused:
                assert answer.status_code >= 400, (method, url, member, answer.status_code)
            if answer.status_code >= 400:
                assert answer.headers["content-type"] == "application/problem+json"
                assert len(answer.content) < 20_000, "an answer must not echo a flood"


@pytest.mark.parametrize("value", ["true", '"3"', "3.0", "3.5", "[3]", "1e2"])
def test_a_whole_number_is_taken_only_as_a_whole_number(value: str, target: Target) -> None:
    bodies = {
        "/v1/jobs": '{"connection":"c","model":"gpt-4.1-mini","training":"hostile@1","seed":%s}',
        "/v1/datasets/hostile/versions/1/estimate": '{"n_epochs":%s}',
        "/v1/deployments": '{"connection":"c","model":"gpt-4.1-mini","capacity":%s}',
        "/v1/deployments/nothing/chat": '{"messages":[{"role":"user","content":"a"}],"max_tokens":%s}',
    }
    for url, body in bodies.items():
        answer = target.send("POST", url, (body % value).encode())
        assert answer.status_code == 422, (url, value, answer.text)


def test_unknown_members_are_refused_and_named_everywhere(target: Target, takers: list[Any]) -> None:
    for method, url, example, _ in takers:
        for extra in ("project_id", "status", "created_at", "__proto__", "id"):
            answer = target.send(method, url, json.dumps({**example, extra: "x"}).encode())
            assert answer.status_code == 422, (method, url, extra, answer.status_code, answer.text)
            assert any(extra in (problem.get("pointer") or "") for problem in answer.json()["errors"])


@pytest.mark.parametrize(
    "content_type",
    ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/xml", ""],
)
def test_another_content_type_makes_nothing(content_type: str, target: Target, takers: list[Any]) -> None:
    """So a form on somebody's page, which can send only such types, can do nothing."""
    for method, url, example, _ in takers:
        answer = target.send(method, url, json.dumps(example).encode(), content_type)
        assert 400 <= answer.status_code < 500, (method, url, content_type, answer.status_code, answer.text)


def test_a_body_beyond_the_limit_is_not_read(target: Target, takers: list[Any]) -> None:
    for method, url, _, _ in takers:
        answer = target.send(method, url, b'"' + b"x" * 2_100_000 + b'"')
        assert answer.status_code in {413, 404}, (method, url, answer.status_code)


# ── ids and paths ───────────────────────────────────────────────────────────

WRONG_IDS: Final = (
    "ds_",
    "job_01m7zeyhy8fmavc4pw595mbdcx",
    "job_01m7zeyhy8fmavc4pw595mbdc",
    "job_91m7zeyhy8fmavc4pw595mbdcx",
    "dsv_01m7zeyhy8fmavc4pw595mbdcx",
    "prj_01m7zeyhy8fmavc4pw595mbdcx",
    "0",
    "-1",
    "%25",
    "%2e%2e",
    "..%2f..%2fetc%2fpasswd",
    "%ff%fe",
    "%ed%a0%80",
    "a%00b",
    "a%0d%0aSet-Cookie:x",
    "%27%20OR%201=1--",
    "hostile@",
    "hostile@-1",
    "hostile@99999999999999999999",
    "hostile@%D9%A1",
    "x" * 5000,
)


def test_a_wrong_id_on_any_path_is_a_4xx_and_no_more(target: Target) -> None:
    asked = 0
    for path, item in target.app.openapi()["paths"].items():
        for method in item:
            if "{" not in path:
                continue
            for wrong in WRONG_IDS:
                url = re.sub(r"\{\w+\}", lambda _, w=wrong: w, path)
                answer = target.client.request(method.upper(), url, json={})
                assert 400 <= answer.status_code < 500, (method, url, answer.status_code, answer.text)
                assert "set-cookie" not in answer.headers
                assert len(answer.content) < 30_000
                asked += 1
    assert asked > 700
    print(f"{asked} wrong ids")


@pytest.mark.parametrize(
    "number", ["0", "-1", "1.0", "01x", "%D9%A1", "9" * 30, "1%00", "%2e%2e", "@1", "1@1", "²"]
)
def test_a_version_is_found_by_its_plain_number_only(number: str, target: Target) -> None:
    assert target.client.get("/v1/datasets/hostile/versions/1").status_code == 200
    answer = target.client.get(f"/v1/datasets/hostile/versions/{number}")
    assert answer.status_code in {400, 404, 405}, (number, answer.status_code)


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=201",
        "limit=1e3",
        "limit=-1",
        "limit=",
        "limit=%00",
        "limit=99999999999999999999",
        "after=x",
        "after=job_x",
        "before=%00",
        "after=%ff",
        "order=sideways",
        "after=" + "x" * 5000,
    ],
)
def test_a_wrong_page_is_refused_on_every_list(query: str, target: Target) -> None:
    for path, item in target.app.openapi()["paths"].items():
        if "get" not in item or "{" in path:
            continue
        if any(parameter["name"] == "after" for parameter in item["get"].get("parameters", [])):
            answer = target.client.get(f"{path}?{query}")
            assert answer.status_code in {400, 422}, (path, query, answer.status_code)
