"""A recipe: operations one after the other, and how rows go through them.

Must not know where versions are kept. Constant memory but for some dozens of bytes a row.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from typing import Annotated, Final

from pydantic import Field

from app.datasets.engine.changes.alike import Dedupe
from app.datasets.engine.changes.choosing import Sample, Shuffle, Split
from app.datasets.engine.changes.converting import Convert, Merge, Rename
from app.datasets.engine.changes.dropping import Drop, Keep
from app.datasets.engine.changes.fixing import Fix
from app.datasets.engine.changes.prompts import Prune, System
from app.datasets.engine.changes.redacting import Redact
from app.datasets.engine.changes.rows import Kept, Row, Scratch, Target, source_rows
from app.datasets.engine.changes.steps import CannotChange, Open, Step
from app.datasets.engine.report import Method, Profile

EDITION: Final = 1
"""Of what operations do: raised when the same recipe no longer makes the same bytes."""
OPERATIONS_MAX: Final = 20
"""In one recipe; lineage has a bit for each."""

AnyOperation = Annotated[
    Fix | Drop | Keep | Dedupe | Redact | System | Prune | Convert | Merge | Rename | Sample | Shuffle | Split,
    Field(discriminator="type"),
]


@dataclass(frozen=True, slots=True)
class Done:
    """What one operation did."""

    type: str
    rows_in: int
    rows_out: int
    changed: int
    """Rows that it touched and let go on."""
    did: dict[str, int] = field(default_factory=dict)
    """Further counts, in words."""
    told: dict[str, object] = field(default_factory=dict)
    """Further facts; JSON values only."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a recipe made."""

    rows: tuple[int, ...]
    """Of each part; one where nothing was split."""
    too_long: int
    """Lines that were left out at the beginning because they are longer than any that Azure takes."""
    operations: tuple[Done, ...]


def parts_of(operations: Sequence[AnyOperation]) -> tuple[str, ...]:
    """Names of what the recipe makes: of the parts of a split, else one without a name."""
    last = operations[-1] if operations else None
    return tuple(part.name for part in last.parts) if isinstance(last, Split) else ("",)


def method_after(operations: Sequence[AnyOperation], method: Method | None) -> Method | None:
    """Whose examples the rows are in the end."""
    for operation in operations:
        if isinstance(operation, Convert):
            method = operation.to
    return method


def others_of(operations: Sequence[AnyOperation]) -> tuple[str, ...]:
    """Other versions that the recipe reads, by the names it has for them, each once."""
    names: dict[str, None] = {}
    for operation in operations:
        if isinstance(operation, Merge):
            names.update(dict.fromkeys(operation.versions))
        elif isinstance(operation, Convert) and operation.worse is not None:
            names[operation.worse] = None
    return tuple(names)


def transform(
    source: Open,
    operations: Sequence[AnyOperation],
    targets: Sequence[Target],
    *,
    profile: Profile,
    scratch: Scratch,
    others: Mapping[str, Open] | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Outcome:
    """Take the lines of `source` through the operations and write what comes out.

    Args:
        targets: one for each of `parts_of(operations)`.
        profile: model and method of the source.
        others: content of each of `others_of(operations)`.
        on_progress: told the number of the running operation, from 0, and the bytes that it has read so far, about
            once per MiB.

    Raises:
        CannotChange: an operation has no meaning for these rows, or nothing is left.
    """
    run = _Run(operations, profile, scratch, others or {}, on_progress)
    with ExitStack() as stack:
        return run.through(source, targets, stack)


class _Run:
    def __init__(
        self,
        operations: Sequence[AnyOperation],
        profile: Profile,
        scratch: Scratch,
        others: Mapping[str, Open],
        on_progress: Callable[[int, int], None] | None,
    ) -> None:
        if any(isinstance(operation, Split) for operation in operations[:-1]):
            raise CannotChange("split_not_last", "A split is the last operation; change its parts afterwards.")
        self._operations = operations
        self._profile = profile
        self._scratch = scratch
        self._others = {name: (index, others[name]) for index, name in enumerate(others_of(operations), 1)}
        self._on_progress = on_progress
        self._too_long = 0

    def through(self, source: Open, targets: Sequence[Target], stack: ExitStack) -> Outcome:
        kept = stack.enter_context(closing(self._read(source)))
        done: list[Done] = []
        parts: bytes | None = None
        for number, operation in enumerate(self._operations):
            step = self._step(number)
            if isinstance(operation, Split):
                parts = operation.assign(kept, step)
                done.append(_done(operation, step, len(kept), len(kept), 0))
                break
            changed = Counter[bool]()
            fresh = stack.enter_context(closing(step.keep()))
            fresh.fill(_counting(operation.apply(kept, step), step.bit, changed))
            done.append(_done(operation, step, len(kept), len(fresh), changed[True]))
            kept.close()
            kept = fresh
            if isinstance(operation, Convert):
                self._profile = replace(self._profile, method=operation.to)
        if not len(kept):
            raise CannotChange(
                "nothing_left", f"The operations leave no line. {_why_nothing(done, self._too_long)}"
            )
        for at, row in enumerate(kept):
            targets[parts[at] if parts is not None else 0].add(row)
        return Outcome(tuple(target.rows for target in targets), self._too_long, tuple(done))

    def _read(self, source: Open) -> Kept:
        def too_long(_line: int) -> None:
            self._too_long += 1

        kept = Kept(self._scratch, self._step(0).on_read)
        with source() as file:
            return kept.fill(source_rows(file, 0, self._profile.limits.line_bytes_max, too_long))

    def _step(self, number: int) -> Step:
        read = 0

        def on_read(count: int) -> None:
            nonlocal read
            read += count
            if self._on_progress is not None:
                self._on_progress(number, read)

        return Step(number, self._profile, self._others, self._scratch, on_read)


def _why_nothing(done: Sequence[Done], too_long: int) -> str:
    """Which operation took the last rows, and what it says it did."""
    emptied = next(((number, one) for number, one in enumerate(done, 1) if one.rows_in and not one.rows_out), None)
    if emptied is None:
        return (
            f"All {too_long:,} lines are longer than any that are read." if too_long else "There was none before."
        )
    number, one = emptied
    counts = ", ".join(f"{count:,} {what}" for what, count in one.did.items())
    return f"Operation {number} ({one.type}) let none of {one.rows_in:,} rows through" + (
        f": {counts}." if counts else "."
    )


def _counting(rows: Iterator[Row], bit: int, changed: Counter[bool]) -> Iterator[Row]:
    for row in rows:
        changed[bool(row.touched & bit)] += 1
        yield row


def _done(operation: AnyOperation, step: Step, rows_in: int, rows_out: int, changed: int) -> Done:
    did = {name: count for name, count in step.did.items() if count}
    return Done(operation.type, rows_in, rows_out, changed, did, dict(step.told))
