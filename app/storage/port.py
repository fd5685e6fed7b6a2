"""What the rooms ask of a store of bytes. Keys are made by the service, never by a caller."""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import BinaryIO, Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredObject:
    """One object as it lies in the store."""

    key: str
    bytes: int
    age_seconds: float
    """Since it was last written to."""
    is_partial: bool
    """A write that was never finished; it may also be under way."""


class Storage(Protocol):
    """Immutable objects under server-made keys such as `datasets/dsv_01…/content`."""

    def writer(self, key: str) -> AbstractContextManager[BinaryIO]:
        """Write an object; it appears whole when the context ends well, and not at all otherwise."""
        ...

    def reader(self, key: str) -> AbstractContextManager[BinaryIO]:
        """Read an object from its start; seekable. Raises `MissingObject`."""
        ...

    def size(self, key: str) -> int | None:
        """Bytes, or None when there is no such object."""
        ...

    def share(self, key: str, of: str) -> bool:
        """Let two objects with the same bytes rest in one place, where the store can; each is deleted by itself.

        The caller knows that they are the same. False when nothing has changed: `of` is not there, or this store
        keeps two copies.
        """
        ...

    def delete(self, key: str) -> None:
        """Deleting what is not there is success."""
        ...

    def objects(self) -> Iterator[StoredObject]:
        """Everything in the store, unfinished writes too, in no particular order."""
        ...


class MissingObject(Exception):
    """The row says that the bytes are stored, the store says that they are not."""


class StorageFull(Exception):
    """No room left for the bytes."""
