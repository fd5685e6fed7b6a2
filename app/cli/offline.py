"""`kitae datasets check`: the service's own check, on this machine, for files that nobody uploaded."""

import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

from app.azure.catalogue.catalogue import BaseModel, Catalogue
from app.cli import reports, words
from app.cli.exits import Exit, Told
from app.datasets import engine
from app.datasets.schemas import FindingRead


@dataclass(frozen=True, slots=True)
class Checked:
    """A file and what was found in it."""

    file: Path
    report: engine.Report

    @property
    def rejected(self) -> bool:
        return self.report.verdict == "rejected"


def check_files(file: Path, *, validation: Path | None, model: str, as_json: bool) -> bool:
    """Check one file, or two and what they share. Returns whether one was rejected.

    Raises:
        Told: the base model is not in the catalogue.
    """
    catalogue = Catalogue.load(None)
    base = catalogue.find(model)
    if base is None:
        raise Told(
            f"{model!r} is not a base model in the catalogue.",
            hint="`kitae base-models` lists what there is.",
            code=Exit.USAGE,
        )
    profile = profile_of(catalogue, base)
    shared: engine.Finding | None = None
    with tempfile.TemporaryFile() as ours, tempfile.TemporaryFile() as theirs:
        outcomes = [_check(file, profile, ours)]
        if validation is not None:
            outcomes.append(_check(validation, profile, theirs))
            ours.seek(0)
            theirs.seek(0)
            shared = engine.leakage(ours, theirs)
    if as_json:
        words.put_json(_as_json(outcomes, shared, base.id))
    else:
        _tell(outcomes, shared, base.id)
    return any(outcome.rejected for outcome in outcomes)


def profile_of(catalogue: Catalogue, base: BaseModel) -> engine.Profile:
    """The model's tokenizer and limits, as the service takes them."""
    limits = engine.Limits(
        tokens_per_example=base.tokens_per_example,
        file_bytes_max=catalogue.limits.file_bytes,
        examples_min=catalogue.limits.examples_min,
    )
    match base.tokenizer:
        case "o200k_base" | "cl100k_base" as known:
            return engine.Profile(tokenizer=known, limits=limits)
        case _:
            return engine.Profile(tokenizer="estimate", limits=limits)


def _check(file: Path, profile: engine.Profile, fingerprints: BinaryIO) -> Checked:
    size = file.stat().st_size
    with file.open("rb") as source, words.progress(f"checking {file.name}", total=size, unit="bytes") as draw:
        report = engine.check(
            source,
            profile,
            on_progress=lambda read: draw(read, ""),
            fingerprints=fingerprints,
            threads=engine.THREADS,
        )
    return Checked(file, report)


def _as_json(outcomes: Sequence[Checked], shared: engine.Finding | None, model: str) -> dict[str, Any]:
    files = [{"file": str(outcome.file), **outcome.report.to_json()} for outcome in outcomes]
    return {
        "model": model,
        "training": files[0],
        "validation": files[1] if len(files) > 1 else None,
        "shared": asdict(shared) if shared else None,
    }


def _tell(outcomes: Sequence[Checked], shared: engine.Finding | None, model: str) -> None:
    """The report is what was asked for, so it goes to stdout."""
    out = words.data_console()
    for outcome in outcomes:
        report = outcome.report
        words.heading(f"{outcome.file}", to=out)
        words.say(f"  {report.format_reason}", style="dim", to=out)
        if report.examples:
            words.facts([("examples", f"{report.examples:,}"), *reports.token_facts(asdict(report.tokens))])
        reports.findings([as_read(finding) for finding in report.findings], examples=3, to=out)
        if outcome.rejected:
            words.marked("✗", "red", f"{outcome.file.name} would be rejected by Azure ({model}).", to=out)
        else:
            words.done(f"{outcome.file.name} is ready for {model}.", to=out)
    if shared is not None:
        words.heading("in both files", to=out)
        reports.findings([as_read(shared)], examples=3, to=out)


def as_read(finding: engine.Finding) -> FindingRead:
    """A finding in the shape in which it crosses the wire."""
    return FindingRead.model_validate(asdict(finding))
