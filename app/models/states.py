"""The life of a copy of a model to another resource, as law."""

from enum import StrEnum
from typing import Final

from app.kit.law import Law


class CopyStatus(StrEnum):
    """Our word; Azure's is kept beside it in `remote_status`."""

    REQUESTED = "requested"
    """Azure is, or is about to be, asked to copy. Its own list of copies is looked at before every asking, so a
    crash here only means looking again."""
    COPYING = "copying"
    """Azure lists the copy as under way."""
    READY = "ready"
    """It can be deployed on the destination, under the name it has at home."""
    FAILED = "failed"
    """Azure refused, or could not. Asking for the copy once more begins it anew."""


COPY_LAW: Final = Law(
    "model_copy",
    {
        CopyStatus.REQUESTED: frozenset({CopyStatus.COPYING, CopyStatus.READY, CopyStatus.FAILED}),
        CopyStatus.COPYING: frozenset({CopyStatus.READY, CopyStatus.FAILED}),
        CopyStatus.READY: frozenset(),
        CopyStatus.FAILED: frozenset({CopyStatus.REQUESTED}),
    },
)
