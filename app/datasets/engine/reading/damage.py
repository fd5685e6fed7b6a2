"""The one door for what the standard library raises on files that are not what they seem.

Must not know any format.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final
from xml.parsers import expat

from app.datasets.engine.reading.refusals import RefusedError

DAMAGED: Final = (
    zipfile.BadZipFile,  # the directory of an archive, or a checksum
    zlib.error,  # what is packed
    EOFError,  # it ends too early
    OSError,  # gzip.BadGzipFile, and a seek to where an archive says that something is
    ValueError,  # numbers and names in headers that cannot be
    NotImplementedError,  # a packing inside an archive that is not known here
    RuntimeError,  # a password is asked for
    expat.ExpatError,  # the XML of a workbook
)
"""Every kind was met by throwing damaged files at the readers; none of them is a fault of ours."""


@contextmanager
def refused_if_damaged(what: str, *, code: str) -> Iterator[None]:
    """Around reading alone: a fault in writing is no damage of the file.

    Args:
        what: a noun that begins a sentence, such as "The gzip file".
        code: of the finding.
    """
    try:
        yield
    except DAMAGED as error:
        raise RefusedError(code, f"{what} is damaged, or cannot be opened: {error}.") from error
