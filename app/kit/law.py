"""A law of statuses: which may follow which. Pure; rooms hold the tables, `move` obeys them."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, TypeVar

from app.kit.errors import IllegalMove

S = TypeVar("S", bound=StrEnum)


@dataclass(frozen=True, slots=True)
class Law(Generic[S]):
    """The life of one noun.

    Attributes:
        noun: what the thing is called in events (`job` makes `job.running`).
        following: every status with the statuses that may come right after it.
    """

    noun: str
    following: Mapping[S, frozenset[S]]

    @property
    def terminal(self) -> frozenset[S]:
        """Statuses after which nothing follows."""
        return frozenset(status for status, after in self.following.items() if not after)

    def check(self, current: S, wanted: S) -> None:
        """Raise `IllegalMove` unless `wanted` may follow `current`."""
        if wanted not in self.following[current]:
            raise IllegalMove(self.noun, current, wanted)
