"""Sets trainings side by side: in what they differ, and which figures may be compared at all."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

Value = str | int | float | None

GROUPS: Final = ("data", "parameters", "outcome", "cost")
SAME_MEANING: Final = ("base_model", "method", "validation_sha256")
"""Facts that must be the same before one loss may be called lower than another: the levels of two models, or of two
sets of questions, mean different things."""
BEST_BY: Final = "valid_loss_at_best_step"
HIGHEST_BY: Final = "valid_reward_at_best_step"
"""Of what can be deployed: the lowest loss of a training helps nobody once its checkpoint is gone."""
AS_GOOD: Final = 0.05
"""Share of the best loss (reward: difference) within which another is as good; see `MEANINGFUL_CHANGE`."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of one training: group → name → value."""

    name: str
    groups: Mapping[str, Mapping[str, Value]]

    def get(self, name: str) -> Value:
        return next((facts[name] for facts in self.groups.values() if name in facts), None)


@dataclass(frozen=True, slots=True)
class Row:
    """One fact of every training, in their order."""

    group: str
    name: str
    values: tuple[Value, ...]

    @property
    def differs(self) -> bool:
        return len({repr(value) for value in self.values}) > 1


@dataclass(frozen=True, slots=True)
class Compared:
    """The table, and what may be concluded from it.

    Args:
        best: index of the training with the best validation; None when that cannot be said.
        why: the reason for it, or why none.
        cautions: what in the table must not be compared, a sentence each.
    """

    rows: tuple[Row, ...]
    best: int | None
    why: str
    cautions: tuple[str, ...]


def compare(trainings: Sequence[Facts]) -> Compared:
    rows = tuple(
        Row(group, name, tuple(training.groups.get(group, {}).get(name) for training in trainings))
        for group in GROUPS
        for name in dict.fromkeys(name for training in trainings for name in training.groups.get(group, {}))
    )
    cautions = tuple(_cautions(rows))
    best, why = _best(trainings, rows)
    return Compared(rows, best, why, cautions)


def _cautions(rows: Sequence[Row]) -> list[str]:
    differing = {row.name for row in rows if row.differs}
    found = []
    if "base_model" in differing:
        found.append("The base models differ: the levels of their losses cannot be compared, only their courses.")
    if "method" in differing:
        found.append("The methods differ: their figures measure different things.")
    if "validation_sha256" in differing:
        found.append("The validation sets differ: a lower validation loss may only mean easier questions.")
    leaked = next((row.values for row in rows if row.name == "leaked"), ())
    if any(value for value in leaked):
        found.append("Validation examples stand in the training data of at least one: its validation is too good.")
    return found


def _best(trainings: Sequence[Facts], rows: Sequence[Row]) -> tuple[int | None, str]:
    by_name = {row.name: row for row in rows}
    unlike = [name for name in SAME_MEANING if name in by_name and by_name[name].differs]
    if unlike:
        return (
            None,
            "No training is called the best: they were not measured by the same rule; compare their answers.",
        )
    for name, sign in ((BEST_BY, 1), (HIGHEST_BY, -1)):
        measured = [
            (sign * value, index)
            for index, value in enumerate(by_name[name].values if name in by_name else ())
            if isinstance(value, int | float)
        ]
        if len(measured) == len(trainings):
            value, index = min(measured)
            word = "lowest validation loss" if sign == 1 else "highest validation reward"
            told = f"{trainings[index].name} offers the {word} ({abs(value):.3g}) on the same validation set."
            near = [
                trainings[other].name for each, other in measured if other != index and _as_good(value, each, sign)
            ]
            return index, f"{told} {_and(near)}".rstrip()
    return None, "No training is called the best: not all of them have validation figures."


def _as_good(best: float, other: float, sign: int) -> bool:
    return other - best < (AS_GOOD * best if sign == 1 else AS_GOOD)


def _and(names: Sequence[str]) -> str:
    if not names:
        return ""
    return f"As good, within {AS_GOOD:.0%}: {', '.join(names)}; take the cheaper one, or compare their answers."
