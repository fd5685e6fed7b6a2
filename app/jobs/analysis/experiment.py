"""Makes the one experiment to do next out of the advice: the first piece that is a change one can make."""

from collections.abc import Mapping, Sequence
from typing import Final

from app.jobs.analysis import sources
from app.jobs.analysis.advice import Settings
from app.jobs.analysis.findings import Advice, Experiment, Verdict

MOST_EPOCHS_TAKEN: Final = 50
"""What `POST /v1/jobs` takes."""
WHOLE_NUMBERS: Final = frozenset({"n_epochs", "batch_size"})
HYPERPARAMETERS: Final = (*sorted(WHOLE_NUMBERS), "learning_rate_multiplier")


def next_experiment(verdict: Verdict, settings: Settings, advice: Sequence[Advice]) -> Experiment:
    """The first advice that changes the job or its data, as what can be posted.

    A training that converged on a validation one can believe is to be evaluated, not changed.
    """
    used = _used(settings)
    if verdict is Verdict.CONVERGED and settings.has_validation:
        return Experiment(
            action="Evaluate the tuned model against the base model on questions neither has seen.",
            why="The curve has nothing more to say; what counts are the answers.",
            setting=None,
            was=None,
            now=None,
            hyperparameters=used,
            operations=(),
            source=sources.LEARN_RESULTS,
        )
    for item in advice:
        change = _number(item)
        if change is not None and item.setting is not None and change != used.get(item.setting):
            return _experiment(item, used | {item.setting: change}, was=used.get(item.setting), now=change)
        if item.operations:
            return _experiment(item, used, was=None, now=None)
    return _experiment(advice[0], used, was=None, now=None)


def _experiment(
    advice: Advice, hyperparameters: Mapping[str, int | float], *, was: float | None, now: float | None
) -> Experiment:
    return Experiment(
        action=advice.action,
        why=advice.why,
        setting=advice.setting if now is not None else None,
        was=was,
        now=now,
        hyperparameters=hyperparameters,
        operations=advice.operations,
        source=advice.source,
    )


def _used(settings: Settings) -> dict[str, int | float]:
    """What is known of the job's settings and can be asked for again."""
    known = {name: getattr(settings, name) for name in HYPERPARAMETERS}
    used = {name: value for name, value in known.items() if value is not None}
    if used.get("n_epochs", 0) > MOST_EPOCHS_TAKEN:
        del used["n_epochs"]
    return used


def _number(advice: Advice) -> int | float | None:
    if advice.setting not in HYPERPARAMETERS or advice.suggestion is None:
        return None
    return int(advice.suggestion) if advice.setting in WHOLE_NUMBERS else float(advice.suggestion)
