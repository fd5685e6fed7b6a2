"""The tree of everything a room can say no with; doors translate `kind` to a status, rooms name the fact.

KitaeError
├── Invalid        the request itself is wrong, field by field
├── NotFound       no such thing in this project
├── Conflict       right request, wrong moment
├── Forbidden      the key may not do this
├── TooLarge       more than a limit allows
├── Stale          the thing changed since it was read (If-Match)
└── Unready        something this needs is away for the moment
"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldError:
    """One thing that is wrong, and where."""

    detail: str
    code: str
    pointer: str | None = None
    """RFC 6901 into the request's body."""
    parameter: str | None = None
    """Name of a query or path parameter."""
    header: str | None = None


class KitaeError(Exception):
    """Something a caller did, or met, that it can act on.

    Attributes:
        code: stable word for programs.
        detail: what is wrong, for people.
        hint: what to do about it.
    """

    code = "error"

    def __init__(
        self,
        detail: str,
        *,
        code: str | None = None,
        hint: str = "",
        errors: Sequence[FieldError] = (),
        retry_after_seconds: int | None = None,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.code = code or type(self).code
        self.hint = hint
        self.errors = tuple(errors)
        self.retry_after_seconds = retry_after_seconds


class Invalid(KitaeError):
    code = "invalid_request"


class NotFound(KitaeError):
    code = "not_found"


class Conflict(KitaeError):
    code = "conflict"


class Forbidden(KitaeError):
    code = "forbidden"


class TooLarge(KitaeError):
    code = "content_too_large"


class Stale(KitaeError):
    code = "precondition_failed"


class Unready(KitaeError):
    code = "unavailable"


class NoRoom(KitaeError):
    """The disk for data is full: a person must make room."""

    code = "storage_full"


class IllegalMove(Conflict):
    """A thing was asked to move where its life does not lead."""

    code = "illegal_state"

    def __init__(self, noun: str, current: str, wanted: str) -> None:
        super().__init__(f"A {noun} that is {current} cannot become {wanted}.")
