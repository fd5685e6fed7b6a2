"""Objects as plain files below one directory. It must be shared by every process that reads them."""

import contextlib
import errno
import os
import re
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

from app.storage.port import MissingObject, StorageFull, StoredObject

_KEY: Final = re.compile(r"[a-z0-9_-]+(/[a-z0-9_.-]+)+")
_PARTIAL: Final = ".part-"
_NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class LocalStorage:
    """Files under `root`, written beside their place and moved there when they are whole and on disk."""

    def __init__(self, root: Path) -> None:
        self._root = root.resolve()
        self._root.mkdir(parents=True, exist_ok=True)

    def _path(self, key: str) -> Path:
        if not _KEY.fullmatch(key) or ".." in key:
            raise ValueError(f"{key!r} is not a storage key")
        return self._root / key

    @contextmanager
    def writer(self, key: str) -> Iterator[BinaryIO]:
        """See the port. Raises `StorageFull` when the disk is."""
        path = self._path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=_PARTIAL)
        try:
            with os.fdopen(handle, "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(path)
        except OSError as error:
            if error.errno in _NO_ROOM:
                raise StorageFull(str(error)) from error
            raise
        finally:
            with contextlib.suppress(FileNotFoundError):
                Path(name).unlink()

    @contextmanager
    def reader(self, key: str) -> Iterator[BinaryIO]:
        try:
            file = self._path(key).open("rb")
        except FileNotFoundError as error:
            raise MissingObject(key) from error
        with file:
            yield file

    def size(self, key: str) -> int | None:
        try:
            return self._path(key).stat().st_size
        except FileNotFoundError:
            return None

    def share(self, key: str, of: str) -> bool:
        """See the port. By hard links, which count themselves: nothing else has to know who shares with whom."""
        path, other = self._path(key), self._path(of)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=_PARTIAL)
        os.close(handle)
        try:
            Path(name).unlink()
            os.link(other, name)
            Path(name).replace(path)
        except OSError:  # no such object, another file system, or one without links
            return False
        finally:
            with contextlib.suppress(FileNotFoundError):
                Path(name).unlink()
        return True

    def delete(self, key: str) -> None:
        self._path(key).unlink(missing_ok=True)

    def objects(self) -> Iterator[StoredObject]:
        """See the port. What disappears while it is looked at is left out."""
        now = time.time()
        waiting = [self._root]
        while waiting:
            directory = waiting.pop()
            with os.scandir(directory) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(Path(entry.path))
                        continue
                    try:
                        seen = entry.stat(follow_symlinks=False)
                    except FileNotFoundError:
                        continue
                    yield StoredObject(
                        key=Path(entry.path).relative_to(self._root).as_posix(),
                        bytes=seen.st_size,
                        age_seconds=max(0.0, now - seen.st_mtime),
                        is_partial=entry.name.startswith(_PARTIAL),
                    )
