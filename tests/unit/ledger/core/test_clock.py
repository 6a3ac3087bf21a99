"""A clock that somebody sets: what is not over is never told to be over, and no mistake lasts."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from services.ledger.core.clock import steady

US = 10**6
STANDS_S = 100
BEGIN_US = 1_790_000_000 * US
DAY_US = 86_400 * US


class Times:
    """A clock that can be set, and the time that has gone by; the clock may be wrong from the beginning."""

    def __init__(self, wrong_us: int = 0) -> None:
        self.gone_s = 5.0
        self.wrong_us = wrong_us
        self.look = steady(self.set_clock, lambda: self.gone_s, STANDS_S)

    @property
    def true_us(self) -> int:
        return BEGIN_US + int(self.gone_s * US)

    def set_clock(self) -> int:
        return self.true_us + self.wrong_us

    def go(self, seconds: int) -> set[int]:
        """How far ahead the steady clock was of the true time, looked at every second, in microseconds."""
        seen = set()
        for _ in range(seconds):
            self.gone_s += 1
            seen.add(self.look() - self.true_us)
        return seen


def test_a_leap_forth_does_not_count_until_it_has_stood() -> None:
    times = Times()
    assert times.go(3 * STANDS_S) == {0}
    times.wrong_us = DAY_US
    assert times.go(STANDS_S) == {0}
    assert times.go(2 * STANDS_S) == {0, DAY_US}
    assert times.go(10) == {DAY_US}


def test_a_clock_that_is_set_back_and_returns_is_followed_at_once() -> None:
    times = Times()
    for wrong_us in (-30 * DAY_US, 0, -1, 0):
        times.wrong_us = wrong_us
        assert times.go(5) == {wrong_us}


def test_a_clock_that_began_behind_catches_up() -> None:
    times = Times(-50 * 365 * DAY_US)
    times.go(5)
    times.wrong_us = 0
    assert times.go(STANDS_S // 2) == {-50 * 365 * DAY_US}
    times.go(2 * STANDS_S)
    assert times.go(10) == {0}


def test_a_clock_that_began_ahead_may_not_leap_there_again() -> None:
    times = Times(DAY_US)
    times.wrong_us = 0
    times.go(3 * STANDS_S)
    times.wrong_us = DAY_US
    assert times.go(STANDS_S) == {0}


def test_a_drift_is_followed() -> None:
    times = Times()
    for _ in range(20 * STANDS_S):
        times.wrong_us += 500
        times.go(1)
    assert -2 * STANDS_S * 500 <= times.look() - times.set_clock() <= 0


def test_a_leap_while_nobody_looks_must_stand_all_the_same() -> None:
    times = Times()
    times.go(10)
    times.gone_s += 10 * STANDS_S
    times.wrong_us = DAY_US
    assert times.go(STANDS_S - 1) == {0}


@given(st.lists(st.tuples(st.integers(-(10**12), 10**12), st.integers(1, STANDS_S - 1)), max_size=12))
def test_it_is_never_ahead_by_what_has_not_stood(leaps: list[tuple[int, int]]) -> None:
    times = Times()
    for wrong_us, seconds in leaps:
        times.wrong_us = wrong_us
        ahead = times.go(seconds)
        assert max(ahead) <= max(0, wrong_us)
        times.wrong_us = 0
        times.go(1)
        assert times.look() == times.true_us
