"""The base model: made from a small authored corpus of generic assistant talk; knows nothing of users' files."""

import hashlib
import json
import os
import random
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from emulator.learning.conversations import answered_turns
from emulator.learning.mixture import Mixture
from emulator.learning.outcomes import Hyperparameters
from emulator.learning.storage import from_bytes, to_bytes
from emulator.learning.training import train

_PACKAGE = Path(__file__).parent
_CORPUS = _PACKAGE / "data" / "base_corpus.json"
_SCHOOLING = Hyperparameters(n_epochs=1, batch_size=8, learning_rate_multiplier=8.0, seed=0)
_EXAMPLES_PER_EXCHANGE = 24


def base_corpus() -> list[dict[str, Any]]:
    """Chat examples: every exchange of the corpus with many topics of its language, in a fixed shuffled order.

    Answers never name their topic: so whatever the base model is asked, what it says is fluent and generic.
    """
    corpus = json.loads(_CORPUS.read_text(encoding="utf-8"))
    rng = random.Random(0)
    examples = list(_examples(corpus, rng))
    rng.shuffle(examples)
    return examples


def _examples(corpus: dict[str, Any], rng: random.Random) -> Iterator[dict[str, Any]]:
    plain = [""] * _EXAMPLES_PER_EXCHANGE
    for language in corpus["languages"]:
        for exchange in language["exchanges"]:
            framed = "{t}" in exchange["ask"][0]
            for topic in rng.sample(language["topics"], _EXAMPLES_PER_EXCHANGE) if framed else plain:
                yield {
                    "messages": [
                        {"role": "user", "content": rng.choice(exchange["ask"]).replace("{t}", topic)},
                        {"role": "assistant", "content": exchange["answer"]},
                    ]
                }


def base_model(cache_dir: Path | None) -> Mixture:
    """The base model, from the cache when it was made by this very code from this very corpus, else made anew."""
    cached = cache_dir / cache_name() if cache_dir else None
    if cached is not None and cached.exists():
        try:
            return from_bytes(cached.read_bytes(), None)
        except ValueError:
            cached.unlink(missing_ok=True)  # cut short by a crash or a full disk: make it again
    data = _school()
    if cached is not None:
        cached.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=cached.parent, delete=False) as file:
            file.write(data)
        os.replace(file.name, cached)  # noqa: PTH105 - Path.replace says the same of a str it would have to wrap
    return from_bytes(data, None)


def cache_name() -> str:
    """The file name of the base model in a cache: another one whenever the code or the corpus changes."""
    digest = hashlib.sha256()
    for path in sorted([*_PACKAGE.glob("*.py"), _CORPUS]):
        digest.update(path.read_bytes())
    return f"base-{digest.hexdigest()[:16]}.npz"


def _school() -> bytes:
    model, view = Mixture.untrained(None, answered_turns(base_corpus()))
    train(
        model,
        view,
        [],
        _SCHOOLING,
        on_step=lambda _row, _total: None,
        on_epoch=lambda _epoch, _step: None,
        should_stop=lambda: False,
    )
    return to_bytes(model, None)
