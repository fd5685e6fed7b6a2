"""The door of the learning package: fit a model to a file, let a model reply; knows nothing of HTTP or jobs."""

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from emulator.learning.base import base_model
from emulator.learning.conversations import (
    Turn,
    answered_turns,
    asked_turns,
    file_tokens,
    preference_turns,
    prompt_tokens,
    turn_to_answer,
)
from emulator.learning.decoding import Speaker, speak
from emulator.learning.mixture import Mixture
from emulator.learning.outcomes import Hyperparameters, Reply, RewardRow, StepRow
from emulator.learning.preference import Pair, train_preferences
from emulator.learning.reinforcement import Grade, Questions, Rehearsal, train_rewarded, untaught
from emulator.learning.storage import from_bytes, to_bytes
from emulator.learning.training import train

_MODELS_KEPT = 8
_VALIDATION_PART = 4  # a validation file may have this part of the cap: it is measured after every epoch


class Learner:
    """The frozen base model and what is built on it; build once per process (2 s, at once from ``cache_dir``).

    ``max_tokens_per_epoch``: a file with more answer tokens is trained on in part (about 2 KB of memory per token,
    and 25 microseconds per token and epoch). Safe to use from several threads.
    """

    def __init__(self, cache_dir: Path | None = None, *, max_tokens_per_epoch: int = 400_000) -> None:
        self._base = base_model(cache_dir)
        self._max_tokens = max_tokens_per_epoch
        self._models: OrderedDict[str, Mixture] = OrderedDict()
        self._lock = threading.Lock()

    def fit(
        self,
        training: Sequence[Mapping[str, Any]],
        validation: Sequence[Mapping[str, Any]] | None,
        hyperparameters: Hyperparameters,
        *,
        parent: bytes | None = None,
        on_step: Callable[[StepRow, int], None],
        on_epoch: Callable[[int, int, bytes], None],
        should_stop: Callable[[], bool] = lambda: False,
        on_warning: Callable[[str], None] = lambda _message: None,
    ) -> int:
        """Trains a new model and hands out its state after every epoch.

        Args:
            training: chat objects; each assistant message with ``weight`` other than 0 is learned.
            validation: chat objects to measure on, never learned.
            hyperparameters: epochs, batch size, learning rate multiplier, seed.
            parent: a tuned model to go on from; None is the base model.
            on_step: gets each row and the total number of steps.
            on_epoch: gets the epoch (from 1), its last step and the model after it; the last one is the result.
            should_stop: asked before every step; True ends the training early.
            on_warning: gets a sentence when the file is too large to be learned whole.

        Returns:
            Billed tokens: all tokens of the training file times the epochs that were finished.

        Raises:
            ValueError: nothing to learn in the file, or a parent that is no model.
        """
        turns = answered_turns(training)
        if not turns:
            raise ValueError("The training file has no assistant message to learn from")
        seed = hyperparameters.seed
        turns = _within_cap(turns, self._max_tokens, "training", seed, on_warning)
        checked = answered_turns(validation or ())
        checked = _within_cap(checked, self._max_tokens // _VALIDATION_PART, "validation", seed, on_warning)
        below = self._model(parent)
        model, view = Mixture.untrained(below, turns)
        finished = 0

        def hand_out(epoch: int, step: int) -> None:
            nonlocal finished
            finished = epoch
            on_epoch(epoch, step, to_bytes(model, self._base))

        train(model, view, checked, hyperparameters, on_step=on_step, on_epoch=hand_out, should_stop=should_stop)
        return file_tokens(training) * finished

    def fit_preferences(  # noqa: PLR0913  all a training needs
        self,
        training: Sequence[Mapping[str, Any]],
        validation: Sequence[Mapping[str, Any]] | None,
        hyperparameters: Hyperparameters,
        beta: float,
        *,
        parent: bytes | None = None,
        on_step: Callable[[StepRow, int], None],
        on_epoch: Callable[[int, int, bytes], None],
        should_stop: Callable[[], bool] = lambda: False,
        on_warning: Callable[[str], None] = lambda _message: None,
    ) -> int:
        """The same on preference objects (``input``, ``preferred_output``, ``non_preferred_output``).

        ``beta`` > 0 is how strongly the pairs are held apart (Azure's default is 0.1).
        """
        seed = hyperparameters.seed
        pairs = _pairs_within_cap(training, self._max_tokens, "training", seed, on_warning)
        checked = _pairs_within_cap(
            validation or (), self._max_tokens // _VALIDATION_PART, "validation", seed, on_warning
        )
        if not pairs:
            raise ValueError("The training file has no pair of answers to learn from")
        model, view = Mixture.untrained(self._model(parent), [pair.preferred for pair in pairs])
        finished = 0

        def hand_out(epoch: int, step: int) -> None:
            nonlocal finished
            finished = epoch
            on_epoch(epoch, step, to_bytes(model, self._base))

        train_preferences(
            model,
            view,
            pairs,
            checked,
            hyperparameters,
            beta,
            on_step=on_step,
            on_epoch=hand_out,
            should_stop=should_stop,
        )
        return file_tokens(training) * finished

    def fit_rewards(  # noqa: PLR0913  all a training needs
        self,
        training: Sequence[Mapping[str, Any]],
        validation: Sequence[Mapping[str, Any]],
        hyperparameters: Hyperparameters,
        rehearsal: Rehearsal,
        *,
        grade: Grade,
        grade_validation: Grade,
        parent: bytes | None = None,
        on_step: Callable[[RewardRow, int], None],
        on_epoch: Callable[[int, int, bytes], None],
        should_stop: Callable[[], bool] = lambda: False,
    ) -> None:
        """The same on chat objects that end with a user message, by what ``grade`` says of sampled answers."""
        turns = asked_turns(training)
        model = untaught(self._model(parent), turns)
        train_rewarded(
            model,
            Questions(turns, grade),
            Questions(asked_turns(validation), grade_validation),
            hyperparameters,
            rehearsal,
            on_step=on_step,
            on_epoch=lambda epoch, step: on_epoch(epoch, step, to_bytes(model, self._base)),
            should_stop=should_stop,
        )

    def reply(
        self,
        model: bytes | None,
        messages: Sequence[Mapping[str, Any]],
        *,
        max_tokens: int = 256,
        temperature: float = 0.0,
        top_p: float = 1.0,
        seed: int | None = None,
    ) -> Reply:
        """What a tuned model (None: the base model) answers; greedy at temperature 0.

        Raises:
            ValueError: the bytes are no model.
        """
        said = speak(
            Speaker(self._model(model), turn_to_answer(messages)),
            max_tokens=max_tokens,
            temperature=temperature,
            top_p=top_p,
            seed=seed,
        )
        return Reply(said.text, prompt_tokens(messages), said.tokens, said.finish_reason)

    def _model(self, data: bytes | None) -> Mixture:
        """The model of the bytes; the last few are kept ready."""
        if data is None:
            return self._base
        key = hashlib.sha256(data).hexdigest()
        with self._lock:
            if key in self._models:
                self._models.move_to_end(key)
                return self._models[key]
        model = from_bytes(data, self._base)
        with self._lock:
            self._models[key] = model
            while len(self._models) > _MODELS_KEPT:
                self._models.popitem(last=False)
        return model


def _pairs_within_cap(
    examples: Sequence[Mapping[str, Any]], cap: int, purpose: str, seed: int, warn: Callable[[str], None]
) -> list[Pair]:
    pairs = dict(preference_turns(examples))
    kept = _within_cap(list(pairs), cap // 2, purpose, seed, warn)
    return [Pair(preferred, pairs[preferred]) for preferred in kept]


def _within_cap(turns: list[Turn], cap: int, purpose: str, seed: int, warn: Callable[[str], None]) -> list[Turn]:
    """The turns, or a sample of them (in their order) with no more answer tokens than the cap."""
    tokens = np.array([len(turn.answer) for turn in turns])
    if tokens.sum() <= cap:
        return turns
    order = np.random.default_rng([seed % 2**63, 2]).permutation(len(turns))
    fitting = max(1, int(np.searchsorted(np.cumsum(tokens[order]), cap, side="right")))
    warn(
        f"The {purpose} file has {tokens.sum():,} answer tokens; the emulator takes {cap:,} of them, "
        f"a sample of {fitting:,} of its {len(turns):,} answers."
    )
    return [turns[at] for at in sorted(order[:fitting].tolist())]
