"""What rooms ask of the open web: one guarded GET, its redirects judged hop by hop. It knows no HTTP library."""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class WebAnswer:
    """An answer whose body is still to be read."""

    status: int
    headers: Mapping[str, str]
    """Names in lower case."""
    origin: str
    """Who answered in the end, such as `https://cdn.example`; nothing of its path, which may be signed."""
    chunks: Iterator[bytes]
    """Raises `WebTrouble` when the line breaks."""


class Web(Protocol):
    """The public web, and the origins that an operator allows."""

    def check(self, url: str) -> None:
        """Raises ValueError, in words, for a URL that may never be called; names are not resolved here."""
        ...

    def get(
        self, url: str, *, headers: Mapping[str, str], private: Mapping[str, str]
    ) -> AbstractContextManager[WebAnswer]:
        """The answer, after redirects; it is closed with the context.

        Args:
            private: headers that go to the URL's own origin only, never along with a redirect to another.

        Raises:
            WebTrouble: nobody answered; another time may be better.
            WebRefused: the URL, or one it leads to, may not be called, or leads in circles.
        """
        ...

    def close(self) -> None: ...


class WebTrouble(Exception):
    """No whole answer came. The message names no URL."""


class WebRefused(Exception):
    """It will never be called. The message names no more of a URL than its host."""
