"""Reads one sheet of an XLSX workbook, which is held in memory and therefore bounded.

Must not know what a column means.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from itertools import chain, islice
from typing import Any, BinaryIO, Final
from xml.parsers import expat

from app.datasets.engine.reading.damage import refused_if_damaged
from app.datasets.engine.reading.how import Bounds
from app.datasets.engine.reading.refusals import RefusedError
from app.datasets.engine.reading.tables import Row

_CELL: Final = re.compile(r"([A-Z]{1,3})([0-9]{1,7})\Z")
_READ_BYTES: Final = 1 << 20
_SHEETS_TOLD: Final = 10
_SHEET_PART: Final = re.compile(r"xl/worksheets/[^/]+\.xml\Z", re.IGNORECASE)
_HEADER_ROWS_LOOKED_AT: Final = 20


@dataclass(frozen=True, slots=True)
class Sheet:
    """A sheet with its header and the rows below it."""

    name: str
    others: tuple[str, ...]
    """Names of the sheets that are not read."""
    columns: tuple[str, ...]
    rows: Iterator[Row]


def sheet_of(source: BinaryIO, wanted: str | None, bounds: Bounds) -> Sheet:
    """The sheet of that name, or the first that is visible and has a row. Raises `RefusedError`."""
    _refuse_too_large(source, bounds)
    source.seek(0)
    try:
        return _opened(source, wanted, bounds)
    except RefusedError:
        raise
    except BaseException as error:  # a panic of the Rust library is no Exception
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        raise RefusedError("table-error", f"The workbook cannot be read: {str(error)[:200]}.") from None


def _opened(source: BinaryIO, wanted: str | None, bounds: Bounds) -> Sheet:
    from python_calamine import CalamineWorkbook

    book = CalamineWorkbook.from_filelike(source)
    names = list(book.sheet_names)
    if wanted is not None and wanted not in names:
        told = ", ".join(names[:_SHEETS_TOLD])
        raise RefusedError(
            "table-error", f"The workbook has no sheet {wanted!r}; it has {told}.", remedy="Name one of them."
        )
    for name in [wanted] if wanted is not None else names:
        sheet = book.get_sheet_by_name(name)
        if sheet.total_height * max(sheet.total_width, 1) > bounds.workbook_cells_max:
            raise _too_many(bounds)
        rows = enumerate(sheet.iter_rows(), 1)
        head = list(islice(rows, _HEADER_ROWS_LOOKED_AT))
        at = next((at for at, (_, cells) in enumerate(head) if any(cell != "" for cell in cells)), None)
        if at is None:
            continue
        columns = _columns(head[at][1])
        if len(columns) > bounds.columns_max:
            raise RefusedError("table-error", f"The sheet {name!r} has {len(columns):,} columns.")
        others = tuple(other for other in names if other != name)
        return Sheet(name, others, columns, _rows(chain(head[at + 1 :], rows), columns))
    raise RefusedError("table-error", "No sheet of the workbook holds a row.")


def _columns(cells: list[Any]) -> tuple[str, ...]:
    names: list[str] = []
    for at, cell in enumerate(cells, 1):
        name = str(_value(cell)).strip() or str(at)
        names.append(f"{name} ({at})" if name in names else name)
    return tuple(names)


def _rows(rows: Iterator[tuple[int, list[Any]]], columns: tuple[str, ...]) -> Iterator[Row]:
    for number, cells in rows:
        if any(cell != "" for cell in cells):
            pairs = zip(columns, map(_value, cells), strict=False)
            named = {name: value for name, value in pairs if value != "" or not name.isdigit()}
            yield Row(number, named, len(columns))


def _value(cell: Any) -> Any:
    """As a spreadsheet shows it: 3 and not 3.0; a date in ISO 8601."""
    if isinstance(cell, float) and cell.is_integer() and abs(cell) < 2**53:
        return int(cell)
    if isinstance(cell, datetime) and cell.time() == time():
        return cell.date().isoformat()
    if isinstance(cell, date | time):
        return cell.isoformat()
    if isinstance(cell, timedelta):
        return str(cell)
    return cell


# ── bounds ──────────────────────────────────────────────────────────────────


def _refuse_too_large(source: BinaryIO, bounds: Bounds) -> None:
    """Sizes, and the corners of every sheet: a sheet of two cells far apart would be laid out in full."""
    source.seek(0, 2)
    size = source.tell()
    if size > bounds.workbook_bytes_max:
        raise _too_large(f"The workbook has {size:,} bytes; {bounds.workbook_bytes_max:,} are read.")
    source.seek(0)
    with refused_if_damaged("The workbook", code="table-error"), zipfile.ZipFile(source) as archive:
        unpacked = sum(member.file_size for member in archive.infolist())
        if unpacked > bounds.workbook_unpacked_bytes_max:
            raise _too_large(
                f"The workbook unpacks to {unpacked:,} bytes; {bounds.workbook_unpacked_bytes_max:,} are read."
            )
        for member in archive.infolist():
            if _SHEET_PART.match(member.filename):
                with archive.open(member) as content:
                    _measure(content, bounds)


def _measure(content: Any, bounds: Bounds) -> None:
    corners = _Corners()
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.StartElementHandler = corners.take
    while chunk := content.read(_READ_BYTES):
        parser.Parse(chunk, False)
        if corners.cells > bounds.workbook_cells_max:
            raise _too_many(bounds)


class _Corners:
    """The rectangle from the first cell of the sheet to the farthest that was seen."""

    def __init__(self) -> None:
        self._last_row = self._last_column = 0
        self._seen = 0

    @property
    def cells(self) -> int:
        return max(self._seen, self._last_row * self._last_column)

    def take(self, name: str, attributes: dict[str, str]) -> None:
        if name.rpartition(" ")[2] != "c":
            return
        self._seen += 1
        match = _CELL.match(attributes.get("r", "").upper())
        if match is None:
            return
        column = 0
        for letter in match[1]:
            column = column * 26 + ord(letter) - 64
        self._last_row = max(self._last_row, int(match[2]))
        self._last_column = max(self._last_column, column)


def _too_many(bounds: Bounds) -> RefusedError:
    return _too_large(f"A sheet spans more than {bounds.workbook_cells_max:,} cells.")


def _too_large(message: str) -> RefusedError:
    return RefusedError(
        "table-error", message, remedy="Export the sheet as CSV: that is read row by row, whatever its size."
    )
