"""The door of the learning package: fit a model to a file, let a model reply."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from emulator.learning.outcomes import Hyperparameters, Reply, StepRow


class Learner:
    """The frozen base model; build once per process (1.5 s, or at once from ``cache_dir``)."""

    def __init__(self, cache_dir: Path | None = None, *, max_tokens_per_epoch: int = 400_000) -> None:
        raise NotImplementedError

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
        raise NotImplementedError

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
        raise NotImplementedError
