"""Replies, token by token; knows nothing of training.

Decoding is sharper than the measured distribution (a tiny model is too flat to sample from as it is): temperature 1
samples from P ** SHARPNESS, and the memory of the nearest example gets a head start, ANCHOR.
"""

from dataclasses import dataclass

import numpy as np

from emulator.learning.arrays import Floats, Ints
from emulator.learning.contexts import TOKEN_MASK, Prompts, positions
from emulator.learning.conversations import Turn
from emulator.learning.mixture import ZIPF, Distribution, Mixture, Prior
from emulator.learning.outcomes import FinishReason
from emulator.learning.tokens import END_OF_TURN, decode

SHARPNESS = 3.0
ANCHOR = 4.0
_SHORT, _LONG = 4, 12  # mean answer tokens: labels are decided by the evidence, long answers follow an example
_WINDOW = 20  # how much of the reply the contexts look back on
_LOOP, _ROUNDS = 6, 3  # this many tokens said for this many times are a loop
_SENTENCE_ENDS = frozenset("。！？!?.\n")


@dataclass(frozen=True, slots=True)
class Said:
    """A reply. ``tokens`` counts what was generated, the closing token not included."""

    text: str
    tokens: int
    finish_reason: FinishReason


class Speaker:
    """A model about to answer one turn; what depends on the prompt only is worked out once."""

    def __init__(self, model: Mixture, turn: Turn) -> None:
        self._chain: list[tuple[Mixture, Prompts]] = []
        link: Mixture | None = model
        while link is not None:
            self._chain.insert(0, (link, link.reader.read([turn])))
            link = link.below
        self._model = model

    @property
    def _anchor(self) -> float:
        return ANCHOR * min(1.0, max(0.0, (self._model.mean_answer_tokens - _SHORT) / (_LONG - _SHORT)))

    def next_token(self, said: list[int]) -> tuple[Ints, Floats]:
        """The likely next tokens and their probabilities after the tokens already said."""
        prior = Prior(np.zeros(1), np.zeros((1, 0), np.int32), np.zeros((1, 0), np.float32), np.ones(1))
        told = Distribution(np.zeros(0, np.int64), np.zeros(0), np.ones(1))
        for model, prompts in self._chain:
            at = positions(prompts, [[*said[-_WINDOW:], END_OF_TURN]])
            view = model.view_of(prompts, at, prior).last()
            anchor = self._anchor if model is self._model else 0.0
            told = model.distribution(view, model.gates(view, np.zeros(1, np.int64), anchor=anchor))
            prior = Prior(
                np.zeros(1),
                (told.code & TOKEN_MASK).astype(np.int32)[None],
                told.mass.astype(np.float32)[None],
                told.rest,
            )
        return told.code & TOKEN_MASK, told.probabilities()


def speak(speaker: Speaker, *, max_tokens: int, temperature: float, top_p: float, seed: int | None) -> Said:
    """The answer to a turn: greedy at temperature 0, else sampled (the same for the same seed); never empty."""
    rng = np.random.default_rng(None if seed is None else seed % 2**63)
    said = list[int]()
    while len(said) < max_tokens:
        token, probability = speaker.next_token(said)
        if not said:
            probability = np.where(token == END_OF_TURN, 0.0, probability)
        chosen = _choose(token, probability, temperature, top_p, rng)
        if chosen == END_OF_TURN:
            return Said(decode(said), len(said), "stop")
        said.append(chosen)
        loop = _loop_start(said)
        if loop is not None:
            return Said(_to_sentence_end(decode(said[:loop])), len(said), "stop")
    return Said(decode(said), len(said), "length")


def _choose(token: Ints, probability: Floats, temperature: float, top_p: float, rng: np.random.Generator) -> int:
    if not probability.sum() > 0:
        return int(ZIPF.argmax())  # nothing is known at all: the first choice of the prior
    if temperature <= 0:
        return int(token[probability.argmax()])
    sharp = (probability / probability.max()) ** (SHARPNESS / temperature)
    order = np.argsort(-sharp, kind="stable")
    share = np.cumsum(sharp[order]) / sharp.sum()
    kept = order[: int(np.searchsorted(share, top_p)) + 1]
    return int(token[kept[rng.choice(len(kept), p=sharp[kept] / sharp[kept].sum())]])


def _loop_start(said: list[int]) -> int | None:
    """Where the second round of a loop begins, once its last tokens have been said for the third time."""
    tail = said[-_LOOP:]
    heard = [at for at in range(len(said) - _LOOP + 1) if said[at] == tail[0] and said[at : at + _LOOP] == tail]
    return heard[1] if len(heard) >= _ROUNDS else None


def _to_sentence_end(text: str) -> str:
    """The text up to the end of its last whole sentence; all of it when there is none."""
    end = max((at for at, character in enumerate(text) if character in _SENTENCE_ENDS), default=-1)
    return text[: end + 1] or text
