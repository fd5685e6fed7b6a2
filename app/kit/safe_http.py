"""An HTTP client for addresses that people gave us: it reaches the public internet and named exceptions only.

It knows nothing of Azure, webhooks or datasets; whoever calls says which origins are exceptions.
"""

import functools
import ipaddress
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import httpcore2
import httpx2

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

Resolve = Callable[[str, int], list[str]]
"""(host, port) → every address the name has, as text, in the order to try; raises OSError."""

CONNECT_TIMEOUT_SECONDS: Final = 10.0
"""A public host that does not accept within ten seconds is down."""

KEEPALIVE_SECONDS: Final = 4.0
"""Below the 5 s after which uvicorn, the shortest of the servers we talk to, closes an idle connection:
a POST sent into a connection that is just being closed would have an unknown outcome."""

MAX_RESPONSE_BYTES: Final = 64 * 1024 * 1024
"""Above any JSON answer that is meant: 100 jobs with a 256 KB grader each are 26 MB."""

UPLOAD_BYTES_PER_SECOND: Final = 1_000_000
"""The slowest line we wait for: a request may last longer by its body at this rate."""

_PIECE_BYTES: Final = 16_384

_V4_DENIED: Final = tuple(
    ipaddress.IPv4Network(block)
    for block in (
        "0.0.0.0/8",  # this network
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # carrier NAT; used by cloud providers for their own services
        "127.0.0.0/8",  # loopback
        "169.254.0.0/16",  # link-local: instance metadata
        "168.63.129.16/32",  # Azure's wire server, a public-looking address inside every VM
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # protocol assignments
        "192.0.2.0/24",  # documentation
        "192.88.99.0/24",  # 6to4 relay
        "192.168.0.0/16",  # private
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved and broadcast
    )
)
"""`ipaddress.is_global` is not used: on Python 3.11 it calls multicast, 192.88.99.0/24 and 168.63.129.16
global. Source: IANA IPv4 special-purpose registry; Microsoft Learn, "What is IP address 168.63.129.16"."""

_V6_PUBLIC: Final = ipaddress.IPv6Network("2000::/3")
_V6_DENIED: Final = tuple(
    ipaddress.IPv6Network(block)
    for block in (
        "2001::/23",  # protocol assignments, among them Teredo and ORCHID
        "2001:db8::/32",  # documentation
        "3fff::/20",  # documentation
    )
)
"""Outside 2000::/3 lie loopback, IPv4-compatible, NAT64 64:ff9b::/96, fc00::/7, fe80::/10, fec0::/10 and
ff00::/8; all are refused. Source: IANA IPv6 special-purpose registry."""

_NEVER: Final = tuple(ipaddress.ip_network(block) for block in ("169.254.0.0/16", "168.63.129.16/32", "fe80::/10"))
"""Metadata services: refused even where an operator allowed the name, because a name can be re-pointed."""

_6TO4: Final = ipaddress.IPv6Network("2002::/16")
_NAT64: Final = (ipaddress.IPv6Network("64:ff9b::/96"), ipaddress.IPv6Network("64:ff9b:1::/48"))
_V4_COMPATIBLE: Final = ipaddress.IPv6Network("::/96")

_PRIVATE_SUFFIXES: Final = (
    ".localhost",
    ".local",
    ".internal",
    ".intranet",
    ".lan",
    ".home",
    ".corp",
    ".home.arpa",
)
_HOST: Final = re.compile(
    r"(?=.{1,253}\Z)(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\Z"
)
_LOOKS_NUMERIC: Final = re.compile(r"(?:\d+|0x[0-9a-f]*)\Z")


@dataclass(frozen=True, slots=True)
class Guard:
    """Where outgoing requests may go.

    Without exceptions: https, port 443, a name whose every address is public.
    """

    allowed_origins: frozenset[str] = frozenset()
    """Exact origins an operator trusts, e.g. `http://127.0.0.1:8111`, `https://gateway.corp.example:8443`.
    They may be http, on any port and on a private address (a private endpoint, an emulator)."""
    host_suffixes: frozenset[str] = frozenset()
    """When not empty, any other host must end in one of these, e.g. `openai.azure.com`: credentials are
    then never sent to a host that a user made up."""
    own_hosts: frozenset[str] = frozenset()
    """Names under which callers reach this service: it never calls itself for somebody."""
    _allowed: frozenset[tuple[str, str, int]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_allowed", frozenset(map(_origin, self.allowed_origins)))

    def allows(self, scheme: str, host: str, port: int) -> bool:
        """True when the operator named exactly this origin."""
        return (scheme, host.lower(), port) in self._allowed

    def allows_address_of(self, host: str, port: int) -> bool:
        """True when the operator named this host and port, so that a private address is meant."""
        return any((host.lower(), port) == (name, number) for _, name, number in self._allowed)


class BlockedAddress(httpx2.ConnectError):
    """The guard refused; no byte was sent."""


class ResponseTooLarge(httpx2.ReadError):
    """The answer was longer than the caller is willing to hold; reading stopped."""


class _Blocked(httpcore2.ConnectError):
    """The same refusal one layer down, where httpcore2's errors are expected."""


def is_public(address: str) -> bool:
    """True when an IP address (text, without brackets) belongs to the public internet.

    An IPv4-mapped address is judged by the IPv4 address in it. The other forms that carry one (compatible,
    6to4, Teredo, NAT64) are refused whatever they carry: no public service is reached by them.

    Raises:
        ValueError: not an IP address.
    """
    ip = ipaddress.ip_address(address)
    if ip.version == 6 and ip.ipv4_mapped is not None:
        return _is_public_v4(ip.ipv4_mapped)
    if isinstance(ip, ipaddress.IPv4Address):
        return _is_public_v4(ip)
    if ip.scope_id is not None or ip not in _V6_PUBLIC or ip in _6TO4:
        return False
    return not any(ip in block for block in _V6_DENIED)


def check_url(url: str, guard: Guard) -> None:
    """Refuses a URL that the guarded client could never fetch; names are not resolved here.

    Raises:
        ValueError: with a sentence for the person who typed it.
    """
    if re.search(r"[\x00-\x20\x7f\\]", url):
        raise ValueError("The URL contains a blank, a control character or a backslash.")
    try:
        parsed = httpx2.URL(url)
        port = parsed.port
    except (httpx2.InvalidURL, ValueError) as exc:
        raise ValueError(f"This is not a URL: {exc}") from None
    scheme, host = parsed.scheme, parsed.raw_host.decode("ascii", "replace").lower()
    if scheme not in {"https", "http"} or not host:
        raise ValueError("The URL must start with https:// and name a host.")
    if parsed.userinfo or re.match(r"[^/?#]*//[^/?#]*@", url):
        raise ValueError("A URL with a user name or password in it is not accepted.")
    if parsed.fragment or "#" in url:
        raise ValueError("A URL with a fragment (#…) is not accepted.")
    if guard.allows(scheme, host, port or _default_port(scheme)):
        return
    if scheme != "https":
        raise ValueError("The URL must start with https://; an http origin must be allowed by the operator.")
    if port not in {None, 443}:
        raise ValueError(f"Port {port} is not accepted; an origin with a port must be allowed by the operator.")
    _check_host(host, guard)


def guarded_client(
    guard: Guard,
    *,
    timeout_seconds: float,
    connect_timeout_seconds: float = CONNECT_TIMEOUT_SECONDS,
    max_response_bytes: int | None = MAX_RESPONSE_BYTES,
    max_connections: int = 20,
    upload_bytes_per_second: int = UPLOAD_BYTES_PER_SECOND,
    verify: ssl.SSLContext | bool = True,
    resolve: Resolve | None = None,
) -> httpx2.Client:
    """A client that follows no redirect, ignores proxy variables and reaches only what the guard permits.

    Args:
        guard: where it may go.
        timeout_seconds: for each wait on the network, and for the whole request from the name's look-up to the
            last byte of the answer, which its own time-out may change. A large body gives it more
            (`upload_bytes_per_second`). Where `max_response_bytes` is None, only until the headers are there.
        connect_timeout_seconds: for the TCP connection over all addresses, and again for TLS.
        max_response_bytes: longer answers raise `ResponseTooLarge`; None = the caller counts, in a stream.
        max_connections: across all hosts of this client.
        upload_bytes_per_second: the slowest a body may go out.
        verify: a context with a company's own certificate authority, or True for the public ones.
        resolve: how names become addresses; the system's resolver when None.
    """
    transport = GuardedTransport(
        guard,
        max_response_bytes=max_response_bytes,
        upload_bytes_per_second=upload_bytes_per_second,
        max_connections=max_connections,
        verify=verify,
        resolve=resolve or system_resolve,
    )
    return httpx2.Client(
        transport=transport,
        trust_env=False,
        follow_redirects=False,
        timeout=httpx2.Timeout(timeout_seconds, connect=min(connect_timeout_seconds, timeout_seconds)),
        headers={"accept-encoding": "identity"},  # a compressed answer could not be capped before unpacking
    )


def system_resolve(host: str, port: int) -> list[str]:
    """Every address of a name, by the system's resolver. It has no time-out of its own."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class GuardedTransport(httpx2.HTTPTransport):
    """httpx2's transport with the guard below it (addresses) and around it (URLs and sizes)."""

    def __init__(
        self,
        guard: Guard,
        *,
        max_response_bytes: int | None,
        upload_bytes_per_second: int,
        max_connections: int,
        verify: ssl.SSLContext | bool,
        resolve: Resolve,
    ) -> None:
        super().__init__(
            verify=_public_authorities() if verify is True else verify,
            trust_env=False,
            limits=httpx2.Limits(
                max_connections=max_connections,
                max_keepalive_connections=max_connections,
                keepalive_expiry=KEEPALIVE_SECONDS,
            ),
        )
        self._guard = guard
        self._max_response_bytes = max_response_bytes
        self._upload_bytes_per_second = upload_bytes_per_second
        self._deadline = _Deadline()
        _install(self, _GuardedBackend(guard, resolve, self._deadline))

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        try:
            check_url(str(request.url.copy_with(fragment=None)), self._guard)
        except ValueError as exc:
            raise BlockedAddress(str(exc), request=request) from None
        until = self._until(request)
        try:
            with self._deadline.at(until):
                response = super().handle_request(request)
        except httpx2.ConnectError as exc:
            if isinstance(exc.__cause__, _Blocked):
                raise BlockedAddress(str(exc), request=request) from None
            raise
        if response.headers.get("content-encoding", "identity").lower() != "identity":
            response.close()
            raise httpx2.ReadError("The server compressed its answer although it was asked not to.")
        if self._max_response_bytes is None:
            return response
        return httpx2.Response(
            status_code=response.status_code,
            headers=response.headers,
            stream=_Capped(response.stream, self._max_response_bytes, self._deadline, until),
            extensions=response.extensions,
        )

    def _until(self, request: httpx2.Request) -> float | None:
        """When the request must be over, by the monotonic clock; None when it was given no time-out."""
        seconds: float | None = request.extensions.get("timeout", {}).get("read")
        if seconds is None:
            return None
        size = request.headers.get("content-length", "")
        return time.monotonic() + seconds + (int(size) / self._upload_bytes_per_second if size.isdigit() else 0.0)


class _Deadline(threading.local):
    """Until when this thread's request may last; a time-out alone starts afresh with every byte that trickles."""

    until: float | None = None

    @contextmanager
    def at(self, until: float | None) -> Iterator[None]:
        before, self.until = self.until, until
        try:
            yield
        finally:
            self.until = before

    def left(self, timeout: float | None, error: type[httpcore2.TimeoutException]) -> float | None:
        """The time-out of one wait, cut to what is left of the whole. Raises `error` when nothing is."""
        if self.until is None:
            return timeout
        left = self.until - time.monotonic()
        if left <= 0:
            raise error("The request as a whole took too long.")
        return left if timeout is None else min(timeout, left)


class _Timed(httpcore2.NetworkStream):
    """A connection whose every wait ends with the request's deadline."""

    def __init__(self, stream: httpcore2.NetworkStream, deadline: _Deadline) -> None:
        self._stream = stream
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, self._deadline.left(timeout, httpcore2.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """In pieces, because the wait for each part of a piece that the other side takes starts afresh."""
        for start in range(0, len(buffer), _PIECE_BYTES):
            left = self._deadline.left(timeout, httpcore2.WriteTimeout)
            self._stream.write(buffer[start : start + _PIECE_BYTES], left)

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore2.NetworkStream:
        left = self._deadline.left(timeout, httpcore2.ConnectTimeout)
        return _Timed(self._stream.start_tls(ssl_context, server_hostname, left), self._deadline)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


class _Capped(httpx2.SyncByteStream):
    """A body that ends with an error when it grows or lasts too long."""

    def __init__(
        self,
        stream: httpx2.SyncByteStream | httpx2.AsyncByteStream,
        max_bytes: int,
        deadline: _Deadline,
        until: float | None,
    ) -> None:
        if not isinstance(stream, httpx2.SyncByteStream):  # a sync transport yields sync streams
            raise TypeError("an asynchronous stream in a synchronous transport")
        self._stream = stream
        self._max_bytes = max_bytes
        self._deadline = deadline
        self._until = until

    def __iter__(self) -> Iterator[bytes]:
        seen_bytes = 0
        chunks = iter(self._stream)
        while True:
            with self._deadline.at(self._until):
                chunk = next(chunks, None)
            if chunk is None:
                return
            seen_bytes += len(chunk)
            if seen_bytes > self._max_bytes:
                raise ResponseTooLarge(f"The answer is longer than {self._max_bytes:,} bytes.")
            yield chunk

    def close(self) -> None:
        self._stream.close()


class _GuardedBackend(httpcore2.SyncBackend):
    """Looks a name up once, judges every address, and connects to an address it has judged.

    There is no second look-up between the check and the connection, so a name that changes its address
    in between (rebinding) gains nothing. TLS and the Host header still see the name.
    """

    def __init__(self, guard: Guard, resolve: Resolve, deadline: _Deadline) -> None:
        self._guard = guard
        self._resolve = resolve
        self._deadline = deadline

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.NetworkStream:
        try:
            addresses = self._resolve(host, port)
        except (OSError, UnicodeError) as exc:
            raise httpcore2.ConnectError(f"The name {host} could not be resolved: {exc}") from None
        self._judge(host, port, addresses)
        deadline = None if timeout is None else time.monotonic() + timeout
        failure: httpcore2.ConnectError | httpcore2.ConnectTimeout = httpcore2.ConnectError(
            f"The name {host} has no address."
        )
        for address in addresses:
            left = None if deadline is None else max(0.05, deadline - time.monotonic())
            try:
                connected = super().connect_tcp(address, port, left, local_address, socket_options)
                return _Timed(connected, self._deadline)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as exc:
                failure = exc
        raise failure

    def _judge(self, host: str, port: int, addresses: list[str]) -> None:
        """One bad address spoils the name: which of them is used is otherwise the attacker's choice."""
        trusted = self._guard.allows_address_of(host, port)
        for address in addresses:
            try:
                fine = _is_reachable(address) if trusted else is_public(address)
            except ValueError:
                fine = False
            if not fine:
                raise _Blocked(f"{host} leads to {address}, which is not a public address.")


@functools.cache
def _public_authorities() -> ssl.SSLContext:
    """One context for every client: loading the certificates takes 30 ms and some megabytes."""
    return httpx2.create_ssl_context(verify=True, trust_env=False)


def _install(transport: httpx2.HTTPTransport, backend: _GuardedBackend) -> None:
    """Puts our connector under httpx2's pool.

    httpx2 has no public way in; both names are asserted here, so that an upgrade that renames them stops
    the service at its first client instead of silently removing the guard.
    """
    pool = getattr(transport, "_pool", None)
    if not isinstance(pool, httpcore2.ConnectionPool) or not hasattr(pool, "_network_backend"):
        raise RuntimeError("httpx2 changed its inner names; app.kit.safe_http must be adapted before use")
    pool._network_backend = backend  # noqa: SLF001  # see above: asserted, and covered by a test


def _check_host(host: str, guard: Guard) -> None:
    bare = host.removeprefix("[").removesuffix("]")
    try:
        public = is_public(bare)
    except ValueError:
        pass
    else:
        if not public or guard.host_suffixes:
            raise ValueError(f"{bare} is not an address this service may call.")
        return
    if _LOOKS_NUMERIC.match(host.rsplit(".", 1)[-1]):
        raise ValueError(f"{host} is an IP address in an unusual spelling; it is not accepted.")
    if not _HOST.match(host):
        raise ValueError(f"{host} is not a host name.")
    if "." not in host or host.endswith(_PRIVATE_SUFFIXES):
        raise ValueError(f"{host} is a name of a private network; it must be allowed by the operator.")
    if host in guard.own_hosts:
        raise ValueError(f"{host} is this service itself.")
    suffixes = guard.host_suffixes
    if suffixes and not any(host == suffix or host.endswith(f".{suffix}") for suffix in suffixes):
        expected = ", ".join(f"*.{suffix}" for suffix in sorted(suffixes))
        raise ValueError(f"{host} is none of {expected}; other hosts must be allowed by the operator.")


def _origin(origin: str) -> tuple[str, str, int]:
    try:
        url = httpx2.URL(origin)
    except httpx2.InvalidURL as exc:
        raise ValueError(f"{origin!r} is not an origin: {exc}") from None
    exact = url.scheme in {"http", "https"} and url.host and url.raw_path in {b"/", b""}
    if not exact or url.userinfo or url.fragment or url.query:
        raise ValueError(f"{origin!r} is not an origin; write scheme, host and port, nothing else.")
    return url.scheme, url.raw_host.decode("ascii").lower(), url.port or _default_port(url.scheme)


def _default_port(scheme: str) -> int:
    return 443 if scheme == "https" else 80


def _is_public_v4(ip: ipaddress.IPv4Address) -> bool:
    return not any(ip in block for block in _V4_DENIED)


def _is_reachable(address: str) -> bool:
    ip = ipaddress.ip_address(address)
    return not any(
        candidate in block
        for candidate in (ip, *_carried(ip))
        for block in _NEVER
        if block.version == candidate.version
    )


def _carried(ip: Address) -> list[ipaddress.IPv4Address]:
    """The IPv4 addresses an IPv6 address smuggles."""
    if isinstance(ip, ipaddress.IPv4Address):
        return []
    inner = [ip.ipv4_mapped, ip.sixtofour, *(ip.teredo or ())]
    if any(ip in block for block in _NAT64) or ip in _V4_COMPATIBLE:
        inner.append(ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF))
    return [address for address in inner if address is not None]
