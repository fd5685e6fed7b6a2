"""A bundle: records of runs and the data they saw, in one ZIP archive that proves its own content. Pure.

The archive is not compressed, so the same runs make the same bytes everywhere, nothing in it can unfold into more
than it is, and the content of a dataset can be handed on as it is read.

    manifest.json                 which members there are, how large, and the SHA-256 of each
    runs/<run>/run.json, …        the documents of each run
    data/<sha256>.jsonl           the content of a dataset version, once, whichever runs saw it
"""

import hashlib
import io
import re
import stat
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, BinaryIO, Final, cast

import orjson

from app.exports.record import Record, document

FORMAT: Final = "kitae-bundle"
EDITION: Final = 1
MANIFEST: Final = "manifest.json"
CHUNK_BYTES: Final = 1 << 20
MEMBERS_MAX: Final = 20_000
DOCUMENT_BYTES_MAX: Final = 64 << 20
"""Of one document; a results file of Azure's may be as large."""
_NAME: Final = re.compile(
    r"manifest\.json|runs/[A-Za-z0-9][A-Za-z0-9._-]{0,99}/[a-z_]{1,40}\.(?:json|jsonl|csv|md)|data/[0-9a-f]{64}\.jsonl"
)
_DATE: Final = (1980, 1, 1, 0, 0, 0)
"""The earliest that a ZIP archive can hold: the time of packing is nobody's business and would change the bytes."""

Open = Callable[[], AbstractContextManager[BinaryIO]]


class BundleRefused(ValueError):
    """The archive is not taken; the text says which member and why."""


@dataclass(frozen=True, slots=True)
class Content:
    """The bytes of a dataset version, to be read when its turn comes."""

    sha256: str
    bytes: int
    open: Open


@dataclass(frozen=True, slots=True)
class Bundle:
    """An archive whose every byte has been verified."""

    records: Mapping[str, Record]
    """By the name of the run in the archive."""
    contents: Mapping[str, Content]
    """By SHA-256."""
    sha256: str
    """Of the manifest: names the whole."""


def pack(records: Mapping[str, Record], contents: Sequence[Content] = ()) -> Iterator[bytes]:
    """The archive, piece by piece.

    Raises:
        BundleRefused: a content is not what its hash says; what was handed on is then no archive.
    """
    documents = {
        f"runs/{run}/{name}": content
        for run, record in records.items()
        for name, content in record.documents.items()
    }
    data = {f"data/{content.sha256}.jsonl": content for content in contents}
    members = {
        name: _proof(len(content), hashlib.sha256(content).hexdigest()) for name, content in documents.items()
    }
    members |= {name: _proof(content.bytes, content.sha256) for name, content in data.items()}
    manifest = document({"format": FORMAT, "edition": EDITION, "runs": sorted(records), "members": members})
    sink = _Sink()
    with zipfile.ZipFile(cast("BinaryIO", sink), "w", zipfile.ZIP_STORED) as archive:
        for name, content in [(MANIFEST, manifest), *sorted(documents.items())]:
            archive.writestr(_info(name), content)
            yield sink.take()
        for name, one in sorted(data.items()):
            digest = hashlib.sha256()
            with archive.open(_info(name), "w", force_zip64=True) as member, one.open() as source:
                while chunk := source.read(CHUNK_BYTES):
                    digest.update(chunk)
                    member.write(chunk)
                    yield sink.take()
            if digest.hexdigest() != one.sha256:
                raise BundleRefused(f"{name} is not what its name says.")
    yield sink.take()


def _proof(size: int, sha256: str) -> dict[str, Any]:
    return {"bytes": size, "sha256": sha256}


def _info(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, _DATE)
    info.create_system = 3  # Unix, so that the mode below is read
    info.external_attr = (stat.S_IFREG | 0o644) << 16
    return info


class _Sink(io.RawIOBase):
    """Takes what the archive writes and gives it away; it cannot seek, so the archive never goes back."""

    def __init__(self) -> None:
        super().__init__()
        self._held = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, content: Any) -> int:
        self._held += content
        return len(content)

    def take(self) -> bytes:
        taken = bytes(self._held)
        self._held.clear()
        return taken


def unpack(file: BinaryIO, *, data_bytes_max: int) -> Bundle:
    """Verify an archive whole; nothing of one that is not sound is given out.

    Args:
        data_bytes_max: of one dataset's content.

    Raises:
        BundleRefused: it is no bundle, or not the one that its manifest describes.
    """
    size = file.seek(0, 2)
    file.seek(0)
    try:
        archive = zipfile.ZipFile(file)
        infos = _members(archive, size, data_bytes_max)
        manifest = _manifest(archive)
        _verify(archive, infos, manifest)
    except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError, RuntimeError, OverflowError) as error:
        raise BundleRefused(f"The archive is damaged: {error}.") from None
    runs: dict[str, dict[str, bytes]] = {}
    contents: dict[str, Content] = {}
    for name, info in infos.items():
        kind, _, rest = name.partition("/")
        if kind == "runs":
            run, _, inner = rest.partition("/")
            runs.setdefault(run, {})[inner] = archive.read(info)
        elif kind == "data":
            sha256 = rest.removesuffix(".jsonl")
            contents[sha256] = Content(sha256, info.file_size, _opener(archive, info))
    if sorted(runs) != manifest["runs"]:
        raise BundleRefused("The manifest names other runs than the archive holds.")
    digest = hashlib.sha256(archive.read(MANIFEST)).hexdigest()
    return Bundle({run: Record(documents) for run, documents in runs.items()}, contents, digest)


def _opener(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Open:
    return lambda: cast("AbstractContextManager[BinaryIO]", archive.open(info))


def _members(archive: zipfile.ZipFile, size: int, data_bytes_max: int) -> dict[str, zipfile.ZipInfo]:
    """By name; each is plain, stored as it is, and of a size it may have."""
    listed = archive.infolist()
    if len(listed) > MEMBERS_MAX:
        raise BundleRefused(f"The archive has {len(listed):,} members; {MEMBERS_MAX:,} is the most.")
    found: dict[str, zipfile.ZipInfo] = {}
    for info in listed:
        name = info.filename
        if not _NAME.fullmatch(name):
            raise BundleRefused(f"{name[:80]!r} is no name that a bundle has.")
        if name in found:
            raise BundleRefused(f"{name} is there twice.")
        if info.is_dir() or stat.S_IFMT(info.external_attr >> 16) not in {0, stat.S_IFREG}:
            raise BundleRefused(f"{name} is no plain file.")
        if info.flag_bits & 0x1 or info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size:
            raise BundleRefused(f"{name} is compressed or encrypted; a bundle's members are stored as they are.")
        most = data_bytes_max if name.startswith("data/") else DOCUMENT_BYTES_MAX
        if info.file_size > most:
            raise BundleRefused(f"{name} has {info.file_size:,} bytes; {most:,} is the most.")
        found[name] = info
    if sum(info.file_size for info in listed) > size:
        raise BundleRefused("The members overlap: they claim more bytes than the archive has.")
    if MANIFEST not in found:
        raise BundleRefused(f"There is no {MANIFEST}: this is no bundle.")
    return found


def _manifest(archive: zipfile.ZipFile) -> dict[str, Any]:
    try:
        manifest = orjson.loads(archive.read(MANIFEST))
    except orjson.JSONDecodeError as error:
        raise BundleRefused(f"{MANIFEST} cannot be read: {error}.") from None
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise BundleRefused(f"{MANIFEST} is not that of a bundle.")
    if manifest.get("edition") != EDITION:
        raise BundleRefused(f"The bundle is of edition {manifest.get('edition')!r}; this release reads {EDITION}.")
    if not isinstance(manifest.get("members"), dict) or not isinstance(manifest.get("runs"), list):
        raise BundleRefused(f"{MANIFEST} lists no members.")
    return manifest


def _verify(archive: zipfile.ZipFile, infos: Mapping[str, zipfile.ZipInfo], manifest: Mapping[str, Any]) -> None:
    described = manifest["members"]
    if set(described) != set(infos) - {MANIFEST}:
        odd = sorted(set(described) ^ (set(infos) - {MANIFEST}))
        raise BundleRefused(f"Manifest and archive differ: {', '.join(odd[:4])}.")
    for name, info in infos.items():
        if name == MANIFEST:
            continue
        digest = hashlib.sha256()
        with archive.open(info) as member:
            while chunk := member.read(CHUNK_BYTES):
                digest.update(chunk)
        if described[name] != _proof(info.file_size, digest.hexdigest()):
            raise BundleRefused(f"{name} is not what the manifest says it is.")
        if name.startswith("data/") and name != f"data/{digest.hexdigest()}.jsonl":
            raise BundleRefused(f"{name} is not what its name says.")
