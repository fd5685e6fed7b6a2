"""HTTP calls the emulator makes itself: to this machine only, unless a setting lets it go further.

It knows neither files nor jobs. Redirects are not followed, so that nobody can be sent elsewhere.
"""

import http.client
import ipaddress
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final, Literal
from urllib.parse import SplitResult, urlsplit

Reach = Literal["loopback", "any"]

TIMEOUT_SECONDS: Final = 10.0


class NotReachable(Exception):
    """A call that was not made, or failed on its way; the message says why."""


def check(url: str, reach: Reach) -> None:
    """Refuse what may not be called.

    Raises:
        NotReachable: no http or https URL, or one that leads away from this machine.
    """
    _target(url, reach)


def _target(url: str, reach: Reach) -> tuple[SplitResult, str, int]:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError as error:
        raise NotReachable(f"'{url[:200]}' is no URL: {error}") from error
    if parts.scheme not in ("http", "https") or not host:
        raise NotReachable(f"'{url[:200]}' is no http or https URL.")
    try:
        addresses = {str(found[4][0]) for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)}
    except (OSError, UnicodeError) as error:
        raise NotReachable(f"The host '{host[:200]}' is not known: {error}") from error
    if reach == "loopback" and not all(ipaddress.ip_address(address).is_loopback for address in addresses):
        raise NotReachable(
            f"The emulator calls this machine only, and '{host[:200]}' is another; EMULATOR_REACH=any lets it."
        )
    return parts, min(addresses), port


@contextmanager
def _asked(
    method: str, url: str, reach: Reach, body: bytes | None, headers: Mapping[str, str]
) -> Iterator[http.client.HTTPResponse]:
    parts, address, port = _target(url, reach)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    # a checked address must be the one that is called, so plain HTTP connects to it and not to the name again
    connection = kind(parts.hostname or "" if parts.scheme == "https" else address, port, timeout=TIMEOUT_SECONDS)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    try:
        connection.request(method, path, body=body, headers={"Host": parts.netloc.rsplit("@", 1)[-1], **headers})
        yield connection.getresponse()
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise NotReachable(f"{method} {url[:200]} failed: {type(error).__name__}: {error}") from error
    finally:
        connection.close()


def post(url: str, body: bytes, headers: Mapping[str, str], reach: Reach) -> int:
    """Post a body.

    Returns: the status of the answer.

    Raises:
        NotReachable: there was no answer.
    """
    with _asked("POST", url, reach, body, headers) as answer:
        answer.read(65_536)
        return answer.status


def fetch(url: str, limit_bytes: int, reach: Reach) -> bytes:
    """The content of a URL.

    Raises:
        NotReachable: there was no answer, one with another status than 200, or more than `limit_bytes`.
    """
    with _asked("GET", url, reach, None, {}) as answer:
        if answer.status != 200:
            raise NotReachable(f"GET {url[:200]} was answered with {answer.status}.")
        content = answer.read(limit_bytes + 1)
    if len(content) > limit_bytes:
        raise NotReachable(f"The content of {url[:200]} is larger than {limit_bytes} bytes.")
    return content
