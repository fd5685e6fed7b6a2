"""The watch-dog: rules about a training's course, each with what is done when it holds. Pure.

It knows no row, no clock and no Azure: it is given the course so far and says which rules hold on new evidence.
Numbers are read by the same readings as the analysis, so that an alarm and the verdict at the end do not contradict
each other. Thresholds without a source are our own judgement; every one of them can be set for a job.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any, Final, Literal

from pydantic import ConfigDict, Field, TypeAdapter

from app.jobs.analysis.readings import Readings, read
from app.jobs.analysis.results import TRAIN_REWARDS, VALID_REWARDS, Results
from app.jobs.analysis.trend import mean
from app.kit.wire import Count, Measure, RequestModel

Action = Literal["notify", "pause", "cancel"]
RULES_MAX: Final = 20
FEWEST_POINTS: Final = 10
"""Fewer training values say nothing about a course; the analysis asks for as many."""
TOKEN_COLUMNS: Final = (
    "completion_tokens_mean",
    "reasoning_tokens_mean",
    "train_reasoning_tokens_mean",
    "valid_reasoning_tokens_mean",
)
TOKEN_ENDS: Final = 3
"""So many values at the beginning and at the end are compared."""
SPEND_NOTICE_USD: Final = Decimal(4000)
"""By default a reinforcement job speaks up here: at 80 % of the US$5,000 at which Azure pauses it by itself.

Source of the limit: Microsoft Learn, fine-tuning cost management, 2026-03-19.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """A training as far as it is known."""

    results: Results
    readings: Readings
    spent_usd: Decimal | None
    """None where no price is known."""
    silent_seconds: float | None
    """Since its last step, or since it began or went on; None while it is not running."""

    @classmethod
    def of(cls, results: Results, *, spent_usd: Decimal | None, silent_seconds: float | None) -> "Course":
        return cls(results=results, readings=read(results, ()), spent_usd=spent_usd, silent_seconds=silent_seconds)

    @property
    def step(self) -> int:
        """The newest step; 0 before the first."""
        return self.readings.last_step


@dataclass(frozen=True, slots=True)
class Sign:
    """What a rule saw."""

    since_step: int
    """Where what it saw began: a rule fires again only on something that began after it had fired."""
    message: str
    numbers: dict[str, float]


class Rule(RequestModel, ABC):
    """Something to look out for, and what to do about it."""

    action: Action = Field(default="notify", description="Announce it; announce and pause; announce and cancel.")

    @abstractmethod
    def sign(self, course: Course) -> Sign | None:
        """What of the course the rule holds on; None while it does not."""

    @property
    def name(self) -> str:
        """The rule with its measures: what it fired on is remembered under this."""
        said = self.model_dump(mode="json")
        measures = ",".join(f"{key}={said[key]}" for key in sorted(said.keys() - {"rule", "action"}))
        return f"{said['rule']}:{measures}" if measures else str(said["rule"])


class ValidationRising(Rule):
    """The validation loss found no new best for some evaluations and rose (a reward: fell) by more than noise."""

    rule: Literal["validation_rising"] = "validation_rising"
    evaluations: Annotated[Count, Field(ge=1, le=1000)] = 3
    min_rise: Annotated[Measure, Field(gt=0, le=10)] = Field(
        default=0.1, description="Above the best: as a share of a loss, in points of a reward."
    )

    def sign(self, course: Course) -> Sign | None:
        found = course.readings.validation
        if found is None or not found.judges or not found.rise_is_sure or found.rise < self.min_rise:
            return None
        since = sum(step > found.best_step for step, _ in found.series)
        if since < self.evaluations:
            return None
        reward = found.unit == "reward"
        return Sign(
            found.best_step,
            f"The validation {found.unit} was best at step {found.best_step} ({found.best:.3f}) and has "
            f"{'fallen' if reward else 'risen'} to {found.last:.3f} over {since} evaluations.",
            {"best": found.best, "best_step": found.best_step, "last": found.last, "evaluations": since},
        )


class NotANumber(Rule):
    """A loss is not a number any more, or infinite."""

    rule: Literal["not_a_number"] = "not_a_number"

    def sign(self, course: Course) -> Sign | None:
        at = course.readings.not_a_number_at
        if at is None:
            return None
        return Sign(at, f"The loss at step {at} is not a number: the training is broken.", {"step": at})


class Diverging(Rule):
    """The training loss (or reward) lost most of what it had gained, by more than noise."""

    rule: Literal["diverging"] = "diverging"
    given_back: Annotated[Measure, Field(gt=0, le=10)] = Field(
        default=0.5, description="Share of the improvement that was lost again."
    )

    def sign(self, course: Course) -> Sign | None:
        found = course.readings.training
        if found is None or found.count < FEWEST_POINTS or not found.rise_is_sure:
            return None
        if found.given_back < self.given_back:
            return None
        return Sign(
            found.lowest_step,
            f"The training {found.unit} was best near step {found.lowest_step} ({found.lowest:.3f}) and is "
            f"{found.last:.3f} now.",
            {"first": found.first, "best": found.lowest, "best_step": found.lowest_step, "last": found.last},
        )


class RewardGap(Rule):
    """The reward in training stays above that of validation: the grader is being gamed, or learned by heart."""

    rule: Literal["reward_gap"] = "reward_gap"
    gap: Annotated[Measure, Field(gt=0, le=1000)] = 0.2
    evaluations: Annotated[Count, Field(ge=1, le=1000)] = 3

    def sign(self, course: Course) -> Sign | None:
        train, valid = _longest(course.results, TRAIN_REWARDS), _longest(course.results, VALID_REWARDS)
        newest = valid[-self.evaluations :]
        last = [(step, at[-1] - value) for step, value in newest if (at := _up_to(train, step))]
        if len(last) < self.evaluations or any(gap <= self.gap for _, gap in last):
            return None
        smallest = min(gap for _, gap in last)
        return Sign(
            last[0][0],
            f"In the last {len(last)} evaluations the training reward was at least {smallest:.3f} above that of "
            "validation.",
            {"smallest_gap": smallest, "newest_gap": last[-1][1], "evaluations": len(last)},
        )


class Spend(Rule):
    """The training has cost so much, as far as can be told."""

    rule: Literal["spend"] = "spend"
    usd: Annotated[Decimal, Field(gt=0, le=10_000_000)]

    def sign(self, course: Course) -> Sign | None:
        if course.spent_usd is None or course.spent_usd < self.usd:
            return None
        return Sign(
            0,
            f"It has cost about ${course.spent_usd:,.2f}; the limit is ${self.usd:,.2f}.",
            {"spent_usd": float(course.spent_usd), "limit_usd": float(self.usd)},
        )


class TokenGrowth(Rule):
    """The answers sampled in reinforcement grow longer and longer, and with them time and money."""

    rule: Literal["token_growth"] = "token_growth"
    factor: Annotated[Measure, Field(gt=1, le=1000)] = 2.0

    def sign(self, course: Course) -> Sign | None:
        for column in TOKEN_COLUMNS:
            values = [value for _, value in course.results.series(column)]
            if len(values) < 2 * TOKEN_ENDS:
                continue
            first, last = mean(values[:TOKEN_ENDS]), mean(values[-TOKEN_ENDS:])
            if first > 0 and last >= self.factor * first:
                return Sign(
                    0,
                    f"`{column}` has grown from {first:,.0f} to {last:,.0f} tokens.",
                    {"first": first, "last": last, "factor": last / first},
                )
        return None


class Stalled(Rule):
    """It runs, and no step came for long."""

    rule: Literal["stalled"] = "stalled"
    minutes: Annotated[Measure, Field(gt=0, le=100_000)] = 120

    def sign(self, course: Course) -> Sign | None:
        if course.silent_seconds is None or course.silent_seconds < self.minutes * 60:
            return None
        silent = course.silent_seconds / 60
        return Sign(
            course.step,
            f"No step came for {silent:,.0f} minutes; the last was {course.step}.",
            {"silent_minutes": silent, "step": course.step},
        )


AnyRule = Annotated[
    ValidationRising | NotANumber | Diverging | RewardGap | Spend | TokenGrowth | Stalled,
    Field(discriminator="rule"),
]
RULES: Final[Mapping[str, type[Rule]]] = {
    "validation_rising": ValidationRising,
    "not_a_number": NotANumber,
    "diverging": Diverging,
    "reward_gap": RewardGap,
    "spend": Spend,
    "token_growth": TokenGrowth,
    "stalled": Stalled,
}


class WatchPolicy(RequestModel):
    """What the watch-dog looks out for; an empty list of rules switches it off."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "rules": [
                        {"rule": "validation_rising", "evaluations": 3, "min_rise": 0.1, "action": "cancel"},
                        {"rule": "not_a_number", "action": "cancel"},
                        {"rule": "spend", "usd": "200", "action": "pause"},
                        {"rule": "stalled", "minutes": 120, "action": "notify"},
                    ]
                }
            ]
        }
    )

    rules: list[AnyRule] = Field(max_length=RULES_MAX)


DEFAULT: Final = WatchPolicy(rules=[ValidationRising(), NotANumber(), Diverging(), Stalled()])
DEFAULT_REINFORCEMENT: Final = WatchPolicy(
    rules=[*DEFAULT.rules, RewardGap(), TokenGrowth(), Spend(usd=SPEND_NOTICE_USD)]
)
"""What a job gets that names no policy: it is told, and nothing is done."""


@dataclass(frozen=True, slots=True)
class Alarm:
    """A rule that holds, on evidence on which it had not fired."""

    rule: str
    name: str
    action: Action
    step: int
    message: str
    numbers: dict[str, float]

    def to_json(self) -> dict[str, Any]:
        return {
            "rule": self.rule,
            "name": self.name,
            "action": self.action,
            "step": self.step,
            "message": self.message,
            "numbers": self.numbers,
        }


def policy_of(stored: Mapping[str, Any] | None, *, method: str, accepted_usd: Decimal | None) -> WatchPolicy:
    """The rules in force for a job.

    Args:
        stored: the job's own; None = the default ones.
        accepted_usd: what somebody who let it go on said it may cost in all: it is paused there, whatever the
            rules say, and limits below it have been answered.
    """
    default = DEFAULT_REINFORCEMENT if method == "reinforcement" else DEFAULT
    rules = list((default if stored is None else _STORED.validate_python(stored)).rules)
    if accepted_usd is not None:
        rules = [rule for rule in rules if not isinstance(rule, Spend) or rule.usd > accepted_usd]
        rules.append(Spend(usd=accepted_usd, action="pause"))
    return WatchPolicy.model_construct(rules=rules)


_STORED: Final = TypeAdapter(WatchPolicy)


def alarms(policy: WatchPolicy, course: Course, fired: Mapping[str, Any]) -> list[Alarm]:
    """What is to be told or done now, the gravest first.

    Args:
        fired: by the rule's name the alarm it gave last, as `Alarm.to_json`; a rule fires again only on something
            that began after it.
    """
    found: list[Alarm] = []
    for rule in policy.rules:
        sign = rule.sign(course)
        before = fired.get(rule.name)
        if sign is None or (before is not None and sign.since_step <= before["step"]):
            continue
        found.append(Alarm(rule.rule, rule.name, rule.action, course.step, sign.message, sign.numbers))
    return sorted(found, key=lambda alarm: ("cancel", "pause", "notify").index(alarm.action))


class UnknownRule(ValueError):
    """What was typed is no rule."""


def rule_from_words(text: str) -> Rule:
    """A rule as the command line takes it: `validation_rising=cancel`, `spend:usd=200=pause`.

    Raises:
        UnknownRule: in words.
        ValidationError: its measures or its action are wrong.
    """
    said, _, action = text.rpartition("=")
    kind, _, measures = said.partition(":")
    if kind not in RULES:
        raise UnknownRule(
            f"{text!r} is no rule; say RULE=ACTION or RULE:MEASURE=VALUE=ACTION, where RULE is one of "
            f"{', '.join(RULES)} and ACTION notify, pause or cancel."
        )
    values: dict[str, Any] = {"rule": kind, "action": action}
    for measure in filter(None, measures.split(",")):
        name, _, value = measure.partition("=")
        values[name] = value if name == "usd" else _number(value)
    return RULES[kind].model_validate(values)


def _number(text: str) -> float | int | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _longest(results: Results, names: Sequence[str]) -> list[tuple[int, float]]:
    return max((results.series(name) for name in names), key=len)


def _up_to(series: Sequence[tuple[int, float]], step: int) -> list[float]:
    return [value for at, value in series if at <= step]
