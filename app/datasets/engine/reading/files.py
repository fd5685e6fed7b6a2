"""Takes a file for what it is, says why, and reads it as JSON Lines.

Must not know the rules that rows are checked by.
"""

from __future__ import annotations

import codecs
import shlex
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from io import BytesIO
from itertools import islice
from typing import Any, BinaryIO, Final

import orjson

from app.datasets.engine.findings import Ranges
from app.datasets.engine.json_rows import parse, write
from app.datasets.engine.kinds import KINDS, RESULT_COLUMNS, kind_of
from app.datasets.engine.lines import BOM
from app.datasets.engine.reading.decoding import as_utf_8, encoding_of, suggestion
from app.datasets.engine.reading.documents import (
    Record,
    array_in_file,
    array_inside,
    keys_of_arrays,
    objects,
)
from app.datasets.engine.reading.how import CONTAINERS, LAYOUTS, Bounds, How
from app.datasets.engine.reading.layouts import NATIVE, Layout, is_pair, kind_in, layout_of, missing_columns
from app.datasets.engine.reading.origin import Origin, Unit
from app.datasets.engine.reading.packed import MAGIC_BYTES, is_workbook, packing_of, unpack
from app.datasets.engine.reading.parquet import MAGIC as PARQUET
from app.datasets.engine.reading.parquet import ParquetFile
from app.datasets.engine.reading.refusals import RefusedError, finding
from app.datasets.engine.reading.tables import Row, dialect_of, rows_of
from app.datasets.engine.reading.workbooks import sheet_of
from app.datasets.engine.report import Finding, Method

HEAD_BYTES: Final = 256 * 1024
"""Looked at to tell what a file is."""
SAMPLE_ROWS: Final = 50
"""Looked at to tell what its rows are."""
_PIECE_BYTES: Final = 256 * 1024
"""Of written lines handed on together."""
_NAMES_TOLD: Final = 12
_NAME_CHARACTERS: Final = 60
_ROW_KEYS: Final = frozenset(
    [
        "messages",
        "conversations",
        "conversation",
        "dialog",
        "dialogue",
        "chosen",
        "rejected",
        "history",
        "chat_history",
        "tools",
        "functions",
        "turns",
        "instances",
        "prompt",
        "completion",
        "preferred_output",
        "non_preferred_output",
        "input",
        "inputs",
        "images",
        "documents",
        "body",
    ]
)
"""Arrays under these keys belong to one row; under any other, they may be the rows."""
_WRAPPERS: Final = ("data", "rows", "examples", "items", "records", "train", "dataset", "instances")


@dataclass(frozen=True, slots=True)
class Told:
    """What a file was taken for, and why."""

    detected: str
    """The layout of its rows, or the kind of table; a word of `kinds.KINDS`."""
    container: str
    """`jsonl`, `json`, `csv`, `tsv`, `xlsx` or `parquet`."""
    reason: str
    """One sentence."""
    packing: str | None = None
    encoding: str = "utf-8"
    left_out: tuple[str, ...] = ()
    """Columns that became nothing."""
    unit: Unit = "line"
    converted: bool = False
    sheet: str | None = None
    """Of a workbook: the one that was read."""

    def to_json(self) -> dict[str, Any]:
        return {
            "detected": self.detected,
            "container": self.container,
            "reason": self.reason,
            "packing": self.packing,
            "encoding": self.encoding,
            "left_out": [name[:_NAME_CHARACTERS] for name in self.left_out[:_NAMES_TOLD]],
            "unit": self.unit,
            "converted": self.converted,
            "sheet": self.sheet,
        }


@dataclass(slots=True)
class Reading:
    """A file as JSON Lines. `findings` is whole once `content` was read to its end."""

    told: Told
    content: BinaryIO | Iterable[bytes]
    """The file itself where it is JSON Lines already; what is written otherwise."""
    origin: Origin = field(default_factory=Origin)
    findings: list[Finding] = field(default_factory=list)
    """About the file as it was given; findings about rows are the check's."""
    refused: bool = False
    """Nothing was read; the findings say why."""


@contextmanager
def opened(
    source: BinaryIO,
    how: How | None = None,
    *,
    method: Method | None = None,
    bounds: Bounds | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> Iterator[Reading]:
    """Any file as JSON Lines. No content raises; only reading and writing do.

    Args:
        source: an open file that can be read from any place.
        how: what the caller says of it; what is not said is found out.
        method: what a model will be trained by, where that is known: it decides what an answer becomes.
        bounds: how much is taken on.
        on_progress: called with the bytes of `source` read so far, while rows are converted.
    """
    with ExitStack() as stack:
        file = _File(source, how or How(), method, bounds or Bounds(), stack, on_progress)
        try:
            reading = file.read()
        except RefusedError as refused:
            reading = file.refused(refused)
        yield reading


class _File:
    def __init__(
        self,
        source: BinaryIO,
        how: How,
        method: Method | None,
        bounds: Bounds,
        stack: ExitStack,
        on_progress: Callable[[int], None] | None,
    ) -> None:
        self._source = source
        self._how = how
        self._method = method
        self._bounds = bounds
        self._stack = stack
        self._on_progress = on_progress
        self._packing: str | None = None
        self._encoding = "utf-8"
        self._findings: list[Finding] = []
        self._container = how.format if how.format in CONTAINERS else None
        self._layout = how.format if how.format in LAYOUTS else None
        source.seek(0, 2)
        self._size = source.tell()
        source.seek(0)

    def read(self) -> Reading:
        content, head = self._unpacked()
        if head.startswith(PARQUET):
            return self._parquet(content)
        if head.startswith(b"PK\x03\x04"):
            return self._workbook(content)
        content, head = self._decoded(content, head)
        text = head.removeprefix(BOM).lstrip()
        if self._container in {"csv", "tsv"}:
            return self._table(content, head) or self._as_it_is(content)
        if text.startswith(b"[") and self._container != "jsonl":
            return self._array(content, text)
        if text.startswith(b"{"):
            return self._json(content, head)
        if self._container in {"xlsx", "parquet"}:
            raise RefusedError("table-error", f"The file is no {self._container.upper()} file.")
        return (self._table(content, head) if self._container is None and text else None) or self._as_it_is(content)

    def refused(self, refused: RefusedError) -> Reading:
        detected = refused.kind or "unknown"
        return Reading(
            self._told(detected, self._container or "unknown", refused.finding.message),
            content=(),
            findings=[*self._findings, refused.finding],
            refused=True,
        )

    # -- what it is packed and written in ------------------------------------------------------------------

    def _unpacked(self) -> tuple[BinaryIO, bytes]:
        source = self._source
        head = source.read(HEAD_BYTES)
        packing = packing_of(head[:MAGIC_BYTES])
        if packing is None or (packing == "zip" and is_workbook(source)):
            return source, head
        self._packing = packing
        content = unpack(source, packing, self._bounds, self._stack)
        self._findings.append(finding("compressed", f"The file is packed with {packing}; Azure reads plain text."))
        return content, content.read(HEAD_BYTES)

    def _decoded(self, content: BinaryIO, head: bytes) -> tuple[BinaryIO, bytes]:
        encoding = encoding_of(head, self._how.encoding)
        if encoding == "utf-8":
            return content, head
        self._encoding = encoding
        content = as_utf_8(content, encoding, self._stack)
        code = "utf-16" if encoding.startswith(("utf-16", "utf-32")) else "other-encoding"
        name = encoding.upper() if code == "utf-16" else encoding
        self._findings.append(finding(code, f"The file is {name} text; Azure reads UTF-8."))
        return content, content.read(HEAD_BYTES)

    # -- what it is made of --------------------------------------------------------------------------------

    def _as_it_is(self, content: BinaryIO, kind: str = "unknown", reason: str = "") -> Reading:
        """JSON Lines, or what the check will name; only packing and encoding go."""
        content.seek(0)
        if self._findings:
            reason = reason or f"It is taken for JSON Lines in {self._encoding.upper()}."
        told = self._told(kind, "jsonl", reason, converted=bool(self._findings))
        return Reading(told, content, findings=self._findings)

    def _json(self, content: BinaryIO, head: bytes) -> Reading:
        content.seek(0)
        first = _first_line(content, self._bounds.record_bytes_max)
        try:
            row = orjson.loads(first.removeprefix(BOM))
        except orjson.JSONDecodeError:
            row = None
        whole = len(head) < HEAD_BYTES
        if type(row) is dict and not (whole and kind_of(row) == "unknown" and not _more_lines(content)):
            return self._lines(content)
        mapping = self._how.mapping
        fits = mapping is not None and type(row) is dict and not missing_columns(mapping, [row])
        inside = None if fits else self._array_inside(content, head)
        if inside is not None:
            return inside
        if row is not None:
            return self._lines(content)
        return self._objects(content) or self._lines(content)

    def _lines(self, content: BinaryIO) -> Reading:
        """JSON Lines: examples pass through; rows of another layout are converted each on its own line."""
        content.seek(0)
        rows = _rows_of_lines(content, self._bounds)
        layout = self._layout_of(rows, is_table=False)
        if layout is None:
            return self._as_it_is(content)
        told = self._told(
            layout.name, "jsonl", f"Its lines are {layout.in_words}.", left_out=layout.left_out, converted=True
        )
        self._findings.append(finding("needs-conversion", told.reason))
        return Reading(told, self._converted_lines(content, layout), findings=self._findings)

    def _array(self, content: BinaryIO, text: bytes) -> Reading:
        if not text[1:].lstrip().startswith(b"{"):
            return self._as_it_is(content)
        return self._records(
            content,
            lambda: array_in_file(content, self._bounds),
            "json-array",
            "one JSON array",
        ) or self._as_it_is(content)

    def _objects(self, content: BinaryIO) -> Reading | None:
        return self._records(
            content,
            lambda: objects(content, self._bounds),
            "pretty-printed",
            "JSON objects over several lines, or joined by commas",
        )

    def _array_inside(self, content: BinaryIO, head: bytes) -> Reading | None:
        keys = [key for key in keys_of_arrays(head.decode("utf-8", "replace")) if key not in _ROW_KEYS]
        if not keys:
            return None
        key = next((name for name in _WRAPPERS if name in keys), keys[0])
        return self._records(
            content,
            lambda: array_inside(content, key, self._bounds),
            "json-array",
            f"one JSON object with the rows in an array under {key[:_NAME_CHARACTERS]!r}",
        )

    def _records(
        self, content: BinaryIO, records: Callable[[], Iterator[Record]], code: str, in_words: str
    ) -> Reading | None:
        """Rows of a JSON document; None when they are nothing that is read."""
        sample = [record.value for record in _sample(records())]
        rows = [_unwrapped(value) for value in sample if type(value) is dict]
        if not rows:
            return None
        layout = self._layout_of(rows, is_table=False)
        kinds = [kind_of(row) for row in rows]
        kind = max(kinds, key=kinds.count)
        native = kind in NATIVE or is_pair(rows[0])
        if layout is None and not native:
            return None
        words = layout.in_words if layout else KINDS[kind].words
        left_out = layout.left_out if layout else ()
        told = self._told(
            layout.name if layout else kind,
            "json",
            f"The file is {in_words}; its rows are {words}.",
            left_out=left_out,
            unit="record",
            converted=True,
        )
        self._findings.append(finding(code, f"The file is {in_words}, not JSON Lines."))
        if layout is not None:
            self._findings.append(finding("needs-conversion", told.reason))
        origin = Origin("record")
        lines = self._converted(records(), layout, origin, content)
        return Reading(told, lines, origin, self._findings)

    def _layout_of(self, rows: list[dict[str, Any]], *, is_table: bool) -> Layout | None:
        mapping = self._how.mapping
        if mapping is not None and rows and (missing := missing_columns(mapping, rows)):
            keys = ", ".join(dict.fromkeys(key for row in rows for key in row))[:300]
            raise RefusedError(
                "mapping-unfit",
                f"The mapping names {', '.join(missing)[:200]}; the file has {keys or 'no columns'}.",
            )
        if not rows:
            return None
        return layout_of(rows, mapping=mapping, wanted=self._layout, method=self._method, is_table=is_table)

    # -- tables --------------------------------------------------------------------------------------------

    def _table(self, content: BinaryIO, head: bytes) -> Reading | None:
        whole = len(head) < HEAD_BYTES
        told = {"csv": None, "tsv": "\t"}.get(self._container or "")
        text = head.decode(_written_in(head), "replace")
        mapping = self._how.mapping
        has_header = mapping is None or not all(column.isdecimal() for column, _ in mapping.parts)
        dialect = dialect_of(text, whole=whole, delimiter=told, has_header=has_header)
        if dialect is None and self._container == "csv":
            dialect = dialect_of(text, whole=whole, delimiter=",", has_header=has_header)
        if dialect is None:
            return None
        container = "tsv" if dialect.delimiter == "\t" else "csv"
        try:
            codecs.getincrementaldecoder("utf-8")().decode(head, final=whole)  # the head may end inside a character
        except UnicodeDecodeError as error:
            name = suggestion(head)
            hint = f"It reads as {name}; if that is right, say --encoding {name}." if name else ""
            raise RefusedError(
                "invalid-utf-8",
                f"The file is a table ({container}), but not in UTF-8: byte {error.start + 1:,} is none.",
                remedy=hint or "Say which encoding it is in.",
                kind="csv",
            ) from error
        words = f"a table in text, {dialect.in_words}"
        return self._tabular(
            container, "csv", words, dialect.columns, rows_of(content, dialect, self._bounds), content
        )

    def _workbook(self, content: BinaryIO) -> Reading:
        sheet = sheet_of(content, self._how.sheet, self._bounds)
        others = f" (not read: {', '.join(sheet.others)[:200]})" if sheet.others else ""
        words = f"the sheet {sheet.name!r} of a workbook{others}"
        try:
            return self._tabular("xlsx", "xlsx", words, sheet.columns, sheet.rows, None, sheet=sheet.name)
        except RefusedError as refused:
            if not sheet.others:
                raise
            raise refused.advised(
                f"If another sheet is meant, name it: --sheet {shlex.quote(sheet.others[0])}."
            ) from None

    def _parquet(self, content: BinaryIO) -> Reading:
        file = ParquetFile(content, self._bounds, self._stack)
        return self._tabular("parquet", "parquet", "a Parquet file", file.columns, file.rows(), None)

    def _tabular(
        self,
        container: str,
        kind: str,
        in_words: str,
        columns: tuple[str, ...],
        rows: Iterator[Row],
        content: BinaryIO | None,
        *,
        sheet: str | None = None,
    ) -> Reading:
        self._container = container
        names = ", ".join(columns[:_NAMES_TOLD])[:300]
        if "step" in columns and RESULT_COLUMNS & set(columns):
            words = KINDS["results-csv"].words
            raise RefusedError(
                "wrong-kind",
                f"The rows are {words}, not training data.",
                remedy=KINDS["results-csv"].remedy,
                kind="results-csv",
            )
        first, rows = _looked_into(rows)
        sample = [row.value for row in first] or [dict.fromkeys(columns)]
        layout = self._layout_of(sample, is_table=True)
        if layout is None:
            named = kind_in(sample[0], is_table=True)
            if named != "unknown":
                remedy = f"{KINDS[named].remedy} To have it read as that, say --format {named}."
                raise RefusedError(
                    "wrong-kind",
                    f"It is {in_words}; its rows are {KINDS[named].words}, not training data.",
                    remedy=remedy if named in LAYOUTS else KINDS[named].remedy,
                    kind=named,
                )
            raise RefusedError(
                "no-mapping",
                f"It is {in_words}; its columns are {names}, and nothing says which is asked and which the answer.",
                kind=kind,
            )
        reason = f"It is {in_words}; {layout.in_words}."
        told = self._told(
            kind, container, reason, left_out=layout.left_out, unit="row", converted=True, sheet=sheet
        )
        self._findings.append(finding("needs-conversion", told.reason))
        origin = Origin("row")
        records = (Record(row.number, row.value) for row in self._even(rows, len(columns)))
        return Reading(told, self._converted(records, layout, origin, content), origin, self._findings)

    def _even(self, rows: Iterator[Row], width: int) -> Iterator[Row]:
        """Names rows that have another number of cells than there are columns."""
        ragged, line, told = Ranges(), 0, ""
        try:
            for row in rows:
                line += 1
                if row.cells != width:
                    ragged.add(line)
                    told = told or f"Row {row.number:,} has {row.cells:,} cells; there are {width:,} columns."
                yield row
        finally:
            if ragged.count:
                lines = ragged.as_tuples()
                self._findings.append(finding("ragged-row", told, lines=lines, count=ragged.count))

    # -- writing -------------------------------------------------------------------------------------------

    def _converted(
        self, records: Iterator[Record], layout: Layout | None, origin: Origin, content: BinaryIO | None
    ) -> Iterator[bytes]:
        """A line for each record. Where reading breaks off, a finding says why."""
        pieces: list[bytes] = []
        held, line = 0, 0
        try:
            for record in records:
                line += 1
                origin.note(line, record.number)
                written = _written(record, layout)
                pieces += (written, b"\n")
                held += len(written)
                if held >= _PIECE_BYTES:
                    yield b"".join(pieces)
                    pieces.clear()
                    held = 0
                    self._tell_progress(content)
        except RefusedError as refused:
            self._findings.append(refused.finding)
        if pieces:
            yield b"".join(pieces)
        self._tell_progress(None)

    def _converted_lines(self, content: BinaryIO, layout: Layout) -> Iterator[bytes]:
        """Line by line, so that numbers stay; a line that is no row of the layout stays as it is."""
        content.seek(0)
        pieces: list[bytes] = []
        held = 0
        most = self._bounds.record_bytes_max
        inside = False
        while line := content.readline(most):
            begins, inside = not inside, not line.endswith(b"\n")
            if begins:
                line = _line(line.removeprefix(BOM) if content.tell() == len(line) else line, layout)
            pieces.append(line)
            held += len(line)
            if held >= _PIECE_BYTES:
                yield b"".join(pieces)
                pieces.clear()
                held = 0
                self._tell_progress(content)
        if pieces:
            yield b"".join(pieces)
        self._tell_progress(None)

    def _tell_progress(self, content: BinaryIO | None) -> None:
        """`content` is what is being read; None when all of it was."""
        if self._on_progress is not None and (content is None or content is self._source):
            self._on_progress(self._size if content is None else content.tell())

    def _told(
        self,
        detected: str,
        container: str,
        reason: str,
        *,
        left_out: tuple[str, ...] = (),
        unit: Unit = "line",
        converted: bool = False,
        sheet: str | None = None,
    ) -> Told:
        if left_out:
            names = ", ".join(name[:_NAME_CHARACTERS] for name in left_out[:_NAMES_TOLD])
            reason = f"{reason.removesuffix('.')}; left out: {names}."
        if self._packing:
            reason = f"{reason} It is packed with {self._packing}.".strip()
        return Told(detected, container, reason, self._packing, self._encoding, left_out, unit, converted, sheet)


def _sample(records: Iterator[Any]) -> list[Any]:
    """The first ones, also when reading breaks off."""
    found: list[Any] = []
    with suppress(RefusedError):
        found.extend(islice(records, SAMPLE_ROWS))
    return found


def _looked_into(rows: Iterator[Row]) -> tuple[list[Row], Iterator[Row]]:
    """The first rows, and all of them once more; reading breaks off where it did."""
    found: list[Row] = []
    broken: RefusedError | None = None
    try:
        found.extend(islice(rows, SAMPLE_ROWS))
    except RefusedError as refused:
        broken = refused

    def again() -> Iterator[Row]:
        yield from found
        if broken is not None:
            raise broken
        yield from rows

    return found, again()


def _first_line(content: BinaryIO, most: int) -> bytes:
    """The first that is not blank, or as much of it as a row may hold."""
    while line := content.readline(most):
        if line.removeprefix(BOM).strip():
            return line
    return b""


def _more_lines(content: BinaryIO) -> bool:
    return bool(content.read(MAGIC_BYTES).strip())


def _rows_of_lines(content: BinaryIO, bounds: Bounds) -> list[dict[str, Any]]:
    """The first lines that are objects."""
    head = BytesIO(content.read(HEAD_BYTES))
    rows: list[dict[str, Any]] = []
    for line in head:
        if len(rows) >= SAMPLE_ROWS:
            break
        try:
            row = orjson.loads(line.removeprefix(BOM))
        except orjson.JSONDecodeError:
            continue
        if type(row) is dict:
            rows.append(row)
    if not rows:
        content.seek(0)
        try:
            row = orjson.loads(_first_line(content, bounds.record_bytes_max).removeprefix(BOM))
        except orjson.JSONDecodeError:
            return []
        rows = [row] if type(row) is dict else []
    return rows


def _unwrapped(value: dict[str, Any]) -> dict[str, Any]:
    """The row inside what the Hugging Face dataset viewer wraps around it. Source: datasets-server /rows, 2025."""
    row = value.get("row")
    return row if type(row) is dict and "row_idx" in value else value


def _line(line: bytes, layout: Layout) -> bytes:
    row = parse(line)
    made = layout.convert(row) if row is not None else None
    return line if made is None else write(made) + b"\n"


def _written(record: Record, layout: Layout | None) -> bytes:
    """The line of a record. Raises `RefusedError`."""
    try:
        return _as_line(record, layout)
    except RecursionError as error:
        raise RefusedError("too-deep", f"Record {record.number:,} is nested too deeply.") from error


def _as_line(record: Record, layout: Layout | None) -> bytes:
    value = _unwrapped(record.value) if type(record.value) is dict else record.value
    made = layout.convert(value) if layout is not None and type(value) is dict else None
    if made is not None:
        return write(made)
    written = write(value)
    may_repeat_a_key = value is record.value and record.text.count(":") != written.count(b":")
    if may_repeat_a_key:  # the check should see it
        return record.text.replace("\r", " ").replace("\n", " ").encode("utf-8", "replace") or written
    return written


def _written_in(head: bytes) -> str:
    """The encoding in which the names of columns can be looked at; what is not UTF-8 is refused all the same."""
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return suggestion(head) or "utf-8"
    return "utf-8"
