"""The emulator's memory: documents and journals come back as they were; bytes outlive a second name."""

from io import BytesIO
from pathlib import Path

import pytest

from emulator.examples import BadFile, check
from emulator.store import Store


def test_documents_and_journals_come_back_after_reopening(tmp_path: Path):
    store = Store(tmp_path)
    store.put("job", "b", {"n": 1})
    store.put("job", "a", {"n": "二"})
    store.put("job", "b", {"n": 3})
    for position, line in enumerate(["x", "y", "z"], start=1):
        store.append("event", "a", position, line)
    store.close()
    again = Store(tmp_path)
    assert dict(again.all("job")) == {"b": {"n": 3}, "a": {"n": "二"}}
    assert again.journal("event", "a") == ["x", "y", "z"]
    again.forget("a")
    again.remove("job", "b")
    assert (again.journal("event", "a"), [key for key, _ in again.all("job")]) == ([], ["a"])
    again.close()


def test_bytes_stay_under_their_second_name(tmp_path: Path):
    store = Store(tmp_path)
    assert store.write_stream("first", BytesIO(b"content")) == 7
    store.link_blob("first", "second")
    store.drop_blob("first")
    assert store.blob("second").read_bytes() == b"content"
    assert not store.blob("first").exists()
    store.close()


def test_clear_forgets_documents_and_bytes(tmp_path: Path):
    store = Store(tmp_path)
    store.put("job", "a", 1)
    store.write_blob("bytes", b"x")
    store.clear()
    assert list(store.all("job")) == []
    assert list(store.blobs.iterdir()) == []
    store.close()


def test_a_directory_serves_one_store_at_a_time(tmp_path: Path):
    first = Store(tmp_path)
    first.put("job", "a", 1)
    first.commit()
    with pytest.raises(RuntimeError, match="another emulator"):
        Store(tmp_path)
    first.close()
    again = Store(tmp_path)
    assert dict(again.all("job")) == {"a": 1}
    again.close()


def test_a_temporary_store_leaves_nothing():
    store = Store(None)
    directory = store.directory
    assert directory.exists()
    store.close()
    assert not directory.exists()


def test_examples_are_counted_and_the_first_bad_line_is_named(tmp_path: Path):
    path = tmp_path / "train.jsonl"
    good = '{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}\n'
    path.write_text(good * 11)
    assert check(path, 10) == 11
    path.write_text(good * 4 + "\n" + '{"messages": []}\n' + good * 10)
    with pytest.raises(BadFile, match="line 6: it must have a non-empty list"):
        check(path, 10)
