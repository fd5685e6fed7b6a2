"""The rules of a reinforcement example: a prompt that ends with the user, and what a grader needs beside it.

Must not know where a row came from, nor how a grader is evaluated.

Source: Azure OpenAI how-to reinforcement fine-tuning, 2026-03-19 (last role, further members are `item.*`).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

from app.datasets.engine.chat import ChatRules
from app.datasets.engine.findings import Findings
from app.datasets.engine.json_rows import escaped
from app.datasets.engine.report import Profile

_KEYS: Final = frozenset({"messages", "tools", "parallel_tool_calls"})
_FIELD: Final = re.compile(r"\{\{\s*item((?:\.[A-Za-z0-9_][\w-]*+(?!\s*\())+)")
"""Names after dots; what is called like a function is none."""
_STEP: Final = r"""(?:\.get\(\s*|\[\s*)["'][^"']{1,64}["'](?:\s*(?:,[^()\[\]]*)?[)\]])?"""
_CODE_FIELD: Final = re.compile(rf"item((?:{_STEP})+)")
"""How the source of a python grader reads a member, and a member of that; other ways are not seen."""
_CODE_NAME: Final = re.compile(r"""(?:\.get\(\s*|\[\s*)["']([^"']{1,64})["']""")
_REFERENCE: Final = re.compile(r"\{\{\s*([^{}]{1,80}?)\s*\}\}")
_FILLED: Final = re.compile(r"(?:item|sample)\b")
FIELDS_MAX: Final = 200
"""Different further members told apart."""


Path = tuple[str, ...]
"""Names from a row inwards."""
_NOTHING: Final = object()


def fields_of_grader(grader: Any) -> frozenset[Path]:
    """The row's members that a grader reads, as far as its definition tells."""
    return frozenset(_fields(grader))


def strange_references(grader: Any) -> list[str]:
    """References of a grader to neither the row (`item`) nor the answer (`sample`), which nothing fills."""
    found = [name for text in _texts(grader) for name in _REFERENCE.findall(text) if not _FILLED.match(name)]
    return list(dict.fromkeys(found))


def _texts(value: Any) -> Iterator[str]:
    """Texts in which references are filled: all but source code."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, item in value.items():
            if key != "source":
                yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)


def _fields(value: Any) -> Iterator[Path]:
    if isinstance(value, str):
        yield from (tuple(found.split(".")[1:]) for found in _FIELD.findall(value))
        yield from (tuple(_CODE_NAME.findall(found)) for found in _CODE_FIELD.findall(value))
    elif isinstance(value, dict):
        for item in value.values():
            yield from _fields(item)
    elif isinstance(value, list):
        for item in value:
            yield from _fields(item)


def _at(value: Any, path: Path) -> Any:
    """What stands there; a number counts the items of a list."""
    for name in path:
        if type(value) is dict:
            value = value.get(name, _NOTHING)
        elif type(value) is list and name.isascii() and name.isdigit() and int(name) < len(value):
            value = value[int(name)]
        else:
            return _NOTHING
    return value


def _named(paths: list[Path]) -> str:
    return ", ".join(".".join(path) for path in paths)[:200]


class ReinforcementRules(ChatRules):
    """Checks example after example and keeps the sums; nothing in them is an answer to learn."""

    def __init__(self, profile: Profile, findings: Findings) -> None:
        super().__init__(profile, findings)
        self._wanted = fields_of_grader(profile.grader)
        self._fields: Counter[str] = Counter()
        self._rows = 0
        strange = strange_references(profile.grader)
        if strange:
            findings.add_file("grader-reference", f"Nothing fills {', '.join(strange[:5])[:200]} in the grader.")

    def examine(self, line: int, row: dict[str, Any]) -> None:
        self._begin(line)
        self._rows += 1
        for name in row.keys() - _KEYS:
            if name in self._fields or len(self._fields) < FIELDS_MAX:
                self._fields[name] += 1
        declared = self._keys_and_tools(row, row.keys())
        seen = self._read(row["messages"], declared)
        if seen.roles[-1] != "user":
            said = seen.roles[-1] or "unknown"
            self._add("last-message-not-user", f"it ends with {said}", f"/messages/{len(seen.roles) - 1}")
        read = {path: _at(row, path) for path in self._wanted}
        if missing := sorted(path for path, found in read.items() if found is _NOTHING):
            self._add("grader-field-missing", _named(missing), "")
        elif empty := sorted(path for path, found in read.items() if found in (None, "", [], {})):
            self._add("grader-field-empty", _named(empty), "".join(f"/{escaped(name)}" for name in empty[0]))
        elif not row.keys() - _KEYS and not self._wanted:
            self._add("no-reference", pointer="")
        self._sum(seen, has_tools="tools" in row)

    def stats(self) -> dict[str, Any]:
        """Also how many rows have each further member, which graders read as `item.…`."""
        return super().stats() | {"fields": dict(self._fields.most_common(20)), "rows": self._rows}
