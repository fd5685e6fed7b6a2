"""The lives of a dataset version, of an upload in parts and of a fetch."""

from enum import StrEnum
from typing import Final

from app.kit.law import Law


class VersionStatus(StrEnum):
    """Where a version stands; its bytes never change, only what we know of them."""

    CHECKING = "checking"
    """Stored whole; a worker reads it. A crash here only means that it is read again."""
    READY = "ready"
    """Azure would take it."""
    REJECTED = "rejected"
    """Azure would refuse it; the findings say where and what to do."""


VERSION_LAW: Final = Law(
    "dataset.version",
    {
        VersionStatus.CHECKING: frozenset({VersionStatus.READY, VersionStatus.REJECTED}),
        VersionStatus.READY: frozenset(),
        VersionStatus.REJECTED: frozenset(),
    },
)


class UploadStatus(StrEnum):
    """Where an upload in parts stands. One whose time is over stays `receiving` here and is told as expired."""

    RECEIVING = "receiving"
    """Parts may come, in any order, each as often as it takes."""
    COMPLETED = "completed"
    """Its parts became a version."""
    CANCELLED = "cancelled"
    """The caller gave it up."""


UPLOAD_LAW: Final = Law(
    "dataset.upload",
    {
        UploadStatus.RECEIVING: frozenset({UploadStatus.COMPLETED, UploadStatus.CANCELLED}),
        UploadStatus.COMPLETED: frozenset(),
        UploadStatus.CANCELLED: frozenset(),
    },
)


class FetchStatus(StrEnum):
    """Where a fetch from a source stands."""

    FETCHING = "fetching"
    """A worker brings the bytes; a crash or a broken line only means that it goes on where it was."""
    FETCHED = "fetched"
    """Its bytes became a version."""
    FAILED = "failed"
    """The source refuses, or does not answer; the error says what to do."""
    CANCELLED = "cancelled"
    """The caller gave it up."""


class TransformStatus(StrEnum):
    """Where a change of a version stands."""

    RUNNING = "running"
    """A worker applies the operations; a crash only means that they are applied again, to the same bytes."""
    DONE = "done"
    """It made versions; they are checked like any other."""
    FAILED = "failed"
    """An operation has no meaning for these rows, or leaves none; the error says which and why."""
    CANCELLED = "cancelled"
    """The caller gave it up."""


TRANSFORM_LAW: Final = Law(
    "dataset.transform",
    {
        TransformStatus.RUNNING: frozenset(
            {TransformStatus.DONE, TransformStatus.FAILED, TransformStatus.CANCELLED}
        ),
        TransformStatus.DONE: frozenset(),
        TransformStatus.FAILED: frozenset(),
        TransformStatus.CANCELLED: frozenset(),
    },
)


FETCH_LAW: Final = Law(
    "dataset.fetch",
    {
        FetchStatus.FETCHING: frozenset({FetchStatus.FETCHED, FetchStatus.FAILED, FetchStatus.CANCELLED}),
        FetchStatus.FETCHED: frozenset(),
        FetchStatus.FAILED: frozenset(),
        FetchStatus.CANCELLED: frozenset(),
    },
)
