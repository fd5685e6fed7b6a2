"""`kitae datasets check`: the service's own check, on this machine, for files that nobody uploaded."""

from __future__ import annotations

import shlex
import tempfile
from array import array
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import orjson

from app.azure.catalogue.catalogue import BaseModel, Catalogue
from app.cli import reports, words
from app.cli.exits import Exit, Told
from app.datasets import engine
from app.datasets.engine import reading
from app.datasets.engine.changes import repairs
from app.datasets.engine.lines import BOM
from app.datasets.engine.report import Method, printable
from app.kit.clock import utc_now
from app.kit.errors import Invalid

if TYPE_CHECKING:
    from app.datasets.schemas import FindingRead

Spans = list[tuple[int, int]]
"""First and last line of each range, counted from 1."""


@dataclass(frozen=True, slots=True)
class Checked:
    """A file, what was found in it, and the hashes of its examples with the lines they stand on."""

    file: Path
    report: engine.Report
    fingerprints: BinaryIO
    sketches: BinaryIO
    lines: array[int]
    how: reading.How

    def reread(self) -> Iterator[bytes]:
        """Its rows as JSON Lines, once more."""
        with self.file.open("rb") as source, reading.opened(source, self.how, method=self.report.method) as again:
            yield from engine.plain_lines(again.content, engine.Limits().line_bytes_max)

    @property
    def name(self) -> str:
        """Printable, whatever bytes the name is made of."""
        return printable(str(self.file))


@dataclass(frozen=True, slots=True)
class Leak:
    """Validation examples that stand in one training file."""

    training: Checked
    validation: Checked
    training_lines: list[int]
    validation_lines: list[int]
    is_exact: bool
    """Word for word; else in almost the same words."""


def check_files(
    files: Sequence[Path],
    *,
    validation: Path | None,
    model: str,
    method: Method | None,
    grader_file: Path | None,
    how: reading.How,
    as_json: bool,
) -> bool:
    """Check files, and what a validation file shares with them. Returns whether Azure would take all as they are.

    Raises:
        Told: the base model is not in the catalogue, or the grader is none.
    """
    profile, base = _asked(model, method, grader_file)
    with ExitStack() as stack:
        training = [_check(file, profile, how, stack) for file in files]
        outcomes = list(training)
        leaks: list[Leak] = []
        if validation is not None:
            alike = replace(
                profile, method=method or training[0].report.method
            )  # both files of a job are of one kind
            outcomes.append(_check(validation, alike, how, stack))
            leaks = [leak for one in training for leak in _leaks(one, outcomes[-1])]
        if as_json:
            words.put_json(_as_json(outcomes, leaks))
        else:
            _tell(outcomes, leaks, base.id, method=method)
    return all(outcome.report.verdict == "ready" for outcome in outcomes)


def _asked(model: str, method: Method | None, grader_file: Path | None) -> tuple[engine.Profile, BaseModel]:
    catalogue = Catalogue.load(None)
    base = catalogue.find(model)
    if base is None:
        raise Told(
            f"{model!r} is not a base model in the catalogue.",
            hint="`kitae base-models` lists what there is.",
            code=Exit.USAGE,
        )
    profile = replace(profile_of(catalogue, base), method=method)
    if grader_file is None:
        return profile, base
    if method not in {None, "reinforcement"}:
        raise Told(
            f"A grader is for reinforcement fine-tuning; the method is {method}.",
            hint="Leave out --grader, or choose --method reinforcement.",
            code=Exit.USAGE,
        )
    return replace(profile, grader=_grader(grader_file)), base


def _grader(file: Path) -> dict[str, Any]:
    try:
        grader = orjson.loads(file.read_bytes())
    except orjson.JSONDecodeError as error:
        reason = f"{printable(str(file))} is not JSON: line {error.lineno}, column {error.colno}: {error.msg}"
        raise Told(reason, hint="Write the grader as Azure takes it.", code=Exit.USAGE) from error
    if not isinstance(grader, dict):
        raise Told(
            f"{printable(str(file))} holds no grader: it is not a JSON object.",
            hint='A grader is an object with a "type", such as string_check, score_model, python or multi.',
            code=Exit.USAGE,
        )
    return grader


def profile_of(catalogue: Catalogue, base: BaseModel) -> engine.Profile:
    """The model's tokenizer and limits, as the service takes them."""
    limits = engine.Limits(
        tokens_per_example=base.tokens_per_example,
        file_bytes_max=catalogue.limits.file_bytes,
        examples_min=catalogue.limits.examples_min,
        examples_with_images_max=catalogue.limits.examples_with_images,
        tokens_times_epochs_max=catalogue.limits.tokens_times_epochs,
    )
    match base.tokenizer:
        case "o200k_base" | "cl100k_base" as known:
            return engine.Profile(tokenizer=known, limits=limits)
        case _:
            return engine.Profile(tokenizer="estimate", limits=limits)


def how_of(*, format_: str | None, mapping: str | None, encoding: str | None, sheet: str | None) -> reading.How:
    """What was said of the files.

    Raises:
        Told: it means nothing.
    """
    try:
        return reading.how_of(format=format_, mapping=mapping, encoding=encoding, sheet=sheet)
    except reading.BadHowError as error:
        raise Told(str(error), hint=error.hint, code=Exit.USAGE) from error


def not_over(output: Path, *, force: bool) -> None:
    """Raises `Told` when something is there that nobody said may be written over."""
    if output.exists() and not force:
        name = printable(str(output))
        raise Told(f"{name} is there already.", hint="Choose another output, or say --force.", code=Exit.USAGE)


def convert_file(
    file: Path,
    output: Path,
    *,
    model: str,
    method: Method | None,
    how: reading.How,
    bom: bool,
    force: bool,
    as_json: bool,
) -> bool:
    """Write a file as Azure takes it. Returns whether what was written is ready.

    Args:
        force: write over what is there; never over the file that is read.

    Raises:
        Told: it would overwrite something; then nothing is written.
    """
    profile, base = _asked(model, method, None)
    if output.exists() and output.samefile(file):
        raise Told("That would overwrite the file that is read.", hint="Choose another output.", code=Exit.USAGE)
    not_over(output, force=force)
    beside = output.with_name(f".{output.name}.part")
    try:
        with beside.open("wb") as target, ExitStack() as stack:
            if bom:
                target.write(BOM)
            outcome = _check(file, profile, how, stack, as_version=True, copy_to=target)
        if outcome.report.bytes:
            beside.replace(output)
    finally:
        beside.unlink(missing_ok=True)
    if as_json:
        words.put_json(
            _as_json([outcome], []) | {"output": printable(str(output)) if outcome.report.bytes else None}
        )
    else:
        _tell([outcome], [], base.id, method=method, written=output if outcome.report.bytes else None)
    return outcome.report.verdict == "ready"


def _check(
    file: Path,
    profile: engine.Profile,
    how: reading.How,
    stack: ExitStack,
    *,
    as_version: bool = False,
    copy_to: BinaryIO | None = None,
) -> Checked:
    size = file.stat().st_size
    fingerprints = stack.enter_context(tempfile.TemporaryFile())  # noqa: SIM115  the stack closes it
    sketches = stack.enter_context(tempfile.TemporaryFile())  # noqa: SIM115  the stack closes it
    lines = array("Q")
    with file.open("rb") as source, words.progress(f"checking {file.name}", total=size, unit="bytes") as draw:
        report = reading.check_any(
            source,
            profile,
            how,
            as_version=as_version,
            copy_to=copy_to,
            on_progress=lambda read: draw(read, ""),
            fingerprints=fingerprints,
            sketches=sketches,
            lines=lines,
            processes=engine.processes_for(size),
        )
    return Checked(file, report, fingerprints, sketches, lines, how)


def examined(file: Path, stack: ExitStack) -> Checked:
    """A file of any kind and method, for whoever only counts; its temporary files live as long as `stack`."""
    return _check(file, engine.Profile(tokenizer="estimate", method=None), reading.How(), stack, as_version=True)


def leaked(training: Checked, validation: Checked) -> int:
    """How many validation examples stand in the training file, word for word or nearly."""
    return len({line for leak in _leaks(training, validation) for line in leak.validation_lines})


def _leaks(training: Checked, validation: Checked) -> Iterator[Leak]:
    training.fingerprints.seek(0)
    validation.fingerprints.seek(0)
    pairs = engine.shared_examples(training.fingerprints, validation.fingerprints)
    exact = [validation.lines[at] for _, at in pairs]
    if pairs:
        yield Leak(training, validation, sorted({training.lines[at] for at, _ in pairs}), exact, is_exact=True)
    sketched = [
        engine.Sketched(one.sketches, one.reread, one.report.stats["lines"]) for one in (training, validation)
    ]
    mates = engine.near_leaks(*sketched, without=np.array(exact, dtype=np.int64)).mates
    if mates:
        yield Leak(
            training, validation, sorted({mate.line for mate in mates.values()}), list(mates), is_exact=False
        )


def _as_json(outcomes: Sequence[Checked], leaks: Sequence[Leak]) -> dict[str, Any]:
    return {
        "files": [
            {
                "path": outcome.name,
                "detected": outcome.report.format,
                "reading": _printable(outcome.report.reading),
                "verdict": outcome.report.verdict,
                "examples": outcome.report.examples,
                "tokens": outcome.report.tokens.total,
                "findings": [_finding(finding) for finding in outcome.report.findings],
            }
            for outcome in outcomes
        ],
        "leakage": {
            "exact": len(_leaked(leaks, is_exact=True)),
            "near": len(_leaked(leaks, is_exact=False) - _leaked(leaks, is_exact=True)),
            "pairs": [
                {
                    "training": leak.training.name,
                    "validation": leak.validation.name,
                    "kind": "exact" if leak.is_exact else "near",
                    "count": len(leak.validation_lines),
                    "lines": _spans(leak.validation_lines),
                    "training_lines": _spans(leak.training_lines),
                }
                for leak in leaks
            ],
        },
    }


def _finding(finding: engine.Finding) -> dict[str, Any]:
    """With all of its lines, as ranges; texts of which every byte can be printed."""
    return {
        "code": finding.code,
        "severity": str(finding.severity),
        "lines": finding.lines,
        "records": finding.records,
        "count": finding.count,
        "message": printable(finding.message),
        "remedy": printable(finding.remedy),
        "pointer": None if finding.pointer is None else printable(finding.pointer),
        "examples": [printable(example) for example in finding.examples],
        "fixable": finding.fixable,
        "more_ranges": finding.more_ranges,
    }


def _printable(read: dict[str, Any] | None) -> dict[str, Any] | None:
    if read is None:
        return None
    return {
        key: printable(value)
        if isinstance(value, str)
        else [printable(name) for name in value]
        if isinstance(value, list | tuple)
        else value
        for key, value in read.items()
        if key != "origin"  # findings name their records already
    }


def _leaked(leaks: Iterable[Leak], *, is_exact: bool) -> set[int]:
    """Lines of the validation file that stand in any training file."""
    return {line for leak in leaks if leak.is_exact == is_exact for line in leak.validation_lines}


def _spans(lines: Sequence[int]) -> Spans:
    """Ascending lines as ranges."""
    if not lines:
        return []
    breaks = [(before, after) for before, after in pairwise(lines) if after != before + 1]
    firsts = [lines[0], *(after for _, after in breaks)]
    lasts = [*(before for before, _ in breaks), lines[-1]]
    return list(zip(firsts, lasts, strict=True))


def _tell(
    outcomes: Sequence[Checked],
    leaks: Sequence[Leak],
    model: str,
    *,
    method: Method | None,
    written: Path | None = None,
) -> None:
    """The report is what was asked for, so it goes to stdout.

    Args:
        method: what was said of the files.
        written: where the one file went, of which this is the report.
    """
    out = words.data_console()
    for outcome in outcomes:
        report = outcome.report
        words.heading(outcome.name, to=out)
        if not any(report.format_reason in finding.message for finding in report.findings):
            words.say(f"  {printable(report.format_reason)}", style="dim", to=out)
        if report.examples:
            counted = [("examples", f"{report.examples:,}"), *reports.token_facts(asdict(report.tokens))]
            words.facts([*counted, ("training costs", _cost(report, model))])
        reports.findings([as_read(finding) for finding in report.findings], examples=3, to=out, unit=_unit(report))
        name = printable((written or outcome.file).name)
        match report.verdict:
            case "ready":
                words.done(f"{name} is ready for {model}.", to=out)
            case "fixable":
                text = f"{name} would be rejected by Azure ({model}) as it is; every error in it can be mended."
                words.marked("✗", "red", text, to=out)
                words.say(f"{reports.INDENT}→ {_mending(outcome, written, method)}", to=out)
            case "rejected":
                words.marked("✗", "red", f"{name} would be rejected by Azure ({model}).", to=out)
    for leak in leaks:
        words.heading(f"in {leak.training.name} and in {leak.validation.name}", to=out)
        where = words.lines_in_words(_spans(leak.validation_lines))
        count = len(leak.validation_lines)
        verb = "examples stand" if count > 1 else "example stands"
        how = "word for word" if leak.is_exact else "in almost the same words"
        text = f"{count:,} validation {verb} {how} in the training file ({where} of the validation file)."
        words.warn(text, to=out)
        words.say(
            f"{reports.INDENT}→ {engine.CODES['leakage' if leak.is_exact else 'near-leakage'].remedy}", to=out
        )


def _mending(outcome: Checked, written: Path | None, method: Method | None) -> str:
    """The command that makes a file Azure takes, with what was said of the file."""
    file, how = (outcome.file, outcome.how) if written is None else (written, reading.How())
    errors = {finding.code for finding in outcome.report.findings if finding.severity == "error"}
    command = "convert" if errors <= repairs.OF_FILES else "fix"
    target = file.with_suffix(".jsonl") if file.suffix != ".jsonl" else file.with_stem(f"{file.stem}-fixed")
    columns = ",".join(f"{name}={part}" for name, part in how.mapping.parts) if how.mapping else None
    said = {
        "format": how.format,
        "mapping": columns,
        "encoding": how.encoding,
        "sheet": how.sheet,
        "method": method,
    }
    options = [text for name, value in said.items() if value for text in (f"--{name}", value)]
    return printable(shlex.join(["kitae", "datasets", command, str(file), "-o", target.name, *options]))


def _cost(report: engine.Report, model: str) -> str | None:
    """Of one training of what was checked; `kitae datasets estimate` tells the rest."""
    from app.datasets.estimates import counts_of, estimate_of
    from app.datasets.schemas import EstimateRequest

    if report.method is None or not report.tokens.total:
        return None
    counts = counts_of(report.to_json(), subject="", method=report.method)
    wanted = EstimateRequest(model=model, training_type="GlobalStandard")
    try:
        offers = estimate_of(Catalogue.load(None), counts, wanted, today=utc_now().date()).offers
    except Invalid:  # the model is not trained by this method, which the check has said
        return None
    return reports.cost_in_a_line(offers[0]) if offers else None


def _unit(report: engine.Report) -> str:
    return str(report.reading["unit"]) if report.reading else "line"


def as_read(finding: engine.Finding) -> FindingRead:
    """A finding in the shape in which it crosses the wire."""
    from app.datasets.schemas import FindingRead  # 45 MB; after the check that much is free again

    return FindingRead.model_validate(asdict(finding))
