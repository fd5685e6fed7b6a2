"""What the data says of a curve, how sure a verdict is, and whether the next experiment can be posted."""

import math
import random

import pytest
import training_curves as curves
from hypothesis import given
from hypothesis import strategies as st

from app.datasets.transforms import Transform
from app.jobs.analysis import Analysis, Data, Level, Point, Results, Verdict, analyse, parse_results
from app.jobs.schemas import Hyperparameters


def by_heart(valid: dict[int, float]) -> Results:
    """Training goes to nothing within 120 steps; `valid` is measured at the ends of epochs."""
    points = tuple(
        Point(
            step,
            {"train_loss": 0.01 + 3 * math.exp(-step / 10)}
            | ({"full_valid_loss": valid[step]} if step in valid else {}),
        )
        for step in range(1, 121)
    )
    return Results(points, ("train_loss", "full_valid_loss"), (), ())


LEVEL = {40: 0.62, 80: 0.60, 120: 0.61}
RISING = {40: 0.60, 80: 0.63, 120: 0.66}


def judged(results: Results, data: Data | None = None, **known: object) -> Analysis:
    settings: dict[str, object] = {
        "examples": 40,
        "n_epochs": 3,
        "batch_size": 1,
        "learning_rate_multiplier": 1.0,
        "has_validation": True,
    }
    return analyse(results, data=data or Data(), **(settings | known))


def test_copies_known_by_heart_are_named_with_their_number_and_taken_out_next():
    analysis = judged(by_heart(LEVEL), Data(validation_examples=40, repeated=12, leaked=0))
    assert analysis.verdict is Verdict.MEMORISED_DUPLICATES
    assert "12 of these 40 only repeat others" in analysis.headline
    assert analysis.confidence.level is Level.HIGH
    assert analysis.next_experiment.to_json()["dataset"] == {"operations": [{"type": "dedupe", "of": "near"}]}


def test_a_validation_that_stands_in_the_training_is_not_believed():
    analysis = judged(by_heart({40: 0.05, 80: 0.03, 120: 0.02}), Data(validation_examples=20, repeated=0, leaked=9))
    assert analysis.verdict is Verdict.MEMORISED_DUPLICATES
    assert "9 of the 20 validation examples stand among them" in analysis.headline
    operations = [operation["type"] for operation in analysis.next_experiment.operations]
    assert operations == ["dedupe", "split"]


def test_a_few_copies_and_leaks_are_evidence_but_no_verdict():
    analysis = judged(by_heart(LEVEL), Data(validation_examples=40, repeated=2, leaked=1))
    assert analysis.verdict is Verdict.CONVERGED
    texts = " ".join(item.text for item in analysis.evidence)
    assert "2 of 40 training examples (5%) repeat another" in texts
    assert "1 of 40 validation examples (2%) stand in the training data" in texts
    assert analysis.confidence.level is not Level.HIGH


def test_nine_validation_examples_cannot_certify_a_training():
    analysis = judged(by_heart(LEVEL), Data(validation_examples=9, repeated=0, leaked=0))
    assert analysis.verdict is Verdict.VALIDATION_TOO_SMALL
    assert "9 validation examples cannot say" in analysis.headline
    assert analysis.next_experiment.operations[0]["type"] == "split"


@pytest.mark.parametrize(("size", "verdict"), [(12, Verdict.VALIDATION_TOO_SMALL), (200, Verdict.OVER_FITTING)])
def test_a_rise_of_a_tenth_counts_only_on_enough_examples(size: int, verdict: Verdict):
    valid = {40: 0.60, 80: 0.62, 120: 0.645}
    assert judged(by_heart(valid), Data(validation_examples=size, repeated=0, leaked=0)).verdict is verdict


def test_a_large_rise_is_over_fitting_even_on_nine_examples_but_less_surely():
    rising = {40: 0.60, 80: 0.8, 120: 0.95}
    many = judged(by_heart(rising), Data(validation_examples=200, repeated=0, leaked=0))
    few = judged(by_heart(rising), Data(validation_examples=9, repeated=0, leaked=0))
    assert many.verdict is few.verdict is Verdict.OVER_FITTING
    assert (many.confidence.level, few.confidence.level) == (Level.HIGH, Level.MEDIUM)
    assert "only 9 examples" in few.confidence.why
    assert few.from_step == 40


def test_over_fitting_proposes_the_epoch_at_which_validation_was_best():
    analysis = judged(by_heart({40: 0.60, 80: 0.8, 120: 0.95}), Data(validation_examples=200))
    told = analysis.next_experiment.to_json()
    assert told["changes"] == {"n_epochs": {"from": 3, "to": 1}}
    assert told["job"] == {
        "hyperparameters": {"n_epochs": 1, "batch_size": 1, "learning_rate_multiplier": 1.0},
    }


def test_a_reward_that_rises_alone_is_named_with_what_speaks_against_it():
    results = curves.pleasing_the_grader(3)
    analysis = judged(results, learning_rate_multiplier=None)
    assert analysis.verdict is Verdict.REWARD_HACKING
    assert analysis.headline.startswith("Reward hacking: the training reward rose to")
    assert "the validation reward fell from" in analysis.headline
    texts = " ".join(item.text for item in analysis.evidence)
    assert "completion_tokens_mean" in texts
    assert "train_sample_parse_error_count" in texts
    assert analysis.confidence.level is Level.HIGH
    assert analysis.from_step == analysis.best_step


def test_longer_answers_alone_are_no_reward_hacking():
    longer = tuple(
        Point(point.step, point.values | {"completion_tokens_mean": 100.0 + 3 * point.step})
        for point in curves.by_rewards(5, learns=True).points
    )
    analysis = judged(Results(longer, ("train_reward_mean", "valid_reward_mean"), (), ()))
    assert analysis.verdict is Verdict.CONVERGED
    assert any("completion_tokens_mean" in item.text for item in analysis.evidence)


def test_within_the_first_epoch_a_falling_training_loss_alone_is_under_trained():
    flat_out = curves.curve(1, 300, curves.falling(3.0, 0.4, 1.0), None, noise=0.05)
    kwargs = {"has_validation": False, "examples": 300, "batch_size": 1}
    assert judged(flat_out, n_epochs=1, **kwargs).verdict is Verdict.UNDER_TRAINED
    assert judged(flat_out, n_epochs=4, **kwargs).verdict is Verdict.CONVERGED


def test_without_validation_a_training_that_went_well_is_trusted_little():
    analysis = judged(curves.converging(3, with_validation=False), has_validation=False)
    assert analysis.verdict is Verdict.CONVERGED
    assert analysis.confidence.level is Level.LOW
    assert analysis.next_experiment.operations[0]["type"] == "split"


GENERATORS = [
    curves.converging,
    curves.over_fitting,
    curves.ending_early,
    curves.diverging,
    curves.breaking_down,
    curves.not_learning,
    curves.too_short,
    curves.pleasing_the_grader,
]


@given(
    st.sampled_from(GENERATORS),
    st.integers(0, 10_000),
    st.one_of(st.none(), st.integers(1, 5000)),
    st.one_of(st.none(), st.integers(1, 50)),
    st.one_of(st.none(), st.integers(1, 256)),
    st.one_of(st.none(), st.floats(0.001, 10)),
    st.builds(Data, *[st.one_of(st.none(), st.integers(0, 300))] * 3),
)
def test_every_next_experiment_can_be_posted(generate, seed, examples, n_epochs, batch_size, rate, data):
    experiment = judged(
        generate(seed),
        data,
        examples=examples,
        n_epochs=n_epochs,
        batch_size=batch_size,
        learning_rate_multiplier=rate,
        has_validation=data.validation_examples is not None,
    ).next_experiment.to_json()
    Hyperparameters.model_validate(experiment["job"]["hyperparameters"])
    if experiment["dataset"] is not None:
        Transform.model_validate(experiment["dataset"])
    for setting, change in experiment["changes"].items():
        assert experiment["job"]["hyperparameters"][setting] == change["to"] != change["from"]


@given(st.sampled_from(GENERATORS[:3]), st.integers(0, 500), st.sampled_from([0.1, 0.5, 3.0, 20.0]))
def test_the_unit_of_a_loss_changes_no_verdict(generate, seed, factor):
    """Nats or bits, this tokenizer or that: what counts is the course. Near-zero levels are told by accuracy."""
    results = generate(seed)
    scaled = Results(
        tuple(
            Point(p.step, {n: v * factor if n.endswith("loss") else v for n, v in p.values.items()})
            for p in results.points
        ),
        results.columns,
        (),
        (),
    )
    assert judged(scaled).verdict is judged(results).verdict


def test_every_second_point_tells_the_same_verdict_as_all():
    same = 0
    seeds = random.Random(1).sample(range(10_000), 60)
    for seed in seeds:
        results = curves.over_fitting(seed)
        half = Results(results.points[1::2], results.columns, (), ())
        same += judged(results).verdict is judged(half).verdict
    assert same >= 0.95 * len(seeds)


def test_a_file_is_judged_the_same_under_every_spelling_of_its_columns():
    new = "step,train_loss,train_mean_token_accuracy,valid_loss,valid_mean_token_accuracy"
    legacy = "step,training_loss,training_token_accuracy,validation_loss,validation_token_accuracy"
    dice = random.Random(4)
    rows = "\n".join(
        f"{step},{2 * math.exp(-step / 30) + 0.1 * dice.random()},0.8,{1 + step / 100},0.7"
        for step in range(1, 100)
    )
    told = [judged(parse_results(f"{header}\n{rows}\n".encode())).to_json() for header in (new, legacy)]
    assert told[0] == told[1]
