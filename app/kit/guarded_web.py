"""The open web through the guard: every hop of a redirect is judged as if a person had typed it."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final
from urllib.parse import urlsplit

import httpx2

from app.kit.safe_http import BlockedAddress, Guard, check_url, guarded_client
from app.kit.web import WebAnswer, WebRefused, WebTrouble

REDIRECTS_MAX: Final = 5
"""A file has a redirect or two to its store; more is a circle."""
_MOVED: Final = frozenset({301, 302, 303, 307, 308})


class GuardedWeb:
    """`Web` by our own guarded client. Safe to share between threads."""

    def __init__(self, guard: Guard, *, timeout_seconds: float) -> None:
        self._guard = guard
        self._client = guarded_client(guard, timeout_seconds=timeout_seconds, max_response_bytes=None)

    def check(self, url: str) -> None:
        check_url(url, self._guard)

    def close(self) -> None:
        self._client.close()

    @contextmanager
    def get(self, url: str, *, headers: Mapping[str, str], private: Mapping[str, str]) -> Iterator[WebAnswer]:
        first = _origin(url)
        for _ in range(REDIRECTS_MAX + 1):
            sent = dict(headers) | (dict(private) if _origin(url) == first else {})
            response = self._open(url, sent)
            try:
                target = response.headers.get("location") if response.status_code in _MOVED else None
                if target is None:
                    yield WebAnswer(
                        status=response.status_code,
                        headers={name.lower(): value for name, value in response.headers.items()},
                        origin=_origin(url),
                        chunks=_chunks(response),
                    )
                    return
                url = self._judged(url, target)
            finally:
                response.close()
        raise WebRefused(f"It redirects more than {REDIRECTS_MAX} times.")

    def _open(self, url: str, headers: Mapping[str, str]) -> httpx2.Response:
        refused = trouble = ""
        try:
            return self._client.send(self._client.build_request("GET", url, headers=headers), stream=True)
        except BlockedAddress:  # its words name the address, which is nobody's business outside
            refused = f"{urlsplit(url).hostname} does not lead to a public address."
        except httpx2.HTTPError as error:
            trouble = _words(error)
        if refused:
            raise WebRefused(refused)
        raise WebTrouble(trouble)

    def _judged(self, url: str, target: str) -> str:
        """Where a redirect leads. Source: RFC 9110 §10.2.2 (Location may be relative, and may carry a fragment)."""
        try:
            found = str(httpx2.URL(url).join(target).copy_with(fragment=None))
        except (httpx2.InvalidURL, ValueError):
            raise WebRefused("It redirects to what is no URL.") from None
        if urlsplit(url).scheme == "https" and urlsplit(found).scheme != "https":
            raise WebRefused("It redirects from https to an unprotected address.")
        try:
            check_url(found, self._guard)
        except ValueError as error:
            raise WebRefused(f"It redirects to where this service may not go: {error}") from None
        return found


def _chunks(response: httpx2.Response) -> Iterator[bytes]:
    trouble = ""
    try:
        yield from response.iter_raw()
    except httpx2.HTTPError as error:
        trouble = _words(error)
    if trouble:
        raise WebTrouble(trouble)


def _words(error: httpx2.HTTPError) -> str:
    """Without the request, whose URL may be signed."""
    if isinstance(error, httpx2.TimeoutException):
        return "It did not answer in time."
    if isinstance(error, httpx2.ConnectError):
        return f"It cannot be reached: {str(error)[:200]}"
    return f"The line broke: {str(error)[:200] or type(error).__name__}"


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
