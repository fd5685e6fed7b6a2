"""Reads Parquet files in batches, through a DuckDB that may open nothing else.

Must not know what a column means.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from shutil import copyfileobj
from typing import Any, BinaryIO, Final
from uuid import UUID

from app.datasets.engine.lines import CHUNK_BYTES
from app.datasets.engine.reading.how import Bounds
from app.datasets.engine.reading.refusals import RefusedError
from app.datasets.engine.reading.tables import Row

MAGIC: Final = b"PAR1"
_BATCH_ROWS: Final = 256


class ParquetFile:
    """A Parquet file with its columns; its rows are read once."""

    def __init__(self, source: BinaryIO, bounds: Bounds, stack: ExitStack) -> None:
        import duckdb

        self._error = duckdb.Error
        path = _path_of(source, stack)
        quoted = path.replace("'", "''")
        try:
            self._connection = stack.enter_context(
                duckdb.connect(
                    ":memory:",
                    config={
                        "autoinstall_known_extensions": "false",
                        "autoload_known_extensions": "false",
                        "memory_limit": f"{bounds.duckdb_memory_mebibytes}MiB",
                        "threads": "1",
                        "temp_directory": "",
                    },
                )
            )
            self._connection.execute(f"SET allowed_paths=['{quoted}']")
            self._connection.execute("SET enable_external_access=false")
            self._connection.execute("SET lock_configuration=true")
            self._answer = self._connection.execute("SELECT * FROM read_parquet([?])", [path])
            self.columns = tuple(str(column[0]) for column in self._answer.description or ())
        except duckdb.Error as error:
            raise self._refused(error) from error
        if len(self.columns) > bounds.columns_max:
            raise RefusedError("table-error", f"The Parquet file has {len(self.columns):,} columns.")

    def rows(self) -> Iterator[Row]:
        """Row after row, counted from 1. Raises `RefusedError`."""
        number = 0
        while True:
            try:
                batch = self._answer.fetchmany(_BATCH_ROWS)
            except self._error as error:
                raise self._refused(error) from error
            if not batch:
                return
            for cells in batch:
                number += 1
                yield Row(number, dict(zip(self.columns, map(_value, cells), strict=True)), len(cells))

    @staticmethod
    def _refused(error: Exception) -> RefusedError:
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        return RefusedError("table-error", f"The Parquet file cannot be read: {reason}")


def _path_of(source: BinaryIO, stack: ExitStack) -> str:
    """Of a copy that has a name of our own making: names given by others could be patterns."""
    folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="kitae-"))
    path = os.path.join(folder, "rows.parquet")  # noqa: PTH118  a text is wanted
    source.seek(0)
    with open(path, "wb") as copy:  # noqa: PTH123  a text is there
        copyfileobj(source, copy, CHUNK_BYTES)
    return path


def _value(cell: Any) -> Any:
    """As JSON has it. Members of objects that are null are left out: Parquet writes every member in every row."""
    if cell is None or isinstance(cell, str | bool | int | float):
        return cell
    if isinstance(cell, dict):
        return {str(key): _value(item) for key, item in cell.items() if item is not None}
    if isinstance(cell, list | tuple):
        return [_value(item) for item in cell]
    if isinstance(cell, datetime | date | time):
        return cell.isoformat()
    if isinstance(cell, Decimal):
        return int(cell) if cell == cell.to_integral_value() else float(cell)
    if isinstance(cell, bytes | bytearray | memoryview):
        return f"({len(cell):,} bytes)"
    if isinstance(cell, UUID | timedelta):
        return str(cell)
    return str(cell)
