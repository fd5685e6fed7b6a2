"""Opens what is packed (gzip, zstd, a ZIP archive with one file) within bounds, on disk and not in memory.

Must not know what is inside.
"""

from __future__ import annotations

import gzip
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import PurePosixPath
from typing import BinaryIO, Final

from app.datasets.engine.lines import CHUNK_BYTES
from app.datasets.engine.reading.damage import DAMAGED, refused_if_damaged
from app.datasets.engine.reading.how import Bounds
from app.datasets.engine.reading.refusals import RefusedError

MAGIC_BYTES: Final = 512
"""Enough of a file to know how it is packed."""
_GZIP, _ZSTD, _ZIP = b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"PK\x03\x04"
_OTHERS: Final = (
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ\x00", "xz"),
    (b"7z\xbc\xaf\x27\x1c", "7-Zip"),
    (b"Rar!\x1a\x07", "RAR"),
    (b"PK\x05\x06", "empty ZIP"),
)
_TAR_AT: Final = 257
ZSTD_WINDOW_MAX: Final = 128 * 1024 * 1024
"""Bytes that unpacking may keep in memory; what zstd --ultra -22 asks for without --long."""
_WORKBOOK_PART: Final = "[Content_Types].xml"
_NAMES_TOLD: Final = 4
_ENCRYPTED: Final = 0x1


def packing_of(head: bytes) -> str | None:
    """`gzip`, `zstd`, `zip`, another packing that is not opened, or None."""
    for magic, name in ((_GZIP, "gzip"), (_ZSTD, "zstd"), (_ZIP, "zip"), *_OTHERS):
        if head.startswith(magic):
            return name
    return "tar" if head[_TAR_AT : _TAR_AT + 5] == b"ustar" else None


def is_workbook(source: BinaryIO) -> bool:
    """Whether a ZIP archive is an Office document."""
    source.seek(0)
    try:
        with zipfile.ZipFile(source) as archive:
            return _WORKBOOK_PART in archive.namelist()
    except DAMAGED:
        return False


def unpack(source: BinaryIO, packing: str, bounds: Bounds, stack: ExitStack) -> BinaryIO:
    """The one file inside, on disk; `stack` closes and deletes it. Raises `RefusedError`."""
    source.seek(0, 2)
    packed_bytes = source.tell()
    source.seek(0)
    target: BinaryIO = stack.enter_context(tempfile.TemporaryFile())  # noqa: SIM115  the stack closes it
    with _opened(source, packing) as content:
        unpacked = 0
        while chunk := _next_chunk(content, packing):
            unpacked += len(chunk)
            _refuse_bomb(unpacked, packed_bytes, bounds)
            target.write(chunk)
    target.seek(0)
    inside = packing_of(target.read(MAGIC_BYTES))
    target.seek(0)
    if inside is not None and not (inside == "zip" and is_workbook(target)):
        raise RefusedError(
            "archive-refused",
            f"Inside the {packing} file is another packed file ({inside}); only one packing is opened.",
            remedy="Unpack it once, and give what is inside.",
        )
    target.seek(0)
    return target


def _next_chunk(content: BinaryIO, packing: str) -> bytes:
    with refused_if_damaged(f"The {packing} file", code="archive-refused"):
        return content.read(CHUNK_BYTES)


def _refuse_bomb(unpacked: int, packed: int, bounds: Bounds) -> None:
    if unpacked > bounds.unpacked_bytes_max:
        raise RefusedError(
            "archive-refused",
            f"More than {bounds.unpacked_bytes_max:,} bytes come out of the packed file; it was left.",
            remedy="Split the data before you pack it.",
        )
    if unpacked > bounds.unpack_ratio_free_bytes and unpacked > bounds.unpack_ratio_max * max(packed, 1):
        raise RefusedError(
            "archive-refused",
            f"More than {bounds.unpack_ratio_max} times its size comes out of the packed file; it was not opened"
            " further.",
            remedy="Give the file unpacked, if it is what you think.",
        )


@contextmanager
def _opened(source: BinaryIO, packing: str) -> Iterator[BinaryIO]:
    if packing == "gzip":
        with gzip.GzipFile(fileobj=source) as content:
            yield content  # type: ignore[misc]  # it reads like a file
    elif packing == "zstd":
        import zstandard

        opener = zstandard.ZstdDecompressor(max_window_size=ZSTD_WINDOW_MAX)
        try:
            with opener.stream_reader(source, read_across_frames=True, closefd=False) as content:
                yield content
        except zstandard.ZstdError as error:
            raise RefusedError("archive-refused", f"The zstd file is damaged: {error}.") from error
    elif packing == "zip":
        with _only_member(source) as content:
            yield content
    else:
        raise RefusedError(
            "archive-refused",
            f"The file is packed in a way that is not opened: {packing}.",
            remedy="Unpack it first, or pack it with gzip or zstd, or as a ZIP archive with one file.",
        )


@contextmanager
def _only_member(source: BinaryIO) -> Iterator[BinaryIO]:
    with refused_if_damaged("The ZIP archive", code="archive-refused"):
        archive = zipfile.ZipFile(source)
    with archive:
        members = [member for member in archive.infolist() if not _is_noise(member)]
        if len(members) != 1:
            names = ", ".join(member.filename[:60] for member in members[:_NAMES_TOLD])
            raise RefusedError(
                "archive-refused",
                f"The ZIP archive holds {len(members)} files{f' ({names}, …)' if names else ''}; one is read.",
                remedy="Pack the one file that is meant.",
            )
        if members[0].flag_bits & _ENCRYPTED:
            raise RefusedError(
                "archive-refused", "The ZIP archive is encrypted.", remedy="Give it without a password."
            )
        with refused_if_damaged("The ZIP archive", code="archive-refused"):
            content = archive.open(members[0])
        with content:
            yield content  # type: ignore[misc]  # it reads like a file


def _is_noise(member: zipfile.ZipInfo) -> bool:
    """Folders, and what macOS adds."""
    path = PurePosixPath(member.filename)
    return member.is_dir() or path.parts[:1] == ("__MACOSX",) or path.name in {".DS_Store", "Thumbs.db"}
