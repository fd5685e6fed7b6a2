"""What a check is asked (profile, limits) and what it answers (findings, report), as plain values.

Must not know how a file is read or which rules exist; see `codes` for the rules' names.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, Literal

Tokenizer = Literal["o200k_base", "cl100k_base", "estimate"]
Method = Literal["supervised", "dpo", "reinforcement"]
Verdict = Literal["ready", "fixable", "rejected"]
"""What Azure would do with the file as it is: take it, or refuse it; `fixable` = refuse it, but every error in it
can be mended without inventing content."""
LineRange = tuple[int, int]
"""First and last line, counted from 1, both included."""

REPORT_BYTES_MAX = 64 * 1024
"""Upper bound of a report written as JSON: it is one jsonb value and one HTTP answer."""


class Severity(StrEnum):
    ERROR = "error"
    """Azure refuses such a file, or training would spoil the model; the verdict is no longer `ready`."""
    WARNING = "warning"
    """Allowed and probably not meant."""
    NOTE = "note"
    """Worth knowing."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One kind of defect in one file, with every line it stands on."""

    code: str
    severity: Severity
    message: str
    remedy: str
    lines: tuple[LineRange, ...] = ()
    """Ascending, disjoint; empty for a finding about the whole file."""
    count: int = 1
    """Lines affected, also those beyond the stored ranges; 1 for a finding about the whole file."""
    pointer: str | None = None
    """RFC 6901 pointer into the object of the first affected line."""
    examples: tuple[str, ...] = ()
    """The first few occurrences in words, such as "line 50, column 309: …"."""
    fixable: bool = False
    """The service can write a new version without this defect and without inventing content."""
    more_ranges: int = 0
    """Ranges found but not stored (see `findings.RANGES_MAX`)."""
    records: tuple[LineRange, ...] = ()
    """Where these lines came from in a file that was converted, in the unit that `Report.reading` names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Every number a verdict depends on.

    Source: Azure OpenAI quotas and limits, 2026-02-17; fine-tuning REST include, 2026; fine-tuning
    vision page, 2025-03-05. Reader limits (line, depth, comparison) are ours.
    """

    tokens_per_example: int | None = None
    """Tokens in one training example: 65 536 for most models, 32 768 for gpt-4.1-nano; None where Azure
    publishes none."""
    examples_min: int = 10
    """Examples per file; "jobs won't proceed" below it."""
    file_bytes_max: int = 512_000_000
    """Bytes of one file: 512 MB through the API, read as decimal because the smaller reading is safe."""
    line_bytes_max: int = 8 * 1024 * 1024
    """Bytes of one line; a longer one is counted and named, never held in memory. Ours."""
    json_depth_max: int = 64
    """Objects and arrays inside one another; deeper input is an attack or an accident. Ours."""
    errors_max: int = 1_000_000
    """Errors after which no further line is examined: such a file is not cured line by line, and saying why
    a line is broken takes many times as long as reading a sound one (a million: 20 seconds). Ours."""
    images_per_example: int = 64
    """Images in one example."""
    image_bytes_max: int = 10_000_000
    """Bytes of one image."""
    examples_with_images_max: int = 50_000
    """Examples with an image in one file."""
    tokens_times_epochs_max: int = 2_000_000_000
    """Tokens of the training file times epochs. Source: what's new in Azure OpenAI, 2025-01-24."""
    examples_compared_max: int = 2_000_000
    """Examples that take part in the search for duplicates; each costs 40 bytes of memory. Ours."""


@dataclass(frozen=True, slots=True)
class Profile:
    """For which model and method a file is checked."""

    tokenizer: Tokenizer = "o200k_base"
    limits: Limits = field(default_factory=Limits)
    method: Method | None = "supervised"
    """None: whatever the first row that is an example of any method is an example of."""
    grader: dict[str, Any] | None = None
    """The grader of a reinforcement job; its references to members of the row are looked for in each."""


@dataclass(frozen=True, slots=True)
class TokenStats:
    """How many tokens a file holds, by the model's own tokenizer where it is known.

    Counting rule: text, 3 per message, 1 per role word as the tokenizer has it, 1 more per name, 3 per
    example. Source: Azure OpenAI fine-tuning tutorial, 2026.
    """

    tokenizer: str
    total: int = 0
    trained: int = 0
    """Tokens of assistant answers (text and calls) whose weight is not 0: what the loss is taken on."""
    per_example_min: int = 0
    per_example_p50: int = 0
    per_example_p95: int = 0
    per_example_max: int = 0
    by_role: dict[str, int] = field(default_factory=dict)
    """Role -> tokens of its messages' text and calls, without the fixed costs."""
    over_limit: tuple[LineRange, ...] = ()
    """Lines whose example is longer than `Limits.tokens_per_example`."""
    estimated: tuple[str, ...] = ()
    """What was estimated rather than counted, in words; empty when every number is exact."""


@dataclass(frozen=True, slots=True)
class Report:
    """The outcome of one check."""

    verdict: Verdict
    method: Method | None
    """What its rows are examples of; None where they are examples of nothing."""
    format: str
    """What the file was taken for; see `kinds.KINDS` for the words."""
    format_reason: str
    """Why, in one sentence."""
    examples: int
    """Rows of that format."""
    bytes: int
    """Bytes of the cleaned content."""
    sha256: str
    """Hex digest of the cleaned content (the file without its byte-order mark)."""
    tokens: TokenStats
    findings: list[Finding]
    """Errors first, then warnings and notes; within one severity by first line."""
    preview: list[dict[str, Any]]
    """The first three rows, long texts cut."""
    stats: dict[str, Any]
    """Counts of messages, roles, tools, system prompts; JSON values only."""
    reading: dict[str, Any] | None = None
    """How the file was read, as `reading.Told.to_json` writes it; None for content that was JSON Lines already."""

    def to_json(self) -> dict[str, Any]:
        """The report as JSON values that PostgreSQL's jsonb accepts: no NUL, no lone surrogate.

        At most REPORT_BYTES_MAX bytes: line ranges are cut first (`more_ranges` says how many), then the
        preview is dropped.
        """
        body: dict[str, Any] = _clean(asdict(self))
        for keep in (1000, 200, 40, 10):
            if _size(body) <= REPORT_BYTES_MAX:
                return body
            for finding in body["findings"]:
                cut = len(finding["lines"]) - keep
                if cut > 0:
                    finding["lines"] = finding["lines"][:keep]
                    finding["more_ranges"] += cut
                finding["records"] = finding["records"][:keep]
            body["tokens"]["over_limit"] = body["tokens"]["over_limit"][:keep]
        if _size(body) > REPORT_BYTES_MAX:
            body["preview"] = []
        return body


def _size(value: Any) -> int:
    return len(json.dumps(value, ensure_ascii=False).encode())


def printable(text: str) -> str:
    """`text` with what PostgreSQL cannot store (NUL, lone surrogates) replaced by U+FFFD."""
    if "\0" in text:
        text = text.replace("\0", "�")
    try:
        text.encode()
    except UnicodeEncodeError:
        text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return printable(str(value))
    if isinstance(value, dict):
        return {printable(str(key)): _clean(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_clean(item) for item in value]
    return value
