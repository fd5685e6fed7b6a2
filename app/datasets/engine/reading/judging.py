"""Reads any file and checks what was read: as the file it is, or as the version it becomes.

Must not know how a format is read or a rule is checked.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import BinaryIO

from app.datasets.engine.checking import check
from app.datasets.engine.findings import ORDER
from app.datasets.engine.kinds import KINDS
from app.datasets.engine.reading.files import Reading, opened
from app.datasets.engine.reading.how import Bounds, How
from app.datasets.engine.reading.refusals import finding
from app.datasets.engine.report import Finding, Profile, Report, Severity, Verdict


def check_any(  # noqa: PLR0913  as many as check has
    source: BinaryIO,
    profile: Profile,
    how: How | None = None,
    *,
    as_version: bool,
    bounds: Bounds | None = None,
    on_progress: Callable[[int], None] | None = None,
    copy_to: BinaryIO | None = None,
    fingerprints: BinaryIO | None = None,
    lines: array[int] | None = None,
    sketches: BinaryIO | None = None,
    processes: int = 1,
) -> Report:
    """Reads a file of any kind once and says whether it can be trained on. No content raises.

    The verdict on a file is what Azure would do with it as it was given: one that has to be converted is at best
    `fixable`. The verdict on a version is what Azure would do with the converted content.

    Args:
        source: an open file that can be read from any place.
        profile: model and method it is checked for.
        how: what the caller says of the file.
        as_version: judge what was written, not what was given.
        bounds: how much of a file is taken on.
        on_progress: called with the bytes of `source` read so far.
        copy_to: receives the content as Azure may have it: UTF-8 without a byte-order mark, a row a line.
        fingerprints: as for `check`; line numbers are those of what was written.
        lines: as for `check`.
        sketches: as for `check`.
        processes: as for `check`.
    """
    with opened(source, how, method=profile.method, bounds=bounds, on_progress=on_progress) as reading:
        untouched = reading.content is source
        report = check(
            reading.content,
            profile,
            on_progress=on_progress if untouched else None,
            copy_to=copy_to,
            fingerprints=fingerprints,
            lines=lines,
            sketches=sketches,
            processes=processes,
            where=None if reading.origin.unit == "line" else reading.origin.in_words,
        )
        return _judged(report, reading, as_version=as_version)


def _judged(report: Report, reading: Reading, *, as_version: bool) -> Report:
    told = reading.told
    if reading.refused:
        return replace(
            report,
            verdict="rejected",
            method=None,
            format=told.detected,
            format_reason=told.reason,
            findings=reading.findings,
            reading=told.to_json(),
        )
    if not told.converted:
        return report
    if reading.origin.unit != "line":
        report.findings[:] = [replace(one, records=reading.origin.ranges(one.lines)) for one in report.findings]
    about_file = [_as_version(one) for one in reading.findings] if as_version else list(reading.findings)
    if as_version:
        about_file = [one for one in about_file if one is not None]
        about_file.append(finding("converted", f"The content was converted. {told.reason}"))
    known = {one.code for one in report.findings}
    findings = sorted(
        [*(one for one in about_file if one is not None and one.code not in known), *report.findings],
        key=lambda one: ORDER[one.severity],
    )
    detected = report.format if as_version or told.detected == "unknown" else told.detected
    return replace(
        report,
        verdict=_verdict(report.verdict, [one for one in about_file if one is not None]),
        format=detected,
        format_reason=(report.format_reason if as_version else told.reason) or report.format_reason,
        findings=findings,
        reading=told.to_json()
        | {"detected": told.detected if told.detected in KINDS else report.format}
        | (
            {}
            if reading.origin.unit == "line" or not report.stats["lines"]
            else {"origin": reading.origin.to_json()}
        ),
    )


def _as_version(one: Finding) -> Finding | None:
    """What was mended by converting is no finding of the version."""
    return None if one.fixable and one.severity is Severity.ERROR else one


def _verdict(checked: Verdict, about_file: Iterable[Finding]) -> Verdict:
    errors = [one for one in about_file if one.severity is Severity.ERROR]
    if not errors:
        return checked
    if checked == "rejected" or not all(one.fixable for one in errors):
        return "rejected"
    return "fixable"
