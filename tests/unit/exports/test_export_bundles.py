"""Archives of runs: the same bytes for the same runs, and nothing taken that is not sound."""

import hashlib
import io
import stat
import zipfile
from collections.abc import Callable
from contextlib import AbstractContextManager, contextmanager
from typing import Any, BinaryIO, cast

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.exports.bundle import Bundle, BundleRefused, Content, pack, unpack
from app.exports.record import RUN, Record, RecordRefused, document, lines_of

FACTS: dict[str, Any] = {
    "origin": "kitae",
    "id": "mdl_1",
    "name": "travel",
    "status": "succeeded",
    "base_model": "gpt-4.1-mini",
    "method": "supervised",
}
RECORD = Record({RUN: document(FACTS), "points.jsonl": lines_of([{"step": 1, "train_loss": 2.0}])})


def content_of(text: bytes) -> Content:
    @contextmanager
    def opened() -> Any:
        yield io.BytesIO(text)

    opener = cast("Callable[[], AbstractContextManager[BinaryIO]]", opened)
    return Content(hashlib.sha256(text).hexdigest(), len(text), opener)


def packed(records: dict[str, Record] | None = None, *contents: Content) -> bytes:
    return b"".join(pack(records or {"mdl_1": RECORD}, contents))


def opened(archive: bytes) -> Bundle:
    return unpack(io.BytesIO(archive), data_bytes_max=1000)


@given(
    texts=st.lists(st.binary(max_size=300), max_size=3, unique=True),
    names=st.lists(st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True), min_size=1, max_size=3),
)
def test_what_was_packed_comes_out_as_it_was_and_packs_to_the_same_bytes(
    texts: list[bytes], names: list[str]
) -> None:
    records = dict.fromkeys(names, RECORD)
    contents = [content_of(text) for text in texts]
    archive = packed(records, *contents)
    found = opened(archive)
    assert found.records == records
    assert set(found.contents) == {content.sha256 for content in contents}
    again = b"".join(pack(found.records, list(found.contents.values())))
    assert again == archive


def rewritten(change: Callable[[dict[str, bytes], dict[str, Any]], None], **options: Any) -> bytes:
    """The archive with members changed, and a manifest that describes them as they are."""
    with zipfile.ZipFile(io.BytesIO(packed())) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    manifest = orjson.loads(members.pop("manifest.json"))
    change(members, manifest)
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", **options) as archive:
        archive.writestr("manifest.json", orjson.dumps(manifest))
        for name, content in members.items():
            archive.writestr(name, content)
    return target.getvalue()


def added(name: str, content: bytes = b"{}") -> bytes:
    def change(members: dict[str, bytes], manifest: dict[str, Any]) -> None:
        members[name] = content
        manifest["members"][name] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}

    return rewritten(change)


@pytest.mark.parametrize(
    "name", ["../run.json", "/etc/passwd", "runs/../x/run.json", "runs/a/b/c.json", "runs\\a\\run.json", "runs/a/"]
)
def test_a_member_with_a_name_that_leads_elsewhere_is_refused(name: str) -> None:
    with pytest.raises(BundleRefused, match="no name that a bundle has"):
        opened(added(name))


def test_compressed_members_are_refused_so_that_nothing_can_unfold() -> None:
    bomb = rewritten(lambda _members, _manifest: None, compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(BundleRefused, match="stored as they are"):
        opened(bomb)


def test_a_symbolic_link_is_refused() -> None:
    target = io.BytesIO(packed())
    with zipfile.ZipFile(target, "a") as archive:
        link = zipfile.ZipInfo("runs/mdl_1/link.json")
        link.create_system, link.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(BundleRefused, match="no plain file"):
        unpack(target, data_bytes_max=1000)


def test_members_that_share_their_bytes_are_refused() -> None:
    archive = bytearray(packed({"mdl_1": RECORD}, content_of(b"x" * 900)))
    with zipfile.ZipFile(io.BytesIO(archive)) as listed:
        data = next(info for info in listed.infolist() if info.filename.startswith("data/"))
    at = archive.rindex(data.filename.encode()) - 46
    entry = bytes(archive[at : at + 46 + len(data.filename)])
    twin = entry.replace(data.filename.encode(), f"data/{'0' * 64}.jsonl".encode())
    archive[at:at] = twin * 1
    with pytest.raises(BundleRefused):
        opened(bytes(archive))


def test_a_member_that_the_manifest_does_not_name_is_refused() -> None:
    target = io.BytesIO(packed())
    with zipfile.ZipFile(target, "a") as archive:
        archive.writestr("runs/mdl_1/more.json", "{}")
    with pytest.raises(BundleRefused, match="differ"):
        unpack(target, data_bytes_max=1000)


def test_content_beyond_what_a_dataset_may_hold_is_refused() -> None:
    with pytest.raises(BundleRefused, match="1,000 is the most"):
        opened(packed({"mdl_1": RECORD}, content_of(b"x" * 1001)))


def test_content_that_is_not_what_its_name_says_is_refused() -> None:
    with pytest.raises(BundleRefused, match="not what its name says"):
        opened(added(f"data/{'a' * 64}.jsonl", b"other"))


@pytest.mark.parametrize("archive", [b"", b"PK", b"no archive at all", packed()[:-30]])
def test_what_is_no_archive_is_refused_in_words(archive: bytes) -> None:
    with pytest.raises(BundleRefused, match=r"damaged|no bundle"):
        opened(archive)


def test_another_edition_is_refused_by_its_number() -> None:
    def newer(_members: dict[str, bytes], manifest: dict[str, Any]) -> None:
        manifest["edition"] = 99

    with pytest.raises(BundleRefused, match="edition 99"):
        opened(rewritten(newer))


@pytest.mark.parametrize(
    ("change", "said"),
    [({"method": "sorcery"}, "method"), ({"id": "../x"}, "id"), ({"trained_tokens": -1}, "trained_tokens")],
)
def test_facts_that_are_none_are_refused_by_their_place(change: dict[str, Any], said: str) -> None:
    with pytest.raises(RecordRefused, match=said):
        Record({RUN: document(FACTS | change)}).check()


def test_a_document_that_cannot_be_read_is_refused_by_its_name() -> None:
    with pytest.raises(RecordRefused, match=r"events\.jsonl"):
        Record({RUN: document(FACTS), "events.jsonl": b"{}\n{oops\n"}).check()
