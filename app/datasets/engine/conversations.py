"""Compares the rows of a file with one another: system prompts that differ by accident, answers that are labels,
answers that are all the same, or that something cut at one length.

Must not read texts for what they mean; see `content` for that. It keeps a bounded number of counts, whatever the
size of the file.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from app.datasets.engine.findings import Findings
from app.datasets.engine.tallies import Answers, Tally, answers_of

EXAMPLES_MIN: Final = 20
"""Rows below which nothing is said about shares of them."""
DISTINCT_MAX: Final = 2_000
"""Different system prompts, and different answers, that are told apart; further ones are only counted together."""
LINES_KEPT: Final = 100
"""Of each of them: more are never an exception."""
ANSWERS_COMPARED: Final = 5_000
"""The first ones, where answers are no labels."""
TEXT_CHARACTERS: Final = 400
"""Kept of a text; in these, case, blanks and punctuation are overlooked when two are compared."""
SHOWN_CHARACTERS: Final = 80

LABEL_CHARACTERS: Final = 60
LABELS_MAX: Final = 200
ROWS_PER_LABEL: Final = 5
"""Answers are labels when all are short, few are different, and each is given this often on average."""
TINY_CLASS: Final = 10
"""Examples of a label below which it is called tiny: Azure asks as many of a whole file. Ours."""
DOMINANT_SHARE: Final = 0.8
"""Of one label, from which a model that always gives it looks good."""
DOMINANT_TIMES: Final = 10
"""As many as the label in the middle."""
SAME_SHARE: Final = 0.5
"""Of the same answer, from which a file teaches little else."""
DEVIATING_SHARE: Final = 0.1
"""Of rows whose system prompt differs, up to which that looks like an accident."""
CUT_COUNT_MIN: Final = 5
"""Different answers of the same, greatest length, from which something cut them."""

_SPELLING: Final = re.compile(r"[\W_]+")


@dataclass(slots=True)
class _Seen:
    """One text that rows share."""

    text: str = ""
    """Its beginning."""
    rest: int = 0
    """Hash of what follows that."""
    rows: int = 0
    lines: list[int] = field(default_factory=list)
    """The first ones."""

    def met_in(self, line: int, text: str) -> None:
        """Keeps the text, and the line if it is one of the first."""
        if not self.lines:
            self.text, self.rest = text[:TEXT_CHARACTERS], hash(text[TEXT_CHARACTERS:])
        if len(self.lines) < LINES_KEPT:
            self.lines.append(line)

    @property
    def shown(self) -> str:
        return self.text[:SHOWN_CHARACTERS]

    @property
    def spelling(self) -> tuple[str, int]:
        """Equal for texts that differ only in case, white space and punctuation."""
        return _SPELLING.sub("", self.text.casefold()), self.rest


class _Texts:
    """Counts texts, and which lines have them."""

    def __init__(self) -> None:
        self.seen: dict[int, _Seen] = {}
        self.rows = 0

    def add(self, texts: Sequence[str], lines: NDArray[np.int64]) -> None:
        """Texts and the lines that they stand on."""
        self.rows += len(texts)
        hashes = list(map(hash, texts))
        scarce = set()
        for key, count in Counter(hashes).items():
            seen = self.seen.get(key)
            if seen is None:
                if len(self.seen) >= DISTINCT_MAX:
                    continue
                seen = self.seen[key] = _Seen()
            if len(seen.lines) < LINES_KEPT:
                scarce.add(key)
            seen.rows += count
        if scarce:
            for key, text, line in zip(hashes, texts, lines.tolist(), strict=True):
                if key in scarce:
                    self.seen[key].met_in(line, text)

    def by_frequency(self) -> list[_Seen]:
        return sorted(self.seen.values(), key=lambda seen: (-seen.rows, seen.shown))


class Conversations:
    """What the rows of one file have in common."""

    def __init__(self) -> None:
        self._prompts = _Texts()
        self._without = _Seen()
        self._answers = _Texts()
        self._has_long = False
        self._longest = 0
        self._cut: dict[int, tuple[int, bool]] = {}
        """Of the longest answers: the line, and whether it just stops."""
        self._found: list[tuple[int, str, str]] = []

    def take(self, line: int, row: dict[str, Any]) -> None:
        """One row, of any method."""
        asked = row.get("messages", row.get("input"))
        messages = asked.get("messages") if type(asked) is dict else asked
        if type(messages) is not list or not messages:
            return
        lines = np.array([line])
        prompt = _content(messages[0], {"system", "developer"})
        if prompt is None:
            self._take_without(lines)
        else:
            self._prompts.add([prompt], lines)
        answer = _content(messages[-1], {"assistant"})
        if answer is not None:
            self._take_answers(answers_of([answer], [0], with_texts=True), lines, line)

    @property
    def wants_answers(self) -> bool:
        """Whether the texts of further answers are compared; once they are not, they never are."""
        return not self._has_long or self._answers.rows < ANSWERS_COMPARED

    def take_plain(self, first_line: int, tally: Tally) -> None:
        """Plain rows, which all end in an answer; `first_line` is the number of the tally's place 0."""
        if not len(tally.places):
            return
        lines = tally.places + first_line
        prompted = tally.prompt_of >= 0
        if prompted.any():
            self._prompts.add([tally.prompts[at] for at in tally.prompt_of[prompted].tolist()], lines[prompted])
        if not prompted.all():
            self._take_without(lines[~prompted])
        self._take_answers(tally.answers, lines, first_line)

    def _take_without(self, lines: NDArray[np.int64]) -> None:
        self._without.rows += len(lines)
        self._without.lines += lines[: LINES_KEPT - len(self._without.lines)].tolist()

    def _take_answers(self, answers: Answers, lines: NDArray[np.int64], first_line: int) -> None:
        longest = answers.longest
        self._has_long = self._has_long or longest > LABEL_CHARACTERS
        if longest > self._longest:
            self._longest, self._cut = longest, {}
        if longest == self._longest:
            for place, key, is_open in answers.of_longest:
                if len(self._cut) < DISTINCT_MAX:
                    self._cut.setdefault(key, (first_line + place, is_open))
        texts = answers.texts
        if self._has_long:  # no labels: whether one answer prevails is seen from the first of them
            room = max(0, ANSWERS_COMPARED - self._answers.rows)
            texts, lines = texts[:room], lines[:room]
        if texts:
            self._answers.add(texts, lines)

    def report(self, findings: Findings) -> None:
        """Adds what was found; call once, at the end."""
        self._report_prompts()
        self._report_answers(findings)
        cut = [line for line, is_open in self._cut.values() if is_open]
        if len(cut) >= CUT_COUNT_MIN and len(cut) >= DOMINANT_SHARE * len(self._cut):
            self._add("answers-cut-off", cut, f"{self._longest:,} characters, as {len(cut) - 1} others, and no end")
        for line, code, detail in sorted(self._found):
            findings.add(code, line, detail)

    def _add(self, code: str, lines: Iterable[int], detail: str) -> None:
        self._found += [(line, code, detail) for line in lines]

    def _report_prompts(self) -> None:
        prompts, without = self._prompts.by_frequency(), self._without
        total = self._prompts.rows + without.rows
        if total < EXAMPLES_MIN or not prompts:
            return
        for few, words in (
            (without, "no system prompt, where the others have one"),
            (_together(prompts), "a system prompt, where the others have none"),
        ):
            if 0 < few.rows <= min(DEVIATING_SHARE * total, LINES_KEPT) and without.rows:
                self._add("inconsistent-system-prompt", few.lines, words)
        first_of: dict[tuple[str, int], _Seen] = {}
        for prompt in prompts:
            usual = first_of.setdefault(prompt.spelling, prompt)
            if usual is not prompt:
                words = f"differs from the more frequent one in case, blanks or punctuation alone: {prompt.shown!r}"
                self._add("inconsistent-system-prompt", prompt.lines, words)
        deviating = self._prompts.rows - prompts[0].rows
        if 0 < deviating <= DEVIATING_SHARE * self._prompts.rows and deviating <= LINES_KEPT:
            for prompt in prompts[1:]:
                if first_of[prompt.spelling] is prompt:
                    words = f"differs from that of {prompts[0].rows:,} others: {prompt.shown!r}"
                    self._add("inconsistent-system-prompt", prompt.lines, words)

    def _report_answers(self, findings: Findings) -> None:
        answers = self._answers.by_frequency()
        total = self._answers.rows
        if total < EXAMPLES_MIN:
            return
        if not self._has_long and 2 <= len(answers) <= min(LABELS_MAX, total / ROWS_PER_LABEL):
            self._report_labels(findings, answers, total)
        elif answers[0].rows >= SAME_SHARE * total:
            findings.add_file(
                "same-answer",
                f"{answers[0].rows:,} of {total:,} answers are the same: {answers[0].shown!r}.",
            )

    def _report_labels(self, findings: Findings, labels: list[_Seen], total: int) -> None:
        first_of: dict[tuple[str, int], _Seen] = {}
        for label in labels:
            usual = first_of.setdefault(label.spelling, label)
            if usual is not label:
                self._add(
                    "label-spelling",
                    label.lines,
                    f"{label.shown!r}, where {usual.rows:,} rows have {usual.shown!r}",
                )
            elif label.rows < TINY_CLASS:
                self._add("tiny-class", label.lines, f"{label.rows} of {label.shown!r}")
        most = labels[0]
        if most.rows > DOMINANT_SHARE * total or most.rows > DOMINANT_TIMES * median(seen.rows for seen in labels):
            told = [f"{label.shown!r}: {label.rows:,}" for label in (*labels[:2], labels[-1])]
            findings.add_file(
                "label-imbalance",
                f"{most.rows / total:.0%} of {total:,} answers are {most.shown!r}, one of {len(labels)} labels.",
                *dict.fromkeys(told),
            )


def _together(prompts: Iterable[_Seen]) -> _Seen:
    together = _Seen()
    for prompt in prompts:
        together.rows += prompt.rows
        together.lines += prompt.lines
    return together


def _content(message: Any, roles: set[str]) -> str | None:
    role = message.get("role") if type(message) is dict else None
    if type(role) is not str or role not in roles:
        return None
    content = message.get("content")
    return content if type(content) is str and content else None
