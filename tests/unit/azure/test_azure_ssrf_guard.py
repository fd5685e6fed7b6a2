"""Where the guarded client goes and where it does not."""

import contextlib
import ipaddress
import socket
import ssl
import threading
from collections.abc import Iterator

import httpcore2
import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scripted_wire import Says, scripted_wire

from app.azure.adapter import azure_guard
from app.kit import safe_http
from app.kit.safe_http import BlockedAddress, Guard, check_url, guarded_client, is_public

OPEN = Guard()

NOT_PUBLIC = [
    "0.0.0.0", "0.1.2.3", "10.0.0.1", "100.64.0.1", "100.127.255.254", "127.0.0.1", "127.255.255.255",
    "168.63.129.16", "169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.8", "192.0.2.1",
    "192.88.99.1", "192.168.1.1", "198.18.0.1", "198.19.255.255", "198.51.100.7", "203.0.113.9",
    "224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255", "::", "::1", "::7f00:1",
    "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:169.254.169.254", "::ffff:0:127.0.0.1", "::8.8.8.8",
    "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b::8.8.8.8", "64:ff9b:1::1", "100::1", "2001::1",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2", "2001:10::1", "2001:20::1", "2001:db8::1", "2002:7f00:1::",
    "2002:a9fe:a9fe::", "2002:808:808::", "3fff::1", "5f00::1", "fc00::1", "fd00:ec2::254", "fe80::1",
    "fe80::1%eth0", "2606:4700::1%eth0", "fec0::1", "ff02::1", "ff0e::1",
]  # fmt: skip

PUBLIC = [
    "1.1.1.1", "8.8.8.8", "20.50.2.1", "100.63.255.255", "100.128.0.0", "168.63.129.15", "168.63.129.17",
    "169.253.255.255", "172.15.255.255", "172.32.0.0", "192.167.255.255", "198.17.255.255", "198.20.0.0",
    "223.255.255.255", "2606:4700::1111", "2603:1030::1", "2a00:1450:4001::1", "2001:200::1",
    "::ffff:8.8.8.8",
]  # fmt: skip


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_an_address_that_is_not_the_public_internet_is_known_as_such(address: str):
    assert not is_public(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_is_known_as_such(address: str):
    assert is_public(address)


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_wrapped_in_ipv6_is_never_more_public_than_bare(address: ipaddress.IPv4Address):
    number = int(address)
    wrapped = {
        "mapped": ipaddress.IPv6Address((0xFFFF << 32) | number),
        "compatible": ipaddress.IPv6Address(number),
        "nat64": ipaddress.IPv6Address((0x64FF9B << 96) | number),
        "6to4": ipaddress.IPv6Address((0x2002 << 112) | (number << 80)),
        "teredo": ipaddress.IPv6Address((0x20010000 << 96) | (number ^ 0xFFFFFFFF)),
    }
    for form, inner in wrapped.items():
        assert is_public(str(address)) or not is_public(str(inner)), form


@given(st.ip_addresses())
def test_what_we_call_public_python_calls_global_too(address: ipaddress.IPv4Address | ipaddress.IPv6Address):
    assert not is_public(str(address)) or address.is_global


REFUSED_URLS = [
    "http://example.com/",
    "ftp://example.com/",
    "file:///etc/passwd",
    "//example.com/",
    "example.com",
    "",
    "https://",
    "https:///path",
    "https://user@example.com/",
    "https://user:pw@example.com/",
    "https://@example.com/",
    "https://openai.azure.com@evil.example/",
    "https://evil.example#.openai.azure.com",
    "https://example.com/#fragment",
    "https://example.com/#",
    "https://example.com\\@evil.example/",
    "https://example.com /",
    "https://example.com/\r\nHost: evil",
    "https://example.com/\x00",
    "https://example.com:8443/",
    "https://example.com:80/",
    "https://example.com:0/",
    "https://example.com:99999999/",
    "https://localhost/",
    "https://LOCALHOST/",
    "https://a.localhost/",
    "https://db/",
    "https://printer.local/",
    "https://metadata.google.internal/",
    "https://x.home.arpa/",
    "https://127.0.0.1/",
    "https://127.1/",
    "https://127.0.1/",
    "https://0177.0.0.1/",
    "https://0x7f.0.0.1/",
    "https://0x7f000001/",
    "https://2130706433/",
    "https://017700000001/",
    "https://1.2.3.4.5/",
    "https://300.1.1.1/",
    "https://①②⑦.0.0.1/",
    "https://127。0。0。1/",
    "https://example.com./",
    "https://.example.com/",
    "https://a..example.com/",
    "https://-a.example.com/",
    "https://exa%6dple.com/",
    "https://[::1]/",
    "https://[::ffff:127.0.0.1]/",
    "https://[::ffff:7f00:1]/",
    "https://[64:ff9b::7f00:1]/",
    "https://[fe80::1%25eth0]/",
    "https://[2606:4700::1%25eth0]/",
    "https://[not-an-address]/",
    "https://[::1",
    f"https://{'a' * 64}.example.com/",
    f"https://{'a.' * 130}com/",
]


@pytest.mark.parametrize("url", REFUSED_URLS)
def test_a_url_that_can_never_be_fetched_is_refused_with_a_sentence(url: str):
    with pytest.raises(ValueError, match=r"\.$|URL|address|host|accepted"):
        check_url(url, OPEN)


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com",
        "https://example.com:443/a?b=c%20d",
        "https://EXAMPLE.com/",
        "https://bücher.example/",
        "https://a_b.example.com/x",
        "https://8.8.8.8/",
        "https://[2606:4700::1111]/",
    ],
)
def test_an_ordinary_url_passes(url: str):
    check_url(url, OPEN)


@pytest.mark.parametrize(
    "url",
    [
        "https://openai.azure.com.evil.example/",
        "https://evilopenai.azure.com.example/",
        "https://xopenai.azure.com/",
        "https://evil.example/?x=.openai.azure.com",
        "https://evil.example/.openai.azure.com",
        "https://8.8.8.8/",
        "https://name.azure-api.net/",
    ],
)
def test_a_host_that_only_looks_like_azures_gets_no_credential(url: str):
    with pytest.raises(ValueError, match=r"allowed by the operator|may call"):
        check_url(url, azure_guard())


@pytest.mark.parametrize(
    "url",
    [
        "https://name.openai.azure.com",
        "https://name.cognitiveservices.azure.com/",
        "https://name.services.ai.azure.com/api/projects/p",
        "https://management.azure.com",
    ],
)
def test_azures_own_hosts_pass(url: str):
    check_url(url, azure_guard())


def test_an_allowed_origin_is_allowed_exactly():
    guard = azure_guard(["http://127.0.0.1:8111", "https://gateway.corp:8443", "https://[fd00::5]"])
    for fine in (
        "http://127.0.0.1:8111/x",
        "https://gateway.corp:8443/",
        "HTTPS://GATEWAY.corp:8443",
        "https://[fd00::5]/",
    ):
        check_url(fine, guard)
    for other in (
        "https://127.0.0.1:8111/",
        "http://127.0.0.1:8112/",
        "http://127.0.0.1/",
        "http://localhost:8111/",
        "https://gateway.corp/",
        "http://gateway.corp:8443/",
        "http://user@127.0.0.1:8111/",
    ):
        with pytest.raises(ValueError, match=r"."):
            check_url(other, guard)


@pytest.mark.parametrize("origin", ["127.0.0.1:8111", "http://a/path", "ftp://a", "http://a?b", "http://u@a", ""])
def test_an_exception_that_is_not_an_origin_is_refused_when_it_is_set(origin: str):
    with pytest.raises(ValueError, match="not an origin"):
        Guard(frozenset({origin}))


def test_the_private_names_we_reach_into_are_still_there():
    with guarded_client(OPEN, timeout_seconds=1) as client:
        pool = client._transport._pool
        assert isinstance(pool, httpcore2.ConnectionPool)
        assert isinstance(pool._network_backend, safe_http._GuardedBackend)
        assert client._mounts == {}, "a proxy would go around the guard"
        assert client.follow_redirects is False
        assert client.trust_env is False


def test_a_renamed_inside_of_httpx2_stops_us_instead_of_removing_the_guard():
    transport = httpx2.HTTPTransport(trust_env=False)
    del transport._pool
    with pytest.raises(RuntimeError, match="must be adapted"):
        safe_http._install(
            transport, safe_http._GuardedBackend(OPEN, safe_http.system_resolve, safe_http._Deadline())
        )


def test_proxy_variables_are_ignored(monkeypatch: pytest.MonkeyPatch):
    with scripted_wire() as proxy, scripted_wire() as wire:
        monkeypatch.setenv("HTTP_PROXY", proxy.origin)
        monkeypatch.setenv("ALL_PROXY", proxy.origin)
        wire.will(Says(200, b"direct"))
        with guarded_client(Guard(frozenset({wire.origin})), timeout_seconds=2) as client:
            assert client.get(wire.origin + "/").content == b"direct"
        assert proxy.asked == []


class Names:
    """A resolver that a test writes; each look-up takes the next answer."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    def __call__(self, host: str, port: int) -> list[str]:
        self.asked.append(host)
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


@pytest.mark.parametrize(
    "addresses",
    [
        ["127.0.0.1"],
        ["8.8.8.8", "127.0.0.1"],
        ["8.8.8.8", "::1"],
        ["169.254.169.254"],
        ["not an address"],
        ["fe80::1%eth0"],
    ],
)
def test_one_address_that_is_not_public_spoils_the_name(addresses: list[str]):
    with guarded_client(OPEN, timeout_seconds=1, resolve=Names(addresses)) as client, pytest.raises(BlockedAddress):
        client.get("https://rebinding.example.com/")


def test_a_name_that_changes_its_address_between_two_requests_is_judged_again():
    with scripted_wire() as wire:
        port = int(wire.origin.rsplit(":", 1)[1])
        guard = Guard(frozenset({f"http://emulator.example.com:{port}"}))
        names = Names(["127.0.0.1"], ["169.254.169.254"])
        wire.will(Says(200, b"first", headers={"Connection": "close"}))
        with guarded_client(guard, timeout_seconds=2, resolve=names) as client:
            assert client.get(f"http://emulator.example.com:{port}/").content == b"first"
            with pytest.raises(BlockedAddress):
                client.get(f"http://emulator.example.com:{port}/")
        assert len(wire.asked) == 1


def test_a_name_is_looked_up_once_for_one_connection_and_connected_by_address():
    with scripted_wire() as wire:
        port = int(wire.origin.rsplit(":", 1)[1])
        origin = f"http://only-in-the-stub.example.com:{port}"
        names = Names(["127.0.0.1"], ["8.8.8.8"])
        wire.will(Says(200, b"ok"))
        with guarded_client(Guard(frozenset({origin})), timeout_seconds=2, resolve=names) as client:
            client.get(f"{origin}/")
        assert names.asked == ["only-in-the-stub.example.com"]
        assert wire.asked[0].headers["host"] == f"only-in-the-stub.example.com:{port}"


def test_the_next_address_is_tried_when_one_does_not_answer():
    with scripted_wire() as wire:
        port = int(wire.origin.rsplit(":", 1)[1])
        origin = f"http://two.example.com:{port}"
        wire.will(Says(200, b"ok"))
        names = Names(["127.0.0.77", "127.0.0.1"])  # nothing listens on the first
        with guarded_client(Guard(frozenset({origin})), timeout_seconds=2, resolve=names) as client:
            assert client.get(f"{origin}/").content == b"ok"


@pytest.mark.parametrize("metadata", ["169.254.169.254", "168.63.129.16", "fe80::1", "::ffff:169.254.169.254"])
def test_an_allowed_name_still_does_not_lead_to_a_metadata_service(metadata: str):
    origin = "https://gateway.corp.example"
    client = guarded_client(Guard(frozenset({origin})), timeout_seconds=1, resolve=Names([metadata]))
    with client, pytest.raises(BlockedAddress):
        client.get(origin)


def test_a_name_that_cannot_be_resolved_is_a_connection_error():
    def nothing(host: str, port: int) -> list[str]:
        raise OSError("no such name")

    with guarded_client(OPEN, timeout_seconds=1, resolve=nothing) as client, pytest.raises(httpx2.ConnectError):
        client.get("https://nowhere.example.com/")


def test_a_redirect_is_handed_to_the_caller_and_a_forced_one_is_judged():
    with scripted_wire() as wire:
        wire.will(Says(302, b"", headers={"Location": "http://169.254.169.254/latest"}))
        with guarded_client(Guard(frozenset({wire.origin})), timeout_seconds=2) as client:
            assert client.get(wire.origin + "/").status_code == 302
            with pytest.raises(BlockedAddress):
                client.get(wire.origin + "/", follow_redirects=True)


def test_tls_still_asks_for_the_name_and_not_for_the_address():
    seen: list[str | None] = []
    server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_side.sni_callback = lambda _socket, name, _context: seen.append(name)
    with safe_listener(server_side) as port:
        origin = f"https://named.example.com:{port}"
        client = guarded_client(Guard(frozenset({origin})), timeout_seconds=2, resolve=Names(["127.0.0.1"]))
        with client, pytest.raises(httpx2.ConnectError):
            client.get(origin)  # the server has no certificate; the name was already sent
    assert seen == ["named.example.com"]


@contextlib.contextmanager
def safe_listener(context: ssl.SSLContext) -> Iterator[int]:
    """A TLS server that only takes the greeting; yields its port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def greet() -> None:
            connection, _ = listener.accept()
            with contextlib.suppress(OSError), context.wrap_socket(connection, server_side=True):
                pass

        thread = threading.Thread(target=greet, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        thread.join(5)
