"""Virtual time: a piecewise linear function of wall time that can run fast, stand still or jump.

It knows nothing of what is scheduled on it.
"""

import bisect
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from emulator.settings import ClockMode


@dataclass(frozen=True, slots=True)
class Segment:
    """From the wall second `wall` on, virtual time is `virtual` plus `speed` times what has passed."""

    virtual: float
    wall: float
    speed: float


@dataclass(slots=True)
class Clock:
    """The virtual clock. Both times are seconds since 1970; they start equal.

    Virtual time goes on while the server is down, as Azure's does: it is computed from the wall time and the
    segments, which are all that has to be kept.
    """

    mode: ClockMode
    speed: float
    segments: list[Segment] = field(default_factory=list)
    wall_now: Callable[[], float] = time.time

    def __post_init__(self) -> None:
        if not self.segments:
            wall = self.wall_now()
            self.segments.append(Segment(wall, wall, self._rate()))

    def _rate(self) -> float:
        if self.mode == "manual":
            return 0.0
        return 1.0 if self.mode == "instant" else self.speed

    def now(self) -> float:
        """The virtual time; it never goes backwards."""
        last = self.segments[-1]
        return last.virtual + max(0.0, self.wall_now() - last.wall) * last.speed

    def set(self, mode: ClockMode, speed: float) -> None:
        """Go on from the present virtual time in another mode; `speed` counts in mode `real` only."""
        now = self.now()
        self.mode, self.speed = mode, speed
        self._begin(now)

    def advance(self, seconds: float) -> None:
        """Jump forward by `seconds` ≥ 0 of virtual time."""
        self._begin(self.now() + seconds)

    def resume_at(self, virtual: float) -> None:
        """Go on from this virtual time, whatever has passed since: for a world brought back as it was."""
        self._begin(virtual)

    def _begin(self, virtual: float) -> None:
        wall = max(self.wall_now(), self.segments[-1].wall)
        self.segments.append(Segment(virtual, wall, self._rate()))

    def wall(self, virtual: float) -> float:
        """The wall second at which the clock showed `virtual` (for a time jumped over: the second of the jump)."""
        index = max(0, bisect.bisect_right(self.segments, virtual, key=lambda segment: segment.virtual) - 1)
        segment = self.segments[index]
        passed = virtual - segment.virtual
        end = self.segments[index + 1].wall if index + 1 < len(self.segments) else self.wall_now()
        if passed <= 0:
            return segment.wall
        return min(end, segment.wall + passed / segment.speed) if segment.speed else end
