"""Curves of each kind of training, generated from a seed, for the tests of the analysis and for its pictures."""

import math
import random
from collections.abc import Callable

from app.jobs.analysis import Point, Results

TRAIN_ACCURACY = "train_mean_token_accuracy"


def curve(
    seed: int,
    steps: int,
    train: Callable[[float], float],
    valid: Callable[[float], float] | None,
    *,
    noise: float,
    epochs: int = 3,
    whole: bool = True,
    sampled_every: int = 10,
) -> Results:
    """`train` and `valid` give the loss without noise at a share 0..1 of the training; noise is relative."""
    dice = random.Random(seed)
    points = []
    for step in range(1, steps + 1):
        done = step / steps
        loss = max(0.0, train(done) * math.exp(dice.gauss(0, noise) - noise * noise / 2))
        values = {"train_loss": loss, TRAIN_ACCURACY: math.exp(-0.4 * loss)}
        if valid is not None and (step % sampled_every == 0 or step == 1):
            seen = valid(done) * math.exp(dice.gauss(0, noise) - noise * noise / 2)
            values |= {"valid_loss": seen, "valid_mean_token_accuracy": math.exp(-0.4 * seen)}
        if valid is not None and whole and step % max(1, steps // epochs) == 0:
            full = valid(done) * (1 + dice.gauss(0, 0.003))
            values |= {"full_valid_loss": full, "full_valid_mean_token_accuracy": math.exp(-0.4 * full)}
        points.append(Point(step, values))
    return Results(tuple(points), tuple(points[0].values), (), ())


def falling(start: float, end: float, speed: float) -> Callable[[float], float]:
    return lambda done: end + (start - end) * math.exp(-speed * done)


def converging(seed: int, *, with_validation: bool = True, whole: bool = True) -> Results:
    dice = random.Random(seed)
    start = dice.uniform(0.8, 6.0)
    end = start * dice.uniform(0.1, 0.6)
    steps = dice.choice([24, 60, 150, 400, 1500])
    # The quickest real ones fall within 20 to 30 steps: a time constant of four steps or more.
    speed = dice.uniform(4, min(60, steps / 4))
    level = end * dice.uniform(1.0, 1.5)
    return curve(
        seed,
        steps,
        falling(start, end, speed),
        falling(start, level, speed) if with_validation else None,
        noise=dice.uniform(0.03, 0.35),
        epochs=dice.choice([2, 3, 4]),
        whole=whole,
    )


def over_fitting(seed: int, *, whole: bool = True) -> Results:
    dice = random.Random(seed)
    start = dice.uniform(0.8, 4.0)
    turn = dice.uniform(0.15, 0.45)
    low = start * dice.uniform(0.4, 0.7)
    high = low * dice.uniform(1.25, 1.8)

    def valid(done: float) -> float:
        if done < turn:
            return low + (start - low) * (1 - done / turn) ** 2
        return low + (high - low) * (done - turn) / (1 - turn)

    return curve(
        seed,
        dice.choice([60, 150, 400, 1500]) if whole else dice.choice([400, 800, 1500]),
        falling(start, start * 0.02, dice.uniform(4, 10)),
        valid,
        noise=dice.uniform(0.03, 0.25),
        epochs=dice.choice([5, 8, 10]),
        whole=whole,
    )


def diverging(seed: int) -> Results:
    dice = random.Random(seed)
    start = dice.uniform(0.8, 4.0)
    low = start * dice.uniform(0.3, 0.9)
    turn = dice.uniform(0.1, 0.6)
    high = start * dice.uniform(1.0, 4.0)

    def train(done: float) -> float:
        if done < turn:
            return low + (start - low) * (1 - done / turn)
        return low + (high - low) * min(1.0, (done - turn) / max(0.05, 0.6 * (1 - turn)))

    return curve(seed, dice.choice([40, 100, 300, 1000]), train, None, noise=dice.uniform(0.05, 0.3))


def breaking_down(seed: int) -> Results:
    """Loses its numbers at some step, as an overflow does."""
    whole = converging(seed)
    at = random.Random(seed).randrange(5, len(whole.points))
    points = tuple(
        Point(point.step, {**point.values, "train_loss": math.nan}) if index >= at else point
        for index, point in enumerate(whole.points)
    )
    return Results(points, whole.columns, (), ())


def not_learning(seed: int) -> Results:
    dice = random.Random(seed)
    level = dice.uniform(0.5, 4.0)
    drift = dice.uniform(-0.02, 0.02)
    flat = falling(level, level * (1 - drift), 1)
    return curve(
        seed,
        dice.choice([30, 100, 300, 1000]),
        flat,
        flat if dice.random() < 0.5 else None,
        noise=dice.uniform(0.02, 0.4),
    )


def too_short(seed: int) -> Results:
    dice = random.Random(seed)
    return curve(seed, dice.randrange(1, 10), falling(2.0, 0.5, 5), None, noise=0.2)


def by_rewards(seed: int, *, learns: bool) -> Results:
    """Reinforcement fine-tuning: no loss, only rewards."""
    dice = random.Random(seed)
    start = dice.uniform(0.1, 0.4)
    gain = dice.uniform(0.2, 0.5) if learns else 0.0
    points = []
    for step in range(1, dice.choice([30, 80, 200])):
        level = start + gain * (1 - math.exp(-step / 15))
        values = {"train_reward_mean": level + dice.gauss(0, 0.05)}
        if step % 5 == 0:
            values["valid_reward_mean"] = level - 0.02 + dice.gauss(0, 0.03)
        points.append(Point(step, values))
    return Results(tuple(points), ("train_reward_mean", "valid_reward_mean"), (), ())


def ending_early(seed: int) -> Results:
    """Three epochs at a pace that needs ten: everything still falls at the end."""
    dice = random.Random(seed)
    start = dice.uniform(1.5, 6.0)
    end = start * dice.uniform(0.05, 0.15)
    speed = dice.uniform(0.9, 1.3)
    return curve(
        seed,
        dice.choice([150, 400, 1500]),
        falling(start, end, speed),
        falling(start * 1.02, end * 1.2, speed),
        noise=dice.uniform(0.03, 0.12),
    )


def pleasing_the_grader(seed: int, *, validated: bool = True) -> Results:
    """The reward rises; validation turns, answers grow longer, more of them cannot be read."""
    dice = random.Random(seed)
    start, gain = dice.uniform(0.1, 0.4), dice.uniform(0.3, 0.5)
    steps = dice.choice([80, 150, 300])
    points = []
    for step in range(1, steps + 1):
        done = step / steps
        values = {
            "train_mean_reward": start + gain * (1 - math.exp(-4 * done)) + dice.gauss(0, 0.04),
            "completion_tokens_mean": 200 * (1 + 1.5 * done) + dice.gauss(0, 15),
            "train_sample_parse_error_count": max(0.0, 1 + 8 * done + dice.gauss(0, 0.8)),
        }
        if validated and step % 5 == 0:
            level = start + 0.6 * gain * min(1.0, done / 0.4) - 0.9 * gain * max(0.0, done - 0.4)
            values["full_valid_mean_reward"] = level + dice.gauss(0, 0.02)
        points.append(Point(step, values))
    return Results(tuple(points), tuple(points[-1].values), (), ())


def _turning(done: float) -> float:
    return 0.95 + 0.9 * math.exp(-9 * done) + 0.55 * max(0.0, done - 0.3)


def _collapsing(done: float) -> float:
    return 0.9 + 0.9 * math.exp(-9 * done) + 2.4 / (1 + math.exp(-14 * (done - 0.65)))


EXAMPLES: dict[str, tuple[str, Results]] = {
    "converged": (
        "Converged: both losses fall, then rest",
        curve(1, 240, falling(2.1, 0.62, 7), falling(2.1, 0.78, 7), noise=0.16),
    ),
    "over-fitting": (
        "Over-fitting: validation turns, training goes on",
        curve(2, 240, falling(1.9, 0.05, 6), _turning, noise=0.12, epochs=8),
    ),
    "under-trained": (
        "Under-trained: everything was still falling when it stopped",
        curve(6, 240, falling(2.6, 0.4, 1.1), falling(2.65, 0.5, 1.1), noise=0.08),
    ),
    "reward-hacking": (
        "Reward hacking: the reward rises on training alone",
        pleasing_the_grader(7),
    ),
    "unstable": (
        "Unstable: the loss gives back what it had gained",
        curve(3, 240, _collapsing, None, noise=0.14),
    ),
    "not-learning": (
        "Not learning: nothing but noise",
        curve(4, 240, lambda _: 1.45, lambda _: 1.5, noise=0.13),
    ),
    "too-short": (
        "Too short: six steps say nothing",
        curve(5, 6, falling(2.0, 1.2, 2), None, noise=0.25),
    ),
}
"""The pictures of docs/concepts/reading-a-training.md; redrawn by running the tests with KITAE_REDRAW_DOCS=1."""
