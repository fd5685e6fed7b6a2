"""Clients that speak HTTP badly on purpose: heads without end, bodies that never come, lengths that lie."""

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from urllib.parse import urlsplit

import httpx2
import pytest
from fastapi import FastAPI
from installation import resident_bytes
from lives import until
from processes import serve
from servers import Project

from app.http import server as http_server
from app.main import create_app
from app.settings import Settings
from app.workbench import Workbench

GROWTH_MAX_BYTES = 60 * 1024 * 1024


@pytest.fixture
def app(settings: Settings, bench: Workbench) -> FastAPI:
    return create_app(settings, replace(bench, policy=replace(bench.policy, upload_bytes_max=100_000)))


@pytest.fixture
def url(app: FastAPI) -> Iterator[str]:
    with serve(app) as served:
        yield served


@contextmanager
def wire(url: str, seconds: float = 30) -> Iterator[socket.socket]:
    where = urlsplit(url)
    with socket.create_connection((where.hostname or "", where.port or 0), timeout=seconds) as opened:
        yield opened


def spoken(url: str, text: bytes) -> bytes:
    """What comes back until the server closes, or has nothing more to say."""
    with wire(url, 10) as opened:
        opened.sendall(text)
        opened.shutdown(socket.SHUT_WR)
        return read_all(opened)


def read_all(opened: socket.socket) -> bytes:
    found = b""
    try:
        while piece := opened.recv(65536):
            found += piece
    except (ConnectionError, TimeoutError):
        pass
    return found


def well(url: str, project: Project) -> bool:
    return httpx2.get(f"{url}/v1/jobs", headers=project.headers, timeout=30).status_code == 200


def test_ten_thousand_headers_are_too_many(url: str, project: Project) -> None:
    head = b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + b"".join(b"X-%d: y\r\n" % n for n in range(10_000)) + b"\r\n"
    answer = spoken(url, head)
    assert answer.startswith(b"HTTP/1.1 431 "), answer[:200]
    assert b"application/problem+json" in answer
    assert b'"headers_too_large"' in answer
    assert well(url, project)


@pytest.mark.parametrize("start", [b"GET /", b"GET / HTTP/1.1\r\nX: ", b"GET / HTTP/1.1\r\n", b"\r\n\r\n"])
def test_a_head_without_an_end_is_cut_off_and_costs_no_memory(start: bytes, url: str, project: Project) -> None:
    before = resident_bytes(os.getpid())
    piece = b"X-Y: z\r\n" * 8192 if start.endswith(b"\n") and len(start) > 4 else b"a" * 65536
    with wire(url) as opened:
        sent = 0
        try:
            opened.sendall(start)
            for _ in range(3000):  # 200 MB, were they taken
                opened.sendall(piece)
                sent += len(piece)
        except (ConnectionError, TimeoutError):
            pass
        else:
            pytest.fail("it took everything")
    assert sent < 20_000_000
    assert resident_bytes(os.getpid()) - before < GROWTH_MAX_BYTES
    assert well(url, project)


def test_headers_of_ordinary_size_pass(url: str, project: Project) -> None:
    headers = project.headers | {f"X-{number}": "y" * 500 for number in range(100)}
    with httpx2.Client(base_url=url, headers=headers) as client:
        for _ in range(5):  # on one connection
            assert client.get("/v1/jobs").status_code == 200
        assert client.post("/v1/datasets", content=b"[" + b"1," * 200_000 + b"1]").status_code in {400, 413, 422}


def test_two_hundred_clients_that_never_finish_keep_nobody_from_being_served(
    url: str, app: FastAPI, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ExitStack() as stack:
        for number in range(200):
            opened = stack.enter_context(wire(url))
            half = b"GET /v1/jobs HTTP/1.1\r\nHost: x\r\nX-Slow: " if number % 2 else b""
            opened.sendall(half)
        for _ in range(5):
            assert well(url, project)


def test_a_client_that_drips_its_head_is_hung_up_on(
    app: FastAPI, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_server, "HEAD_SECONDS", 0.3)
    with serve(app) as url:
        for begin in (b"", b"GET / HTTP/1.1\r\nHo"):
            with wire(url) as opened:
                opened.sendall(begin)
                assert read_all(opened) == b""
        with wire(url) as opened:  # and the second request on a connection is no different
            opened.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            assert opened.recv(65536).startswith(b"HTTP/1.1 200")
            opened.sendall(b"GET /healthz HT")
            assert read_all(opened) == b""
        with httpx2.Client(base_url=url, headers=project.headers) as client:
            assert client.get("/v1/jobs").status_code == 200


def test_a_body_that_never_comes_holds_no_thread(url: str, app: FastAPI, project: Project) -> None:
    """More of them than threads; the costly ones of one project end at their limit."""
    with ExitStack() as stack:
        for _ in range(60):
            opened = stack.enter_context(wire(url))
            opened.sendall(
                f"POST /v1/datasets HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {project.secret}\r\n"
                "Content-Type: application/json\r\nContent-Length: 500\r\n\r\n{".encode()
            )
        for _ in range(5):
            assert well(url, project)


def test_chunks_without_a_length_are_counted(url: str, project: Project) -> None:
    with httpx2.Client(base_url=url, headers=project.headers, timeout=30) as client:
        client.post("/v1/datasets", json={"name": "d"}).raise_for_status()
        endless = (b"x" * 10_000 for _ in range(1000))
        assert client.put("/v1/datasets/d/content", content=endless).status_code == 413
        endless = (b" " * 10_000 for _ in range(1000))
        json_body = client.post("/v1/datasets", content=endless, headers={"Content-Type": "application/json"})
        assert json_body.status_code == 413


def test_a_length_that_lies_makes_nothing(url: str, app: FastAPI, project: Project, bench: Workbench) -> None:
    head = (
        f"POST /v1/datasets HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {project.secret}\r\n"
        "Content-Type: application/json\r\n"
    )
    body = b'{"name": "lied"}'
    cases = {
        "more than comes": head + f"Content-Length: {len(body) + 50}\r\n\r\n",
        "both ways": head + f"Content-Length: {len(body)}\r\nTransfer-Encoding: chunked\r\n\r\n",
        "twice": head + f"Content-Length: {len(body)}\r\nContent-Length: 3\r\n\r\n",
        "negative": head + "Content-Length: -5\r\n\r\n",
        "no number": head + "Content-Length: many\r\n\r\n",
        "a plus": head + f"Content-Length: +{len(body)}\r\n\r\n",
        "hexadecimal": head + "Content-Length: 0x10\r\n\r\n",
        "beyond all": head + f"Content-Length: {10**40}\r\n\r\n",
        "less than comes": head + "Content-Length: 5\r\n\r\n",
        "an unknown coding": head + "Transfer-Encoding: gzip, chunked, identity\r\n\r\n",
    }
    for name, sent in cases.items():
        answer = spoken(url, sent.encode() + body)
        assert not answer.startswith((b"HTTP/1.1 2", b"HTTP/1.1 5")), (name, answer[:300])
    with httpx2.Client(base_url=url, headers=project.headers) as client:
        assert client.get("/v1/datasets").json()["data"] == []


@pytest.mark.parametrize(
    "line",
    [
        b"GET  / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / \x00HTTP/1.1\r\n\r\n",
        b"GET http://[::1/ HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET //\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / HTTP/1.1\r\nHost: x\r\n folded: y\r\n\r\n",
        b"GET / HTTP/1.1\r\nHo st: x\r\n\r\n",
        b"GET / HTTP/1.1\nHost: x\n\n",
        b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
        b"CONNECT evil.example:443 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhl\r\n\r\n",
    ],
)
def test_what_is_no_proper_request_is_refused_and_forgotten(line: bytes, url: str, project: Project) -> None:
    answer = spoken(url, line)
    assert not answer.startswith((b"HTTP/1.1 5", b"HTTP/1.1 101", b"HTTP/1.1 2")), answer[:200]
    assert b"Traceback" not in answer
    assert well(url, project)


def test_everything_is_given_back_when_the_clients_have_gone(url: str, app: FastAPI, project: Project) -> None:
    httpx2.post(f"{url}/v1/datasets", json={"name": "d"}, headers=project.headers).raise_for_status()
    head = (
        f"PUT /v1/datasets/d/content HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {project.secret}\r\n"
        "Content-Type: application/jsonl\r\nContent-Length: 5000\r\n\r\n{"
    )
    with ExitStack() as stack:
        for _ in range(5):
            stack.enter_context(wire(url)).sendall(head.encode())
        until(lambda: True if app.state.rates.costly._open.get(project.id) == 5 else None)
    until(lambda: True if len(app.state.rates.costly) == 0 else None)
    assert threading.active_count() < 100
