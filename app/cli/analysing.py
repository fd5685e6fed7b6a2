"""`kitae jobs analyse`: the service's own judgement of a results file, on this machine."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from app.cli import reports, words
from app.cli.exits import Exit, Told
from app.jobs import analysis

if TYPE_CHECKING:
    from rich.console import Console

MOST_BYTES: Final = 2 * analysis.MAX_BYTES
"""Read at most so much of a file; base64 is a third longer than what it holds."""


@dataclass(frozen=True, slots=True)
class Known:
    """What the caller says of a training beside its results file."""

    examples: int | None = None
    n_epochs: int | None = None
    batch_size: int | None = None
    learning_rate_multiplier: float | None = None
    training: Path | None = None
    validation: Path | None = None


@dataclass(frozen=True, slots=True)
class Judged:
    """A results file with its judgement."""

    file: Path
    results: analysis.Results
    analysis: analysis.Analysis


def judge_file(file: Path, known: Known) -> Judged:
    """Raises `ResultsError`; `Told` when a data file is none."""
    results = analysis.parse_results(_content(file))
    examples, data = _counted(known)
    judged = analysis.analyse(
        results,
        examples=known.examples or examples,
        n_epochs=known.n_epochs,
        batch_size=known.batch_size,
        learning_rate_multiplier=known.learning_rate_multiplier,
        has_validation=known.validation is not None,
        data=data,
    )
    return Judged(file, results, judged)


def analyse_files(files: list[Path], known: Known, *, as_json: bool) -> Exit:
    """Judge each file and tell. Returns what the process should end with: the worst of them."""
    told: list[dict[str, Any]] = []
    worst = Exit.OK
    for file in files:
        name = words.clean(str(file))
        try:
            judged = judge_file(file, known)
        except analysis.ResultsError as error:
            worst = Exit.USAGE
            told.append({"file": name, "error": {"line": error.line, "message": words.clean(error.message)}})
            words.error(f"{name}: {words.clean(str(error))}")
            continue
        if judged.analysis.verdict is not analysis.Verdict.CONVERGED:
            worst = max(worst, Exit.PROBLEM)
        told.append({"file": name, **judged.analysis.to_json(), "warnings": list(judged.results.warnings)})
        if not as_json:
            _tell(judged, name, to=words.data_console())
    if as_json:
        words.put_json(told[0] if len(told) == 1 else told)
    return worst


def page_of(file: Path) -> str:
    """A page about a results file. Raises `Told` when it is none."""
    try:
        judged = judge_file(file, Known())
    except analysis.ResultsError as error:
        raise Told(f"{words.clean(str(file))}: {words.clean(str(error))}", code=Exit.USAGE) from error
    told = analysis.Told(
        title=file.name, subtitle="from a results file", facts={"outcome": judged.analysis.summary}
    )
    return analysis.page_html(told, judged.analysis, judged.results)


def _tell(judged: Judged, name: str, *, to: Console) -> None:
    words.heading(name, to=to)
    reports.analysis(judged.analysis.to_json(), to=to)
    for warning in judged.results.warnings:
        words.warn(warning, to=to)
    reports.drawn(judged.results, to=to)


def _content(file: Path) -> bytes:
    with file.open("rb") as opened:
        return opened.read(MOST_BYTES + 1)


def _counted(known: Known) -> tuple[int | None, analysis.Data]:
    """What the dataset engine counts in the data that was trained and validated on."""
    if known.training is None and known.validation is None:
        return None, analysis.UNKNOWN
    from app.cli import offline

    with ExitStack() as stack:
        training, validation = (
            None if file is None else offline.examined(file, stack) for file in (known.training, known.validation)
        )
        for one in (training, validation):
            if one is not None and not one.report.examples:
                raise Told(
                    f"{one.name} holds no training examples.", hint=one.report.format_reason, code=Exit.USAGE
                )
        data = analysis.UNKNOWN
        if validation is not None:
            data = replace(data, validation_examples=validation.report.examples)
        if training is None:
            return None, data
        repeated = sum(
            finding.count for finding in training.report.findings if finding.code in analysis.REPEATING_FINDINGS
        )
        data = replace(data, repeated=repeated)
        if validation is not None:
            data = replace(data, leaked=offline.leaked(training, validation))
        return training.report.examples, data
