"""The learner of the emulator's tests, and how they train with it."""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pytest

from emulator.learning import Hyperparameters, Learner, StepRow


@dataclass(frozen=True)
class Training:
    """Everything a training handed out."""

    rows: list[StepRow]
    models: list[bytes]
    billed_tokens: int

    @property
    def model(self) -> bytes:
        return self.models[-1]

    def epoch_means(self) -> list[float]:
        """The mean training loss of each epoch."""
        size = len(self.rows) // len(self.models)
        return [
            sum(row.train_loss for row in self.rows[start : start + size]) / size
            for start in range(0, len(self.rows), size)
        ]

    def full_valid_losses(self) -> list[float]:
        return [row.full_valid_loss for row in self.rows if row.full_valid_loss is not None]


class Train(Protocol):
    def __call__(
        self,
        training: Sequence[Mapping[str, Any]],
        validation: Sequence[Mapping[str, Any]] | None = None,
        *,
        epochs: int = 3,
        batch: int = 1,
        multiplier: float = 1.0,
        seed: int = 0,
        parent: bytes | None = None,
    ) -> Training: ...


@pytest.fixture(scope="session")
def base_cache() -> Path:
    """Where the base model is kept between runs."""
    return Path(tempfile.gettempdir()) / "kitae-emulator-cache"


@pytest.fixture(scope="session")
def learner(base_cache: Path) -> Learner:
    return Learner(base_cache)


@pytest.fixture(scope="session")
def fit(learner: Learner) -> Train:
    """Trains and collects."""

    def train(
        training: Sequence[Mapping[str, Any]],
        validation: Sequence[Mapping[str, Any]] | None = None,
        *,
        epochs: int = 3,
        batch: int = 1,
        multiplier: float = 1.0,
        seed: int = 0,
        parent: bytes | None = None,
    ) -> Training:
        rows: list[StepRow] = []
        models: list[bytes] = []
        billed = learner.fit(
            training,
            validation,
            Hyperparameters(epochs, batch, multiplier, seed),
            parent=parent,
            on_step=lambda row, _total: rows.append(row),
            on_epoch=lambda _epoch, _step, model: models.append(model),
        )
        return Training(rows, models, billed)

    return train
