"""What a caller says about a file that does not say it itself: format, encoding, sheet, which column is what.

Must not know how anything is read.
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Mapping as AbstractMapping
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

Part = Literal[
    "user", "assistant", "system", "messages", "history", "tools", "chosen", "rejected", "kept", "ignored"
]
"""What a column can be: a message's text, a whole conversation, earlier turns, tools, an answer of a preference
pair, a member that stays beside the messages (for graders), or nothing."""
PARTS: Final[tuple[Part, ...]] = get_args(Part)

CONTAINERS: Final = ("jsonl", "json", "csv", "tsv", "xlsx", "parquet")
"""How rows are packed into a file."""
LAYOUTS: Final = (
    "chat",
    "preference",
    "reinforcement",
    "prompt-completion",
    "question-answer",
    "alpaca",
    "self-instruct",
    "sharegpt",
    "evaluation",
    "prompt-flow",
    "batch-request",
)
"""How a row says what was asked and answered."""
FORMATS: Final = CONTAINERS + LAYOUTS

_ENCODINGS: Final = frozenset(
    codecs.lookup(name).name
    for name in [
        "utf-8",
        "utf-8-sig",
        "utf-16",
        "utf-16-le",
        "utf-16-be",
        "utf-32",
        "utf-32-le",
        "utf-32-be",
        "ascii",
        "latin-1",
        "cp932",
        "shift_jis",
        "shift_jis_2004",
        "shift_jisx0213",
        "euc_jp",
        "euc_jis_2004",
        "iso2022_jp",
        "cp437",
        "cp850",
        "cp1250",
        "cp1251",
        "cp1252",
        "cp1253",
        "cp1254",
        "cp1255",
        "cp1256",
        "cp1257",
        "cp1258",
        "cp874",
        "iso8859-2",
        "iso8859-5",
        "iso8859-7",
        "iso8859-9",
        "iso8859-15",
        "koi8-r",
        "koi8-u",
        "gb2312",
        "gbk",
        "gb18030",
        "big5",
        "big5hkscs",
        "cp949",
        "euc_kr",
        "johab",
        "mac_roman",
        "tis-620",
    ]
)
COLUMNS_MAX: Final = 200
"""Columns that one mapping names."""
NAME_CHARACTERS_MAX: Final = 500
"""Of one column's name."""
TEXT_CHARACTERS_MAX: Final = 20_000
"""Of a mapping as it is written."""

_COLUMNS_ELSEWHERE: Final[dict[str, Part]] = {
    "prompt": "user",
    "query": "user",
    "response": "assistant",
    "system": "system",
    "messages": "messages",
    "history": "history",
    "tools": "tools",
    "chosen": "chosen",
    "rejected": "rejected",
}
"""The names LLaMA-Factory's dataset_info.json has for parts; there each names its column.
Source: LLaMA-Factory data/README.md, 2025."""
_TAGS: Final = {
    "user_tag": "user",
    "assistant_tag": "assistant",
    "observation_tag": "tool",
    "function_tag": "function_call",
    "system_tag": "system",
}


class BadHowError(ValueError):
    """What the caller said of the file means nothing; the text says why."""

    hint: str = ""
    """What could be said instead, where that can be listed."""


class BadMappingError(BadHowError):
    """What was said of the columns means nothing."""

    hint = f"A column is one of {', '.join(PARTS)}."


@dataclass(frozen=True, slots=True)
class Mapping:
    """Which column (or key of a row, or path of keys with dots) is what."""

    parts: tuple[tuple[str, Part], ...] = ()
    """Column and part. Several columns of one part are joined by an empty line, in this order."""
    role_key: str | None = None
    """Key of a message that holds who speaks; None: `role` or `from`."""
    content_key: str | None = None
    """Key of a message that holds what is said; None: `content` or `value`."""
    roles: tuple[tuple[str, str], ...] = ()
    """Word for a speaker -> role, beside the usual ones."""

    def columns(self, part: Part) -> list[str]:
        return [column for column, what in self.parts if what == part]

    def to_json(self) -> dict[str, Any]:
        """What `mapping_of` reads back."""
        body: dict[str, Any] = {"columns": dict(self.parts)}
        if self.role_key:
            body["role_key"] = self.role_key
        if self.content_key:
            body["content_key"] = self.content_key
        if self.roles:
            body["roles"] = dict(self.roles)
        return body


@dataclass(frozen=True, slots=True)
class How:
    """How to read one file; what is None is found out."""

    format: str | None = None
    """One of FORMATS: the container or the layout of its rows."""
    mapping: Mapping | None = None
    encoding: str | None = None
    sheet: str | None = None
    """Of a workbook, by its name; its first one otherwise."""

    def to_json(self) -> dict[str, Any]:
        """What `how_of` reads back; empty when nothing was said."""
        said = {"format": self.format, "encoding": self.encoding, "sheet": self.sheet}
        body: dict[str, Any] = {key: value for key, value in said.items() if value is not None}
        if self.mapping is not None:
            body["mapping"] = self.mapping.to_json()
        return body


def how_of(
    *,
    format: str | None = None,  # noqa: A002  the word people use for it
    mapping: str | AbstractMapping[str, Any] | None = None,
    encoding: str | None = None,
    sheet: str | None = None,
) -> How:
    """What was said, checked. Raises `BadHowError`."""
    if format is not None and format not in FORMATS:
        raise BadHowError(f"{format[:40]!r} is no format; there are {', '.join(FORMATS)}.")
    return How(
        format=format,
        mapping=mapping_of(mapping) if mapping else None,
        encoding=_encoding(encoding) if encoding else None,
        sheet=sheet or None,
    )


def _encoding(name: str) -> str:
    try:
        known = codecs.lookup(name).name
    except (LookupError, ValueError):
        known = ""
    if known not in _ENCODINGS:
        raise BadHowError(
            f"{name[:40]!r} is no encoding that is read; say utf-8, utf-16, cp932, shift_jis, euc_jp, cp1252 or"
            " another of the usual ones."
        )
    return "utf-8" if known == "utf-8-sig" else known


def mapping_of(written: str | AbstractMapping[str, Any]) -> Mapping:
    """`question=user,answer=assistant,topic=ignored`, the same as JSON, or an entry of a dataset_info.json.

    Raises:
        BadHowError: it names no part, an unknown one, or a column twice.
    """
    if isinstance(written, str):
        if len(written) > TEXT_CHARACTERS_MAX:
            raise BadMappingError(f"A mapping has at most {TEXT_CHARACTERS_MAX:,} characters.")
        if not written.lstrip().startswith("{"):
            return _made([_pair(text) for text in written.split(",") if text.strip()])
        try:
            written = json.loads(written)
        except (ValueError, RecursionError) as error:
            raise BadMappingError(f"The mapping is not JSON: {error}.") from error
    if not isinstance(written, AbstractMapping):
        raise BadMappingError("A mapping is an object of columns and what they are.")
    columns = written.get("columns", written)
    if not isinstance(columns, AbstractMapping):
        raise BadMappingError("The columns of a mapping are an object of names and what they are.")
    elsewhere = bool({"tags", "formatting", "ranking"} & written.keys())
    if not elsewhere and not all(part in PARTS for part in columns.values()):
        elsewhere = columns.keys() <= _COLUMNS_ELSEWHERE.keys()
    if not elsewhere:
        pairs = [(str(name), part) for name, part in columns.items()]
    else:
        pairs = [(str(column), _COLUMNS_ELSEWHERE.get(name)) for name, column in columns.items()]
    tags = written.get("tags")
    tags = tags if isinstance(tags, AbstractMapping) else {}
    roles = written.get("roles")
    words = {str(word): str(role) for word, role in roles.items()} if isinstance(roles, AbstractMapping) else {}
    words |= {str(tags[tag]): role for tag, role in _TAGS.items() if tag in tags}
    return _made(
        pairs,
        role_key=_word(written.get("role_key", tags.get("role_tag"))),
        content_key=_word(written.get("content_key", tags.get("content_tag"))),
        roles=tuple(words.items())[:COLUMNS_MAX],
    )


def _word(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _pair(text: str) -> tuple[str, Any]:
    column, equals, part = text.rpartition("=")
    if not equals:
        raise BadMappingError(f"{text.strip()[:60]!r} is no pair such as question=user.")
    return column.strip(), part.strip()


def _made(
    pairs: list[tuple[str, Any]],
    *,
    role_key: str | None = None,
    content_key: str | None = None,
    roles: tuple[tuple[str, str], ...] = (),
) -> Mapping:
    seen: set[str] = set()
    for column, part in pairs:
        if part not in PARTS:
            raise BadMappingError(f"{str(part)[:40]!r} is nothing a column can be; say one of {', '.join(PARTS)}.")
        if not column or len(column) > NAME_CHARACTERS_MAX:
            raise BadMappingError("A column of the mapping has no name, or too long a one.")
        if column in seen:
            raise BadMappingError(f"The mapping names {column[:60]!r} twice.")
        seen.add(column)
    if not pairs or len(pairs) > COLUMNS_MAX:
        raise BadMappingError(f"A mapping names at least one column and at most {COLUMNS_MAX}.")
    parts = {part for _, part in pairs}
    if not parts & {"user", "messages"} and not {"chosen", "rejected"} <= parts:
        raise BadMappingError("The mapping names no column that is user or messages: nothing would be asked.")
    return Mapping(tuple(pairs), role_key=role_key, content_key=content_key, roles=roles)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """How much of a file is taken on. Ours; each is a setting or follows from Azure's file size."""

    unpacked_bytes_max: int = 1024 * 1024 * 1024
    """Of what a packed file holds: twice what Azure takes."""
    unpack_ratio_max: int = 200
    """Unpacked to packed bytes, once more than `unpack_ratio_free_bytes` came out. Text packs 3 to 20 times."""
    unpack_ratio_free_bytes: int = 64 * 1024 * 1024
    workbook_bytes_max: int = 50 * 1024 * 1024
    """Of a workbook as it is given: it is held in memory."""
    workbook_unpacked_bytes_max: int = 250 * 1024 * 1024
    workbook_cells_max: int = 5_000_000
    """Rows × columns of the sheet that is read, the empty ones included."""
    record_bytes_max: int = 8 * 1024 * 1024
    """Of one row."""
    columns_max: int = 2_000
    """Of one table."""
    depth_max: int = 64
    """Objects and arrays inside one another."""
    duckdb_memory_mebibytes: int = 256
    """For reading Parquet."""
