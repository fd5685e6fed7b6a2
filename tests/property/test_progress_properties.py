"""How far a training is: laws that hold for every pace, gap, pause and price."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.jobs.progress import (
    Rate,
    Size,
    Tick,
    pace_seconds,
    progress,
    ticks_of,
    total_steps,
    usual_wait,
)

START = datetime(2026, 11, 22, 1, 0, tzinfo=UTC)
TOKENS = Rate(usd_per_million_tokens=Decimal(5))
HOURS = Rate(usd_per_hour=Decimal(100))


def steady(seconds: int, steps: int, *, every: int = 1, hold_at: int = 0, hold_seconds: int = 0) -> list[Tick]:
    """A training of this pace, told of every so many steps, that stood still once."""
    return [
        Tick(step, START + timedelta(seconds=step * seconds + (hold_seconds if step > hold_at > 0 else 0)))
        for step in range(every, steps + 1, every)
    ]


@given(st.integers(1, 600), st.integers(3, 200), st.integers(1, 10), st.randoms())
def test_a_steady_pace_is_found_whatever_is_left_out_and_in_whatever_order(
    seconds: int, steps: int, every: int, random: Random
) -> None:
    ticks = steady(seconds, steps * every, every=every)
    random.shuffle(ticks)
    assert pace_seconds(ticks) == seconds


@given(st.integers(1, 600), st.integers(5, 200), st.integers(1, 10**6), st.data())
def test_a_pause_counts_for_nothing(seconds: int, steps: int, hold_seconds: int, data: st.DataObject) -> None:
    hold_at = data.draw(st.integers(1, steps - 1))
    assert pace_seconds(steady(seconds, steps, hold_at=hold_at, hold_seconds=hold_seconds)) == seconds


@given(st.lists(st.integers(1, 100), min_size=2, max_size=60), st.integers(2, 50))
def test_a_pace_lies_between_the_fastest_and_the_slowest_step_and_scales_with_time(
    lengths: list[int], factor: int
) -> None:
    def told(scale: int) -> list[Tick]:
        at, ticks = START, [Tick(0, START)]
        for step, seconds in enumerate(lengths, 1):
            at += timedelta(seconds=seconds * scale)
            ticks.append(Tick(step, at))
        return ticks

    pace = pace_seconds(told(1))
    assert pace is not None
    assert min(lengths) <= pace <= max(lengths)
    assert pace_seconds(told(factor)) == pytest.approx(pace * factor)


@given(st.lists(st.tuples(st.integers(0, 1000), st.integers(0, 1000)), max_size=40))
def test_a_pace_is_positive_or_not_known_whatever_azure_tells(told: list[tuple[int, int]]) -> None:
    pace = pace_seconds([Tick(step, START + timedelta(seconds=at)) for step, at in told])
    assert pace is None or pace > 0


@given(st.integers(1, 10**6), st.integers(1, 50), st.integers(1, 256))
def test_every_example_is_seen_in_every_epoch(examples: int, epochs: int, batch: int) -> None:
    steps = total_steps(Size(examples=examples, epochs=epochs, batch_size=batch))
    assert steps is not None
    assert steps * batch >= examples * epochs > (steps - epochs) * batch


@given(st.integers(1, 300), st.integers(2, 300), st.integers(1, 60), st.sampled_from([TOKENS, HOURS]))
def test_what_was_spent_and_what_is_left_are_the_whole(examples: int, done: int, seconds: int, rate: Rate) -> None:
    size = Size(examples=examples, epochs=3, batch_size=1, epoch_tokens=examples * 1000)
    total = examples * 3
    done = min(done, total)
    at = progress(steady(seconds, done), size, rate, now=START, running=True)
    whole = progress(steady(seconds, total), size, rate, now=START, running=True)
    if done < 2 and rate is HOURS:
        assert at.spent_usd is None
        return
    assert at.spent_usd is not None
    assert at.further_usd is not None
    assert whole.spent_usd is not None
    assert abs(at.spent_usd + at.further_usd - whole.spent_usd) <= Decimal("0.0101")


@given(st.integers(1, 60), st.integers(2, 99))
def test_the_end_is_the_steps_that_are_left_at_this_pace_and_never_past(seconds: int, done: int) -> None:
    size = Size(examples=100, epochs=1, batch_size=1)
    ticks = steady(seconds, done)
    at = progress(ticks, size, TOKENS, now=START, running=True)
    assert at.finish_at == START + timedelta(seconds=100 * seconds)
    late = START + timedelta(days=30)
    assert progress(ticks, size, TOKENS, now=late, running=True).finish_at == late
    assert progress(ticks, size, TOKENS, now=START, running=False).finish_at is None


def test_azures_own_number_of_steps_wins() -> None:
    ticks = ticks_of([(START, {"step": 4, "total_steps": 50}), (START, {"step": "x"}), (START, {})])
    at = progress(ticks, Size(examples=10, epochs=3, batch_size=1), TOKENS, now=START, running=True)
    assert (at.step, at.total_steps, at.total_from) == (4, 50, "azure")
    assert at.share == pytest.approx(0.08)


def test_a_usual_wait_needs_three_jobs() -> None:
    assert usual_wait([60, 90]) is None
    usual = usual_wait([600, 60, 90])
    assert usual is not None
    assert (usual.jobs, usual.median_seconds, usual.longest_seconds) == (3, 90, 600)


def test_what_is_not_known_is_said_in_words() -> None:
    unknown = progress([Tick(3, START)], Size(), Rate(), now=START, running=True)
    assert (unknown.spent_usd, unknown.total_steps, unknown.share, unknown.finish_at) == (None, None, None, None)
    assert unknown.spent_basis == "No price is known for this training."
    waiting = progress([], Size(examples=10, epochs=1, batch_size=1), TOKENS, now=START, running=False)
    assert waiting.spent_usd == 0
