"""Reads what a fine-tuning job measured: results.csv, or the metrics of its events until there is a file.

It knows nothing of jobs, files or HTTP: bytes in, points out.
"""

import base64
import binascii
import csv
import io
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

MAX_BYTES: Final = 32 * 1024 * 1024
"""A row is about 60 bytes, so this is half a million steps. At the default batch size, 0.2 % of the
examples, an epoch has about 500."""

MAX_POINTS: Final = 100_000
"""At most so many points are kept (and the last row); a longer file is thinned evenly over its whole
length."""

MAX_COLUMNS: Final = 64
"""Real files have 5 to 11 columns."""

FOREIGN: Final[tuple[tuple[frozenset[str], str], ...]] = (
    (frozenset({"epoch", "val_loss"}), "the history of a Keras or PyTorch training, a row an epoch"),
    (frozenset({"epoch", "eval_loss"}), "the log of a Hugging Face Trainer"),
    (frozenset({"epoch"}), "the history of another training, a row an epoch"),
    (frozenset({"wall time", "value"}), "a series exported from TensorBoard"),
    (frozenset({"_step"}), "a table exported from Weights & Biases"),
    (frozenset({"messages"}), "a dataset; `kitae datasets check` reads those"),
    (frozenset({"prompt"}), "a dataset; `kitae datasets check` reads those"),
    (frozenset({"question"}), "a dataset; `kitae datasets check` reads those"),
)
"""Columns (lower case) of files that are given in place of a results.csv; the first match counts."""

MAX_STEP: Final = 10**9

ALIASES: Final[Mapping[str, str]] = {
    "training_loss": "train_loss",
    "loss": "train_loss",
    "train_accuracy": "train_mean_token_accuracy",
    "train_token_accuracy": "train_mean_token_accuracy",
    "training_token_accuracy": "train_mean_token_accuracy",
    "validation_loss": "valid_loss",
    "eval_loss": "valid_loss",
    "validation_mean_token_accuracy": "valid_mean_token_accuracy",
    "validation_token_accuracy": "valid_mean_token_accuracy",
    "valid_token_accuracy": "valid_mean_token_accuracy",
    "valid_accuracy": "valid_mean_token_accuracy",
    "full_validation_loss": "full_valid_loss",
    "full_validation_mean_token_accuracy": "full_valid_mean_token_accuracy",
}
"""Other spellings of the canonical columns.

Source: Learn documents `validation_mean_token_accuracy` (fine-tuning-rest.md, 2026-10-05) where real files
carry `valid_mean_token_accuracy` (microsoft-foundry/fine-tuning, Image_FT_Chart_Analysis, 2026-01-23);
`train_accuracy` is in files of 2023-2024; `training_…` and `validation_…` are those of the fine-tunes API
before 2024; `eval_loss` is what Microsoft's own check_training.py falls back to (2026-08-20).
"""

LOSSES: Final = frozenset({"train_loss", "valid_loss", "full_valid_loss"})
ACCURACIES: Final = frozenset(
    {"train_mean_token_accuracy", "valid_mean_token_accuracy", "full_valid_mean_token_accuracy"}
)
TRAIN_REWARDS: Final = ("train_reward_mean", "train_mean_reward")
VALID_REWARDS: Final = ("full_valid_mean_reward", "valid_reward_mean", "valid_mean_reward")
TOKEN_COUNTS: Final = ("completion_tokens_mean", "reasoning_tokens_mean", "train_reasoning_tokens_mean")
ERROR_COUNTS: Final = ("train_sample_parse_error_count", "train_other_error_count")
REINFORCEMENT: Final = frozenset(
    {
        *TRAIN_REWARDS,
        *VALID_REWARDS,
        *TOKEN_COUNTS,
        *ERROR_COUNTS,
        "valid_reasoning_tokens_mean",
        "mean_unresponsive_rewards",
    }
)
"""Columns of reinforcement fine-tuning, kept under Azure's own names.

Source: Learn, reinforcement-fine-tuning.md (`…_reward_mean`), and Microsoft's training-curves.md, 2026-08-20
(`train_mean_reward`, `full_valid_mean_reward` and the counts): the two disagree, so both are read.
"""

KNOWN: Final = LOSSES | ACCURACIES | REINFORCEMENT
_NOT_METRICS: Final = frozenset({"step", "total_steps"})


@dataclass(frozen=True, slots=True)
class Point:
    """What was measured at one training step.

    Args:
        values: by canonical name (`train_loss`, `train_mean_token_accuracy`, `valid_loss`,
            `valid_mean_token_accuracy`, `full_valid_loss`, `full_valid_mean_token_accuracy`), by Azure's own
            name for reinforcement fine-tuning and for columns not known here. Losses are nats a token,
            accuracies 0 to 1. A loss may be NaN or infinite: that is a finding, not an error. Empty cells are
            absent.
    """

    step: int
    values: dict[str, float]


@dataclass(frozen=True, slots=True)
class Results:
    """The points of one training in the order of their steps, each step once.

    Args:
        columns: known columns of the source, canonical names, in its order.
        unknown_columns: the others; cells that are numbers are in the points under their own name.
        warnings: what was put right or left out while reading, a sentence each.
    """

    points: tuple[Point, ...]
    columns: tuple[str, ...]
    unknown_columns: tuple[str, ...]
    warnings: tuple[str, ...]

    def series(self, name: str) -> list[tuple[int, float]]:
        """(step, value) wherever the column has a value, NaN and infinities included."""
        return [(point.step, point.values[name]) for point in self.points if name in point.values]


class ResultsError(ValueError):
    """The bytes are not a fine-tuning result, or are broken beyond reading.

    Args:
        line: where, counted from 1; None when it is about the file as a whole.
        message: what is wrong and what to do.
    """

    def __init__(self, message: str, line: int | None = None) -> None:
        super().__init__(message if line is None else f"line {line}: {message}")
        self.line = line
        self.message = message


def parse_results(data: bytes) -> Results:
    """Read a results.csv by its header, whichever of its historical spellings it uses.

    The file may be read while the job is running: a last line that was cut is left out with a warning.

    Raises:
        ResultsError: for anything that cannot be read; never another exception.

    Source: OpenAI's service hands the file out base64-encoded, Azure as plain text (readers such as wandb's
    try both); both are accepted.
    """
    text = _text(data)
    rows = _rows(text)
    header_line, header = next(rows, (1, []))
    columns = _columns(header, header_line)
    collected = _Collected()
    cut_is_possible = not text.endswith(("\n", "\r"))
    pending: tuple[int, list[str]] | None = None
    for row in rows:
        if pending is not None:
            _add_row(collected, columns, *pending)
        pending = row
    if pending is not None:
        _add_last_row(collected, columns, *pending, cut_is_possible=cut_is_possible)
    known = tuple(dict.fromkeys(name for name in columns if name in KNOWN))
    unknown = tuple(name for name in columns if name not in KNOWN and name not in _NOT_METRICS)
    return collected.results(known, unknown)


def results_from_events(rows: Iterable[Mapping[str, object]]) -> Results:
    """The same picture from the `data` of metrics events: coarser (every tenth step), but there at once.

    Never raises: an event that cannot be used is counted in a warning. Order and repetition do not matter.

    Source: metrics events appear at step 1 and every 10 steps (microsoft-foundry/fine-tuning, DPO_Intel_Orca,
    2026-01-23); their `data` carries the column names of results.csv.
    """
    collected = _Collected()
    seen: dict[str, None] = {}
    unusable = 0
    for row in rows:
        step = _step(row.get("step"))
        values = {_canonical(name): _measure(value) for name, value in row.items()}
        numbers = {
            name: value for name, value in values.items() if value is not None and name and name not in _NOT_METRICS
        }
        if step is None or not numbers:
            unusable += 1
            continue
        seen.update(dict.fromkeys(list(numbers)[:MAX_COLUMNS]))
        collected.add(step, numbers)
    if unusable:
        collected.warnings.append(f"{unusable} events carried no step or no number and were left out.")
    known = tuple(name for name in seen if name in KNOWN)
    unknown = tuple(name for name in seen if name not in KNOWN)
    return collected.results(known, unknown)


class _Collected:
    """Points while they come in: one a step, never more than `MAX_POINTS` and one."""

    def __init__(self) -> None:
        self.warnings: list[str] = []
        self._by_step: dict[int, dict[str, float]] = {}
        self._last: tuple[int, dict[str, float]] | None = None
        self._stride = 1
        self._rows = 0
        self._repeated = 0
        self._negative = 0
        self._in_order = True

    def add(self, step: int, values: dict[str, float]) -> None:
        below_zero = [name for name, value in values.items() if value < 0 and name in LOSSES | ACCURACIES]
        for name in below_zero:
            del values[name]
        self._negative += len(below_zero)
        self._in_order = self._in_order and (self._last is None or step >= self._last[0])
        self._last = (step, values)
        self._rows += 1
        if step in self._by_step:
            self._repeated += 1
            self._by_step[step].update(values)
        elif self._rows % self._stride == 0:
            self._by_step[step] = values
            if len(self._by_step) > MAX_POINTS:
                self._by_step = dict(list(self._by_step.items())[1::2])
                self._stride *= 2

    def results(self, columns: tuple[str, ...], unknown_columns: tuple[str, ...]) -> Results:
        if self._last is not None:
            self._by_step.setdefault(*self._last)
        if self._stride > 1:
            self.warnings.append(
                f"Of {self._rows} rows every {self._stride}th was kept ({len(self._by_step)} points)."
            )
        if not self._in_order:
            self.warnings.append("The steps were not in order and have been sorted.")
        if self._repeated:
            self.warnings.append(f"{self._repeated} rows repeat a step (as after a pause); the later value stands.")
        if self._negative:
            self.warnings.append(
                f"{self._negative} negative losses or accuracies were left out: neither can be below zero."
            )
        points = tuple(Point(step, values) for step, values in sorted(self._by_step.items()))
        return Results(points, columns, unknown_columns, tuple(self.warnings))


def _text(data: bytes) -> str:
    if len(data) > MAX_BYTES:
        raise ResultsError(f"the file has {len(data)} bytes; a result file has at most {MAX_BYTES}.")
    if not data.strip():
        raise ResultsError(
            "the file is empty. The job may not have written its first step yet; read it again later."
        )
    if b"," not in data:
        data = _unwrapped(data)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ResultsError("this is not UTF-8 text, so it is not a results.csv.", line) from None
    if "\x00" in text:
        raise ResultsError(
            "there is a NUL byte; the file is binary or damaged.", text[: text.index("\x00")].count("\n") + 1
        )
    return text


def _unwrapped(data: bytes) -> bytes:
    """The decoded bytes if they are base64 of something with a comma in it, else the bytes as they came."""
    try:
        decoded = base64.b64decode(b"".join(data.split()), validate=True)
    except binascii.Error:
        return data
    return decoded if b"," in decoded else data


def _rows(text: str) -> Iterator[tuple[int, list[str]]]:
    """(line number, cells) of every row that is not blank."""
    reader = csv.reader(io.StringIO(text, newline=""))
    while True:
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise ResultsError(f"the CSV is broken ({error}).", reader.line_num) from None
        if any(cell.strip() for cell in row):
            yield reader.line_num, row


def _columns(header: list[str], line: int) -> list[str]:
    """The header's names, canonical, in order.

    Raises:
        ResultsError: when it is not the header of a fine-tuning result.
    """
    if len(header) > MAX_COLUMNS:
        raise ResultsError(f"{len(header)} columns; a result file has at most {MAX_COLUMNS}.", line)
    names = [_canonical(cell) for cell in header]
    if any(not name.isprintable() for name in names):
        raise ResultsError("a column name holds a control character; this is not a results.csv.", line)
    found = ", ".join(name[:40] for name in names[:12] if name) or "none"
    if "step" not in names:
        raise ResultsError(
            "this is not the result of a fine-tuning job: there is no `step` column "
            f"(columns found: {found}).{_likeness(header)} "
            "Give the results.csv that the job names in `result_files`.",
            line,
        )
    if not any(name in KNOWN for name in names):
        raise ResultsError(
            "this is not the result of a fine-tuning job: beside `step` there is no loss, no token accuracy "
            f"and no reward (columns found: {found}).{_likeness(header)}",
            line,
        )
    return names


def _likeness(header: list[str]) -> str:
    """What the file seems to be instead, as a sentence; empty when it is like nothing known."""
    if header and header[0].lstrip().startswith(("{", "[")):
        return " It looks like JSON."
    if len(header) == 1 and any(mark in header[0] for mark in ";\t"):
        return " Its columns are separated by semicolons or tabs: a spreadsheet may have saved it anew."
    names = frozenset(name.strip().lower() for name in header)
    return next((f" It looks like {what}." for marks, what in FOREIGN if marks <= names), "")


def _canonical(name: str) -> str:
    cleaned = name.strip()
    lowered = cleaned.lower()
    lowered = ALIASES.get(lowered, lowered)
    return lowered if lowered in KNOWN or lowered in _NOT_METRICS else cleaned


def _add_last_row(
    collected: _Collected, columns: list[str], line: int, cells: list[str], *, cut_is_possible: bool
) -> None:
    """A file without a final line break may end inside a row: that row is left out unless it is whole."""
    try:
        if not cut_is_possible or len(cells) >= len(columns):
            _add_row(collected, columns, line, cells)
            return
    except ResultsError:
        if not cut_is_possible:
            raise
    collected.warnings.append(
        f"Line {line}, the last, is incomplete and was left out; the file was probably still being written."
    )


def _add_row(collected: _Collected, columns: list[str], line: int, cells: list[str]) -> None:
    if len(cells) > len(columns) and any(cell.strip() for cell in cells[len(columns) :]):
        raise ResultsError(f"{len(cells)} cells under {len(columns)} columns.", line)
    step: int | None = None
    values: dict[str, float] = {}
    for name, cell in zip(columns, cells, strict=False):
        if name == "step":
            step = _step(cell)
            if step is None:
                raise ResultsError(f"`step` holds {cell[:40]!r}, which is not a step number.", line)
            continue
        if not name or name in _NOT_METRICS or not cell.strip():
            continue
        value = _measure(cell)
        if value is not None:
            values[name] = value
        elif name in KNOWN:
            raise ResultsError(f"`{name}` holds {cell[:40]!r}, which is not a number.", line)
    if step is None:
        raise ResultsError("the row ends before its `step`.", line)
    collected.add(step, values)


def _step(value: object) -> int | None:
    number = _measure(value)
    if number is None or not math.isfinite(number) or number != int(number) or not 0 <= number <= MAX_STEP:
        return None
    return int(number)


def _measure(value: object) -> float | None:
    """A number of JSON or of a CSV cell (`1e-05`, `NaN`, `Infinity` included), or None."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        try:
            return float(value)
        except OverflowError:
            return None
    # Python also reads 1_000 and digits of other scripts; no trainer writes them, so they mean a wrong file.
    if not isinstance(value, str) or not value.isascii() or "_" in value:
        return None
    try:
        return float(value)
    except ValueError:
        return None
