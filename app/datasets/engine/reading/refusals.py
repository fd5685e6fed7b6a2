"""Why a file is not read on, as a finding.

Must not know how anything is read.
"""

from __future__ import annotations

from app.datasets.engine.codes import CODES
from app.datasets.engine.report import Finding, LineRange


class RefusedError(Exception):
    """Reading stops here, for a reason in words."""

    def __init__(self, code: str, message: str, *, remedy: str = "", kind: str | None = None) -> None:
        super().__init__(message)
        self.kind = kind
        """What the file was taken for, where that is known."""
        self.finding = finding(code, message, remedy=remedy)

    def advised(self, more: str) -> RefusedError:
        """The same, with one more sentence on what to do."""
        remedy = f"{self.finding.remedy} {more}".strip()
        return RefusedError(self.finding.code, str(self), remedy=remedy, kind=self.kind)


def finding(
    code: str, message: str = "", *, remedy: str = "", lines: tuple[LineRange, ...] = (), count: int = 1
) -> Finding:
    """One finding of the list of codes, in words of its own where given."""
    known = CODES[code]
    return Finding(
        code=code,
        severity=known.severity,
        message=message or known.meaning,
        remedy=remedy or known.remedy,
        lines=lines,
        count=count,
        fixable=known.fixable,
    )
