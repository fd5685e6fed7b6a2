"""Virtual time: it runs, stands, jumps, never goes back, and knows which wall second it showed when."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.clock import Clock
from emulator.settings import ClockMode


class Wall:
    """A wall clock in a test's hand."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


def _clock(mode: ClockMode, speed: float = 60) -> tuple[Clock, Wall]:
    wall = Wall()
    return Clock(mode, speed, wall_now=wall), wall


@pytest.mark.parametrize(("mode", "virtual"), [("instant", 1010), ("real", 1600), ("manual", 1000)])
def test_ten_real_seconds_are_as_long_as_the_mode_says(mode: ClockMode, virtual: float):
    clock, wall = _clock(mode)
    wall.seconds += 10
    assert clock.now() == virtual


def test_a_change_of_mode_goes_on_from_the_present():
    clock, wall = _clock("real", 10)
    wall.seconds += 5
    clock.set("manual", 1)
    wall.seconds += 100
    assert clock.now() == 1050
    clock.advance(7)
    assert clock.now() == 1057
    clock.set("real", 2)
    wall.seconds += 1
    assert clock.now() == 1059


def test_a_time_jumped_over_was_shown_at_the_second_of_the_jump():
    clock, wall = _clock("real", 10)
    wall.seconds += 5
    clock.advance(500)
    wall.seconds += 5
    assert clock.wall(1020) == 1002
    assert clock.wall(1300) == 1005
    assert clock.wall(1560) == 1006


def test_a_clock_kept_on_disk_goes_on_while_nobody_looked():
    clock, wall = _clock("real", 10)
    wall.seconds += 5
    again = Clock("real", 10, list(clock.segments), wall_now=wall)
    wall.seconds += 5
    assert again.now() == clock.now() == 1100


def test_a_wall_clock_set_back_does_not_turn_time_back():
    clock, wall = _clock("real", 10)
    wall.seconds += 5
    clock.advance(0)
    wall.seconds -= 3
    assert clock.now() == 1050


_steps = st.lists(
    st.one_of(
        st.tuples(st.just("wait"), st.floats(0, 1e4)),
        st.tuples(st.just("jump"), st.floats(0, 1e6)),
        st.tuples(st.sampled_from(["instant", "real", "manual"]), st.floats(0.1, 1e4)),
    ),
    max_size=20,
)


@given(_steps)
def test_both_times_only_ever_grow_together(steps: list[tuple[str, float]]):
    clock, wall = _clock("instant")
    seen = [clock.now()]
    for step, amount in steps:
        if step == "wait":
            wall.seconds += amount
        elif step == "jump":
            clock.advance(amount)
        else:
            clock.set(step, amount)  # type: ignore[arg-type]
        seen.append(clock.now())
    assert seen == sorted(seen)
    shown = [clock.wall(virtual) for virtual in seen]
    assert shown == sorted(shown)
    assert all(1000 <= second <= wall.seconds for second in shown)
