"""Puts marks in the place of personal data and secrets.

Must not know how they are recognised.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from app.datasets.engine import private
from app.datasets.engine.changes.fixing import FindingCode
from app.datasets.engine.changes.rows import Kept, Row
from app.datasets.engine.changes.steps import CLOSED, Step
from app.datasets.engine.json_rows import parse, write


@dataclass(frozen=True, slots=True)
class Redact:
    """Put marks such as [EMAIL_1] in the place of personal data and secrets, the same mark for the same value."""

    codes: Annotated[
        tuple[FindingCode, ...], Field(max_length=100, description="Only these findings; empty for all of them.")
    ] = ()
    type: Literal["redact"] = "redact"

    __pydantic_config__: ClassVar = CLOSED

    def __post_init__(self) -> None:
        strange = sorted(set(self.codes) - set(private.CODES))
        if strange:
            raise ValueError(
                f"{strange[0]!r} is no finding that can be redacted: {', '.join(sorted(private.CODES))}"
            )

    def apply(self, rows: Kept, step: Step) -> Iterator[Row]:
        """A line that is no JSON object is redacted as the text that it is."""
        redactor = private.Redactor(frozenset(self.codes or private.CODES))
        for row in rows:
            value = parse(row.line)
            if value is None:
                text = row.line.decode("utf-8", "surrogateescape")
                yield step.change(row, redactor.redact_text(text).encode("utf-8", "surrogateescape"))
                continue
            redacted, found = redactor.redact(value)
            step.did["marks"] += len(found)
            yield step.change(row, write(redacted)) if found else row
