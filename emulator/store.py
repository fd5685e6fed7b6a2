"""The emulator's memory: documents and journals in one SQLite file, and bytes in files beside it.

It knows no noun of Azure.
"""

import contextlib
import json
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

_DATABASE = "emulator.sqlite"


class Store:
    """Write-through storage; the caller holds the one lock and calls `commit`.

    Without a directory everything rests in a temporary one that is removed by `close`.
    """

    def __init__(self, directory: Path | None) -> None:
        self._temporary = directory is None
        self.directory = Path(tempfile.mkdtemp(prefix="emulator-")) if directory is None else directory
        self.blobs = self.directory / "blobs"
        self.blobs.mkdir(parents=True, exist_ok=True)
        self._snapshots = self.directory / "snapshots"
        self._db = sqlite3.connect(self.directory / _DATABASE, check_same_thread=False, timeout=1)
        try:
            self._open()
        except sqlite3.OperationalError as error:
            raise RuntimeError(
                f"{self.directory} cannot be used: {error}. Is another emulator using it?"
            ) from error

    def _open(self) -> None:
        self._db.executescript(
            """
            pragma locking_mode = exclusive;
            pragma journal_mode = wal;
            pragma synchronous = off;
            create table if not exists document (kind text, key text, body text, primary key (kind, key));
            create table if not exists journal (kind text, key text, position integer, body text,
                                                primary key (kind, key, position));
            """
        )

    def put(self, kind: str, key: str, body: object) -> None:
        """Keep a document; one that is kept already keeps its place in `all`."""
        statement = (
            "insert into document values (?, ?, ?) on conflict (kind, key) do update set body = excluded.body"
        )
        self._db.execute(statement, (kind, key, json.dumps(body)))

    def remove(self, kind: str, key: str) -> None:
        self._db.execute("delete from document where kind = ? and key = ?", (kind, key))

    def all(self, kind: str) -> Iterator[tuple[str, Any]]:
        """Every document of a kind with its key, oldest first."""
        rows = self._db.execute("select key, body from document where kind = ? order by rowid", (kind,))
        for key, body in rows.fetchall():
            yield key, json.loads(body)

    def append(self, kind: str, key: str, position: int, body: object) -> None:
        self._db.execute(
            "insert or replace into journal values (?, ?, ?, ?)", (kind, key, position, json.dumps(body))
        )

    def journal(self, kind: str, key: str) -> list[Any]:
        query = "select body from journal where kind = ? and key = ? order by position"
        return [json.loads(body) for (body,) in self._db.execute(query, (kind, key)).fetchall()]

    def forget(self, key: str) -> None:
        """Drop every journal of one key."""
        self._db.execute("delete from journal where key = ?", (key,))

    def commit(self) -> None:
        self._db.commit()

    def clear(self) -> None:
        """Forget everything."""
        self._db.executescript("delete from document; delete from journal;")
        shutil.rmtree(self.blobs, ignore_errors=True)
        self.blobs.mkdir(parents=True, exist_ok=True)

    def snapshots(self) -> list[str]:
        """Names of everything kept by `keep_as`; `clear` leaves them alone."""
        return sorted(path.name for path in self._snapshots.iterdir()) if self._snapshots.exists() else []

    def keep_as(self, name: str) -> None:
        """Keep all documents, journals and bytes as they are now under a name."""
        self._db.commit()
        target = self._snapshots / name
        shutil.rmtree(target, ignore_errors=True)
        (target / "blobs").mkdir(parents=True)
        with contextlib.closing(sqlite3.connect(target / _DATABASE)) as copy:
            self._db.backup(copy)
        for blob in self.blobs.iterdir():
            _link(blob, target / "blobs" / blob.name)

    def bring_back(self, name: str) -> None:
        """Be as when that name was kept.

        Raises:
            KeyError: there is no such name.
        """
        source = self._snapshots / name
        if name not in self.snapshots():
            raise KeyError(name)
        self._db.commit()
        with contextlib.closing(sqlite3.connect(source / _DATABASE)) as copy:
            copy.backup(self._db)
        shutil.rmtree(self.blobs, ignore_errors=True)
        self.blobs.mkdir(parents=True)
        for blob in (source / "blobs").iterdir():
            _link(blob, self.blobs / blob.name)

    def blob(self, name: str) -> Path:
        """Where the bytes of that name rest, or would."""
        return self.blobs / name

    def write_blob(self, name: str, content: bytes) -> None:
        """Write whole or not at all."""
        partial = self.blobs / f"{name}.partial"
        partial.write_bytes(content)
        partial.replace(self.blobs / name)

    def write_stream(self, name: str, content: BinaryIO) -> int:
        """Write what a stream holds, piece by piece.

        Returns: the number of bytes.
        """
        with (self.blobs / name).open("wb") as target:
            shutil.copyfileobj(content, target, 1 << 20)
            return target.tell()

    def link_blob(self, source: str, name: str) -> None:
        """Give bytes a second name, so that they outlive the first."""
        target = self.blobs / name
        target.unlink(missing_ok=True)
        _link(self.blobs / source, target)

    def drop_blob(self, name: str) -> None:
        (self.blobs / name).unlink(missing_ok=True)

    def close(self) -> None:
        self._db.commit()
        self._db.close()
        if self._temporary:
            shutil.rmtree(self.directory, ignore_errors=True)


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # a file system without hard links
        shutil.copyfile(source, target)
