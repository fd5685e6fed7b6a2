"""Recognises one JSON object that was torn over several lines: pretty-printed, or by raw line breaks.

Must not know what the object means.
"""

from __future__ import annotations

import re
from typing import Literal

_IN_STRING = re.compile(rb'[^"\\]*(?:\\.[^"\\]*)*', re.DOTALL)
_STRUCTURE = re.compile(rb'["\[\]{}]')

LINES_MAX = 100_000
"""Lines of one torn object; more are reported one by one."""


class TornObject:
    """Follows quotes and braces from the first line that does not parse until they balance."""

    def __init__(self, first: int, bytes_max: int) -> None:
        self.first = first
        self.lines: list[bytes] = []
        self.in_text = False
        """The last line ended inside a text."""
        self._depth = 0
        self._bytes = 0
        self._bytes_max = bytes_max
        self._joined: list[bytes] = []
        self._broken_text = False

    @property
    def code(self) -> Literal["raw-line-break", "pretty-printed"]:
        return "raw-line-break" if self._broken_text else "pretty-printed"

    @property
    def joined(self) -> bytes:
        """The lines as one, with the breaks inside texts written as they should be."""
        return b"".join(self._joined)

    def feed(self, line: bytes) -> Literal["open", "complete", "hopeless"]:
        """Takes the next line."""
        self.lines.append(line)
        self._bytes += len(line) + 2
        content = line.removesuffix(b"\r")
        position, end = 0, len(content)
        while position < end:
            if self.in_text:
                match = _IN_STRING.match(content, position)
                position = end if match is None else match.end()
                if position < end and content[position] == 0x22:
                    self.in_text = False
                    position += 1
                else:
                    position = end  # the text goes on (or a lone backslash ends the line)
                continue
            mark = _STRUCTURE.search(content, position)
            if mark is None:
                break
            position = mark.end()
            match mark.group():
                case b'"':
                    self.in_text = True
                case b"{" | b"[":
                    self._depth += 1
                case _:
                    self._depth -= 1
        self._joined.append(content)
        self._joined.append(b"\\n" if self.in_text else b" ")
        self._broken_text = self._broken_text or self.in_text
        if self._depth < 0 or len(self.lines) > LINES_MAX or self._bytes > self._bytes_max:
            return "hopeless"
        return "complete" if self._depth == 0 and not self.in_text else "open"
