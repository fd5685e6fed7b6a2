"""How many hours a reinforcement training is billed for, from what Azure's job events tell. Pure."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final

BILLED: Final = re.compile(r"Training hours billed:\s*(\d+(?:\.\d+)?)")
"""Source: job log of Microsoft's fine-tuning tutorial, 2025-05."""
BEGUN: Final = "Training started."
_HOUR: Final = Decimal(3600)


@dataclass(frozen=True, slots=True)
class Told:
    """One job event."""

    at: datetime
    type: str
    message: str


def hours_of(events: Iterable[Told]) -> tuple[Decimal, str] | None:
    """The hours and what they rest on; None when the events tell nothing.

    Azure's own figure wins. Without it: from the beginning of the training to its last step, pauses included, so
    that it is at most too much.
    """
    begun: datetime | None = None
    last: datetime | None = None
    for event in sorted(events, key=lambda event: event.at):
        found = BILLED.search(event.message)
        if found is not None:
            return Decimal(found[1]), f"{found[1]} hours, says Azure"
        if event.message.startswith(BEGUN) and begun is None:
            begun = event.at
        if event.type == "metrics":
            begun, last = begun or event.at, event.at
    if begun is None or last is None:
        return None
    hours = Decimal(str((last - begun).total_seconds())) / _HOUR
    return hours, f"{hours:.2f} hours from the first step to the last; Azure told no figure"
