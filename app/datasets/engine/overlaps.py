"""Tells which examples of a version stand in other datasets too, word for word or nearly.

Must not know where versions are kept, nor how likeness is measured.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from app.datasets.engine.findings import Findings
from app.datasets.engine.report import Finding

NAMES_TOLD: Final = 3


@dataclass(frozen=True, slots=True)
class Overlap:
    """What a version shares with another."""

    name: str
    """Of the other one, such as travel-validation@1."""
    exact: Mapping[int, int]
    """Line here, ascending -> line there."""
    near: Mapping[int, int]
    """The same of those that are nearly alike."""


def overlap_findings(overlaps: Sequence[Overlap]) -> list[Finding]:
    """A finding for what stands elsewhere word for word, and one for what does nearly."""
    findings = Findings()
    _tell(findings, "in-another-dataset", [(one.name, one.exact) for one in overlaps], "word for word")
    _tell(
        findings, "near-in-another-dataset", [(one.name, one.near) for one in overlaps], "in almost the same words"
    )
    return findings.as_list()


def _tell(findings: Findings, code: str, shared: Sequence[tuple[str, Mapping[int, int]]], how: str) -> None:
    first: dict[int, str] = {}
    for name, lines in shared:
        for here, there in lines.items():
            first.setdefault(here, f"stands in {name} as line {there:,}")
    if not first:
        return
    for line in sorted(first):
        findings.add(code, line, first[line])
    names = [f"{len(lines):,} in {name}" for name, lines in shared if lines]
    more = f" and {len(names) - NAMES_TOLD} more datasets" if len(names) > NAMES_TOLD else ""
    findings.add_file(
        code, f"Examples stand {how} in other datasets of the project: {', '.join(names[:NAMES_TOLD])}{more}."
    )
