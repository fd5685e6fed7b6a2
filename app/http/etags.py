"""ETags and the conditions that callers attach to them (RFC 9110 §8.8 and §13)."""

import hashlib
from typing import Annotated

from fastapi import Header, Request

from app.kit.errors import Stale


def etag_of(marker: str) -> str:
    """A strong ETag from a marker of the row's state (`app.kit.markers`)."""
    return f'"{marker}"'


def content_etag(body: bytes) -> str:
    """A strong ETag from the answer itself, where no row's marker stands for it."""
    return f'"{hashlib.sha256(body).hexdigest()[:32]}"'


def _tags(header: str) -> list[str]:
    return [tag.strip() for tag in header.split(",")]


def is_known(request: Request, etag: str) -> bool:
    """Whether the caller already has this (If-None-Match; weak comparison)."""
    header = request.headers.get("if-none-match")
    if header is None or request.method not in {"GET", "HEAD"}:
        return False
    return header.strip() == "*" or etag in {tag.removeprefix("W/") for tag in _tags(header)}


class Precondition:
    """`If-Match`: change the thing only while it is what the caller has read.

    Pass `check` to the service; it calls it with the row's marker inside its transaction.
    """

    def __init__(
        self,
        if_match: Annotated[
            str | None, Header(description="ETag of the state you have read; another one answers 412.")
        ] = None,
    ) -> None:
        self._wanted = if_match

    def check(self, current: str) -> None:
        """Raise `Stale` unless the marker is one the caller named (strong comparison)."""
        if self._wanted is None or self._wanted.strip() == "*":
            return
        if etag_of(current) not in _tags(self._wanted):
            raise Stale(
                "It has changed since you read it.", hint=f"Read it again; its ETag is now {etag_of(current)}."
            )
