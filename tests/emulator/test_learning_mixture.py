"""The model is an exact probability model, and its gradients are those of its loss."""

import json
import tempfile
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

import examples
from emulator.learning.base import base_model
from emulator.learning.contexts import N_EXPERTS, SHIFT, TOKEN_MASK
from emulator.learning.conversations import answered_turns
from emulator.learning.mixture import N_FEATURES, ZIPF, Mixture, Oversight, View
from emulator.learning.outcomes import Hyperparameters
from emulator.learning.tokens import N_TOKENS
from emulator.learning.training import train

EVERYTHING = 10**9
BASE_CACHE = Path(tempfile.gettempdir()) / "kitae-emulator-cache"


def chat(file: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


@cache
def trained(*, over_base: bool = True) -> tuple[Mixture, View, View]:
    """A model of 25 travel answers, its view of them, and of 4 it has not seen."""
    travel = examples.load("travel")
    turns = answered_turns(chat(travel.training)[:25])
    others = answered_turns(chat(travel.validation)[:4])
    model, view = Mixture.untrained(base_model(BASE_CACHE) if over_base else None, turns)
    train(
        model,
        view,
        [],
        Hyperparameters(2, 1, 1.0, 3),
        on_step=lambda _row, _total: None,
        on_epoch=lambda _epoch, _step: None,
        should_stop=lambda: False,
    )
    return model, view, model.view(others)


@pytest.mark.parametrize("over_base", [True, False])
def test_the_probabilities_of_all_tokens_sum_to_one_at_every_position(over_base: bool):  # noqa: FBT001
    model, _, others = trained(over_base=over_base)
    view = exact(model, others)
    told = model.distribution(view, model.gates(view, np.arange(len(view))), EVERYTHING, 0.0)
    listed = np.bincount(told.code >> SHIFT, weights=ZIPF[told.code & TOKEN_MASK], minlength=len(view))
    explicit = np.bincount(told.code >> SHIFT, weights=told.probabilities(), minlength=len(view))
    np.testing.assert_allclose(explicit + told.rest * (1 - listed), 1, atol=1e-6)
    assert (told.rest > 0).all()
    assert ZIPF.sum() == pytest.approx(1)
    assert len(ZIPF) == N_TOKENS


@pytest.mark.parametrize("over_base", [True, False])
def test_the_probability_of_a_target_is_that_of_the_whole_distribution(over_base: bool):  # noqa: FBT001
    model, _, others = trained(over_base=over_base)
    view = exact(model, others)
    at = np.arange(len(view))
    gates = model.gates(view, at)
    told = model.distribution(view, gates, EVERYTHING, 0.0)
    whole = told.rest * ZIPF[view.positions.target]
    wanted = (at << SHIFT) | view.positions.target
    place = np.minimum(np.searchsorted(told.code, wanted), len(told.code) - 1)
    whole = whole + np.where(told.code[place] == wanted, told.mass[place], 0)
    np.testing.assert_allclose(model.forward(view, gates).target, whole, rtol=1e-4)


def test_the_accuracy_of_the_listed_tokens_is_that_of_all_tokens():
    model, _, others = trained()
    gates = model.gates(others, np.arange(len(others)))
    target = model.forward(others, gates).target
    view = exact(model, others)
    told = model.distribution(view, model.gates(view, np.arange(len(view))), EVERYTHING, 0.0)
    best = np.zeros(len(view))
    np.maximum.at(best, told.code >> SHIFT, told.probabilities())
    assert (model.hits(others, gates, target) == (target >= best * (1 - 1e-6))).mean() > 0.995


def exact(model: Mixture, view: View) -> View:
    """The view with every token the model below lists, where training keeps the likeliest only."""
    if model.below is None:
        return view
    below = view_of_below(model, view)
    told = model.below.distribution(below, model.below.gates(below, np.arange(len(below))), EVERYTHING, 0.0)
    position = told.code >> SHIFT
    rank = np.arange(len(position)) - np.searchsorted(position, position)
    token = np.zeros((len(view), rank.max() + 1), np.int32)
    mass = np.zeros(token.shape)
    token[position, rank], mass[position, rank] = told.code & TOKEN_MASK, told.mass
    return replace(view, prior=replace(view.prior, token=token, mass=mass, rest=told.rest))


def view_of_below(model: Mixture, view: View) -> View:
    assert model.below is not None
    turns = answered_turns(chat(examples.load("travel").validation)[:4])
    below = model.below.view(turns)
    assert (below.positions.target == view.positions.target).all()
    return below


@pytest.mark.parametrize("what", ["seen before", "own evidence left out", "weak evidence overlooked"])
def test_the_gradient_of_every_gate_weight_is_the_slope_of_the_loss(what: str):
    model, view, _ = trained()
    rng = np.random.default_rng(1)
    at = rng.choice(len(view), 150, replace=False)
    hidden = {
        "seen before": Oversight(rng.random(150) < 0.5),
        "own evidence left out": Oversight(np.ones(150, bool), own=np.full((150, 2), 0.2)),
        "weak evidence overlooked": Oversight(rng.random(150) < 0.5, coin=rng.random((150, 2))),
    }[what]
    weights = model.gate_weights

    def loss(changed: np.ndarray) -> float:
        model.gate_weights = changed
        return -float(np.log(model.forward(view, model.gates(view, at, hidden), hidden).target).mean())

    try:
        gradient = model.forward(view, model.gates(view, at, hidden), hidden).gradient(np.full(150, 1 / 150))
        measured = np.zeros_like(weights)
        for expert in range(N_EXPERTS):
            for feature in range(N_FEATURES):
                step = np.zeros_like(weights)
                step[expert, feature] = 1e-5
                measured[expert, feature] = (loss(weights + step) - loss(weights - step)) / 2e-5
    finally:
        model.gate_weights = weights
    assert np.abs(gradient).max() > 1e-3
    np.testing.assert_allclose(gradient, measured, atol=2e-6)


def test_a_token_never_seen_is_possible_but_unlikely():
    model, _, others = trained()
    gates = model.gates(others, np.arange(len(others)))
    told = model.distribution(others, gates)
    assert (told.rest * ZIPF.min() > 0).all()
    assert (told.rest * ZIPF.max() < 1e-3).all()
