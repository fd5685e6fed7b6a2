"""What the scores of samples say of a grader. Pure; it must not know where the answers came from but by name."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from functools import cache
from importlib.resources import files
from typing import Final, Literal

Word = Literal["ok", "too_easy", "too_hard", "flat", "broken", "too_few"]
BINS: Final = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Threshold:
    value: Decimal
    source: str
    as_of: date
    confidence: str


@cache
def thresholds() -> Mapping[str, Threshold]:
    """The shipped facts, by name."""
    raw = json.loads(files("app.calibrations").joinpath("thresholds.json").read_text(encoding="utf-8"))
    return {
        name: Threshold(
            value=Decimal(item["value"]),
            source=item["source"],
            as_of=date.fromisoformat(item["as_of"]),
            confidence=item["confidence"],
        )
        for name, item in raw.items()
        if name != "about"
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    word: Word
    words: str
    advice: str
    source: str
    """Of the threshold that decided; empty where none did."""


def judge(rewards: Sequence[float], *, failed: int, passed: int, are_references: bool) -> Verdict:
    """The verdict.

    Args:
        rewards: of the answers that could be graded.
        failed: answers that could not.
        passed: of those graded.
        are_references: the answers are the data's own, which ought to pass, and not a model's.
    """
    known = thresholds()
    total = len(rewards) + failed
    if total and failed / total > known["errors_share_max"].value:
        return Verdict(
            word="broken",
            words=f"{failed} of {total} answers could not be graded.",
            advice="The errors say why: mend the grader, or the rows it reads.",
            source=known["errors_share_max"].source,
        )
    if len(rewards) < known["samples_min"].value:
        return Verdict(
            word="too_few",
            words=f"{len(rewards)} graded answers say nothing.",
            advice=f"Grade at least {known['samples_min'].value}.",
            source=known["samples_min"].source,
        )
    rate = passed / len(rewards)
    if are_references:
        return _of_references(rate, known["reference_pass_min"])
    return _of_a_model(rewards, rate)


def _of_references(rate: float, least: Threshold) -> Verdict:
    if rate < least.value:
        return Verdict(
            word="broken",
            words=f"Only {rate:.0%} of the data's own answers pass: the grader refuses what it should reward.",
            advice="Compare one refused answer with the grader's reference: spaces, units, letter case, format.",
            source=least.source,
        )
    return Verdict(
        word="ok",
        words=f"{rate:.0%} of the data's own answers pass, as they should.",
        advice="Now let the base model answer: that tells whether there is anything to learn.",
        source=least.source,
    )


def _of_a_model(rewards: Sequence[float], rate: float) -> Verdict:
    easy, hard = thresholds()["too_easy_from"], thresholds()["too_hard_to"]
    if rate >= easy.value:
        return Verdict(
            word="too_easy",
            words=f"{rate:.0%} of the answers pass already: there is little left to learn.",
            advice="Take harder prompts, or a stricter grader; else do not train.",
            source=easy.source,
        )
    if max(rewards) == min(rewards):
        return Verdict(
            word="too_hard" if rate <= hard.value else "flat",
            words=f"Every answer gets {rewards[0]:g}: nothing tells a better answer from a worse one.",
            advice="Give credit for parts (a multi grader), take easier prompts, or train supervised first.",
            source=hard.source,
        )
    if rate <= hard.value:
        return Verdict(
            word="too_hard",
            words=f"No answer passes, though they differ ({min(rewards):.2f} to {max(rewards):.2f}).",
            advice="Partial credit may be climbed; easier prompts, or supervised training first, are surer.",
            source=hard.source,
        )
    return Verdict(
        word="ok",
        words=f"{rate:.0%} of the answers pass: some succeed and some fail, which is what training learns from.",
        advice="",
        source="",
    )


@dataclass(frozen=True, slots=True)
class Bin:
    low: float
    high: float
    count: int


def distribution(rewards: Sequence[float], span: tuple[float, float] | None) -> list[Bin]:
    """Ten bins from the lowest possible score to the highest; of the scores seen where the grader has no range."""
    if not rewards:
        return []
    low, high = span or (min(rewards), max(rewards))
    low, high = min(low, *rewards), max(high, *rewards)
    width = (high - low) / BINS or 1.0
    counts = [0] * BINS
    for reward in rewards:
        counts[min(BINS - 1, int((reward - low) / width))] += 1
    return [
        Bin(round(low + width * index, 6), round(low + width * (index + 1), 6), count)
        for index, count in enumerate(counts)
    ]
