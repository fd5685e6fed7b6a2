"""Every call that leaves the product goes through the guarded client; nothing else in it can open a connection out."""

import ast
import ipaddress
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import httpx2
import pytest
from scripted_wire import Says, scripted_wire
from servers import ROOT

from app.azure.adapter import azure_guard
from app.bootstrap import open_workbench
from app.connections.schemas import ConnectionCreate
from app.connections.service import ConnectionService
from app.kit.errors import Invalid
from app.kit.safe_http import BlockedAddress, Guard, check_url, guarded_client
from app.settings import Settings

# ── who may open what ───────────────────────────────────────────────────────

OPENERS: Final = {
    "httpx2": {
        "Client",
        "AsyncClient",
        "HTTPTransport",
        "get",
        "post",
        "put",
        "patch",
        "delete",
        "stream",
        "request",
    },
    "openai": {"OpenAI", "AzureOpenAI", "AsyncOpenAI", "AsyncAzureOpenAI"},
    "socket": {"socket", "create_connection"},
}
"""Module → what in it opens a connection, or a client that will."""
FORBIDDEN_MODULES: Final = {
    *("requests", "aiohttp", "httpx", "urllib3", "http.client", "urllib.request", "ftplib", "smtplib", "telnetlib"),
    *("websockets", "websocket", "pycurl", "grpc", "paramiko"),
}
ALLOWED: Final = {
    "app/kit/safe_http.py": "the guarded client itself",
    "app/azure/data_plane.py": "the SDK, which is given the guarded client; see the next test",
    "app/client.py": "the command line's client of Kitae: it goes where its user says",
    "app/cli/demonstration.py": "asks the emulator that it has just started itself",
    "app/cli/mlflow.py": "a person's own command: it goes where they say, from their own machine",
    "app/cli/openai_history.py": "likewise, with their own key, to the account whose history they keep",
}


def opened_in(path: Path) -> Iterator[str]:
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [each.name for each in node.names]
            yield from (
                name for name in names if name in FORBIDDEN_MODULES or name.split(".")[0] in FORBIDDEN_MODULES
            )
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            owner = node.func.value
            if isinstance(owner, ast.Name) and node.func.attr in OPENERS.get(owner.id, ()):
                yield f"{owner.id}.{node.func.attr}"
        if isinstance(node, ast.ImportFrom) and node.module in OPENERS:
            yield from (f"{node.module}.{each.name}" for each in node.names if each.name in OPENERS[node.module])


def test_nothing_else_constructs_a_client() -> None:
    found: dict[str, set[str]] = {}
    for package in ("app", "worker"):
        for path in sorted((ROOT / package).rglob("*.py")):
            for name in opened_in(path):
                found.setdefault(path.relative_to(ROOT).as_posix(), set()).add(name)
    laptop = {
        name: what for name, what in found.items() if what == {"socket.socket"} and name.startswith("app/cli/")
    }
    assert set(found) - set(laptop) == set(ALLOWED), found
    for name in laptop:  # looks for a free port of this machine
        assert not re.search(r"\.connect(_ex)?\(", (ROOT / name).read_text()), name


def test_the_sdk_is_given_the_guarded_client() -> None:
    source = (ROOT / "app/azure/data_plane.py").read_text()
    tree = ast.parse(source)
    made = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in OPENERS["openai"]
    ]
    assert made
    for call in made:
        given = {keyword.arg for keyword in call.keywords}
        assert "http_client" in given or any(keyword.arg is None for keyword in call.keywords), ast.unparse(call)
    assert "guarded_client(" in source


# ── where it may go ─────────────────────────────────────────────────────────


def test_a_connection_to_a_place_inside_is_refused_when_it_is_stored(settings: Settings) -> None:
    inside = [
        "https://169.254.169.254/metadata/instance",
        "https://168.63.129.16/",
        "https://100.100.100.200/",
        "https://[fd00:ec2::254]/",
        "https://[::ffff:a9fe:a9fe]/",
        "https://[64:ff9b::a9fe:a9fe]/",
        "https://[2002:a9fe:a9fe::]/",
        "https://0xa9fea9fe/",
        "https://2852039166/",
        "https://0251.0376.0251.0376/",
        "https://169.254.43518/",
        "https://①⑥⑨.②⑤④.①⑥⑨.②⑤④/",
        "https://localhost:5432/",
        "https://metadata.google.internal/",
        "https://contoso.openai.azure.com.evil.example/",
        "https://contoso.openai.azure.com@169.254.169.254/",
        "https://evil.example#.openai.azure.com",
        "https://evil.example\\.openai.azure.com",
        "http://contoso.openai.azure.com/",
        "https://contoso.openai.azure.com:8443/",
        "gopher://contoso.openai.azure.com/",
    ]
    with open_workbench(settings) as bench:
        for url in inside:
            for field in ("endpoint", "arm_endpoint"):
                body = {"name": "c", "endpoint": "https://contoso.openai.azure.com", "api_key": "k"} | {field: url}
                try:
                    wanted = ConnectionCreate.model_validate(body)
                except ValueError:
                    continue
                with pytest.raises(Invalid) as told:
                    ConnectionService(bench).create("prj_nobodys", wanted)
                assert told.value.code == "url_not_allowed", url


class Names:
    """A resolver whose answers a test writes; an exception is raised."""

    def __init__(self, *answers: list[str] | Exception) -> None:
        self.answers = list(answers)

    def __call__(self, _host: str, _port: int) -> list[str]:
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


def test_a_name_that_did_not_resolve_at_first_is_judged_when_it_does() -> None:
    names = Names(OSError("NXDOMAIN"), ["127.0.0.1"], ["10.0.0.1", "20.50.2.1"], [])
    with guarded_client(azure_guard(), timeout_seconds=2, resolve=names) as client:
        with pytest.raises(httpx2.ConnectError, match="could not be resolved"):
            client.get("https://contoso.openai.azure.com/")
        for _ in range(2):
            with pytest.raises(BlockedAddress):
                client.get("https://contoso.openai.azure.com/")
        with pytest.raises(httpx2.ConnectError, match="no address"):
            client.get("https://contoso.openai.azure.com/")


def test_a_name_that_turns_to_the_inside_days_later_is_refused_at_that_connection() -> None:
    with scripted_wire() as wire:
        port = int(wire.origin.rsplit(":", 1)[1])
        origin = f"http://gateway.corp.example:{port}"
        names = Names(["127.0.0.1"], ["169.254.169.254"])
        wire.will(Says(200, b"ok", headers={"Connection": "close"}))
        with guarded_client(Guard(frozenset({origin})), timeout_seconds=2, resolve=names) as client:
            assert client.get(origin, headers={"api-key": "secret"}).status_code == 200
            with pytest.raises(BlockedAddress):
                client.get(origin, headers={"api-key": "secret"})


@pytest.mark.parametrize(
    "location",
    [
        "http://169.254.169.254/metadata/identity/oauth2/token",
        "https://evil.example/",
        "//evil.example/",
        "file:///etc/passwd",
        "http://localhost:5432/",
        "https://contoso.openai.azure.com.evil.example/",
    ],
)
def test_a_redirect_takes_no_credential_anywhere(location: str) -> None:
    """The answer is handed back as it is; a caller that follows by hand is judged like anybody."""
    with scripted_wire() as wire, guarded_client(azure_guard([wire.origin]), timeout_seconds=2) as client:
        wire.will(*[Says(307, b"", headers={"Location": location})] * 2)
        headers = {"api-key": "canary", "Authorization": "Bearer canary"}
        assert client.post(wire.origin + "/openai/v1/files", headers=headers).status_code == 307
        with pytest.raises((BlockedAddress, httpx2.UnsupportedProtocol)):
            client.post(wire.origin + "/openai/v1/files", headers=headers, follow_redirects=True)
        assert len(wire.asked) == 2, "only the first host was asked, twice"


def test_a_redirect_in_a_circle_ends() -> None:
    with scripted_wire() as wire, guarded_client(azure_guard([wire.origin]), timeout_seconds=2) as client:
        wire.will(*[Says(302, b"", headers={"Location": wire.origin + "/again"})] * 40)
        with pytest.raises(httpx2.TooManyRedirects):
            client.get(wire.origin + "/again", follow_redirects=True)


def test_every_address_form_of_the_metadata_service_is_refused_at_the_socket() -> None:
    target = int(ipaddress.IPv4Address("169.254.169.254"))
    forms = [
        "169.254.169.254",
        str(ipaddress.IPv6Address((0xFFFF << 32) | target)),
        str(ipaddress.IPv6Address(target)),
        str(ipaddress.IPv6Address((0x64FF9B << 96) | target)),
        str(ipaddress.IPv6Address((0x64FF9B << 96) | (1 << 80) | target)),
        str(ipaddress.IPv6Address((0x2002 << 112) | (target << 80))),
        str(ipaddress.IPv6Address((0x20010000 << 96) | (target ^ 0xFFFFFFFF))),
        "fe80::a9fe:a9fe",
        "fe80::1%eth0",
    ]
    for trusted in (False, True):
        origins = frozenset({"https://gateway.corp.example"}) if trusted else frozenset[str]()
        for form in forms:
            with guarded_client(Guard(origins), timeout_seconds=1, resolve=Names([form])) as client:
                host = "gateway.corp.example" if trusted else "contoso.example.com"
                with pytest.raises(BlockedAddress):
                    client.get(f"https://{host}/")


def test_the_service_does_not_call_itself() -> None:
    guard = Guard(own_hosts=frozenset({"kitae.example.com"}))
    for url in ("https://kitae.example.com/v1/jobs", "https://KITAE.example.com/"):
        with pytest.raises(ValueError, match="this service itself"):
            check_url(url, guard)
    check_url("https://other.example.com/", guard)
