"""What a study varies: a grid or a list of settings becomes trials, each a whole job. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Any, Final

TRIALS_MAX: Final = 30
"""Of one study. A resource holds 100 jobs in all and runs 3 to 5 at once, so that more would take it over.

Source: Microsoft Learn, Azure OpenAI quotas and limits, 2026-02-17.
"""
OF_THE_JOB: Final = ("model", "training", "training_type", "goal", "seed")
"""What can be varied beside hyperparameters. Not the validation set: it is what all are compared on."""

Settings = dict[str, Any]


def grid(axes: Mapping[str, Sequence[Any]]) -> Iterator[Settings]:
    """Every combination, the last axis quickest."""
    names = list(axes)
    for values in product(*axes.values()):
        yield dict(zip(names, values, strict=True))


def varied(job: Mapping[str, Any], settings: Settings) -> dict[str, Any]:
    """The job with these settings in place of its own."""
    own = {name: value for name, value in settings.items() if name in OF_THE_JOB}
    hyperparameters = {name: value for name, value in settings.items() if name not in OF_THE_JOB}
    return {**job, **own, "hyperparameters": {**(job.get("hyperparameters") or {}), **hyperparameters}}


def label(settings: Settings) -> str:
    """The settings in a line, for people."""
    return ", ".join(f"{name} {_shown(value)}" for name, value in settings.items()) or "as given"


def _shown(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def at_an_edge(name: str, value: Any, trials: Sequence[Settings]) -> str | None:
    """`lowest` or `highest`, when a hyperparameter is the outermost of three or more that were tried; else None."""
    if name in OF_THE_JOB:
        return None
    tried = sorted({one[name] for one in trials if isinstance(one.get(name), int | float)})
    if len(tried) < _FEWEST_OF_AN_AXIS or value not in tried[:1] + tried[-1:]:
        return None
    if value == tried[0]:
        return None if value == 1 and isinstance(value, int) else "lowest"  # there is nothing below one epoch
    return "highest"


_FEWEST_OF_AN_AXIS: Final = 3
"""Of two values one is always outermost, which says nothing."""
