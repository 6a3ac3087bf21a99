"""The detector against its own definition, and on drops that it must see."""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.shadow.core.detector import ALARM, Detector

VOTES = st.lists(st.integers(-1000, 1000).map(lambda number: Fraction(number, 1000)), max_size=25)


def by_hand(votes: list[Fraction], margin: float) -> float:
    """mean over λ of the sum over starts of the products since then."""
    total = 0.0
    for step in range(24):
        bet = 0.01 * 90 ** (step / 23) / (1 + margin)
        gains = [1 + bet * (-min(float(vote) + 0.001, 1.0) - margin) for vote in votes]
        total += math.fsum(math.prod(gains[start:]) for start in range(len(gains)))
    return total / 24


@given(VOTES.filter(bool), st.sampled_from([0.02, 0.05, 0.2]))
def test_m_is_the_sum_over_all_starts(votes: list[Fraction], margin: float) -> None:
    found = Detector(margin).after(votes)
    if not found.alarmed:
        assert found.log_m == pytest.approx(math.log(by_hand(votes, margin)), abs=1e-9)


@given(VOTES, VOTES)
def test_votes_may_come_in_parts(first: list[Fraction], second: list[Fraction]) -> None:
    whole, parts = Detector(0.05).after([*first, *second]), Detector(0.05).after(first).after(second)
    assert (whole.votes, whole.alarmed) == (parts.votes, parts.alarmed)
    assert whole.log_parts == pytest.approx(parts.log_parts)


def test_at_the_margin_m_grows_by_at_most_one_a_vote_on_average() -> None:
    """Exactly, over all ways in which four votes of −1, 0 or 1 with mean −δ can fall."""
    chances = {-1: 0.2 + 0.025, 0: 0.6, 1: 0.2 - 0.025}
    expected = sum(
        math.prod(chances[vote] for vote in path) * math.exp(Detector(0.05).after(map(Fraction, path)).log_m)
        for path in product(chances, repeat=4)
    )
    assert 3.9 < expected <= 4


def test_total_failure_alarms_soon_and_the_alarm_stands() -> None:
    found = Detector(0.05).after([-1.0] * 100)
    assert found.alarmed
    assert found.votes < 40
    assert found.after([1.0] * 100) == found


def test_parity_raises_no_alarm_and_a_drop_of_a_fifth_does() -> None:
    rng = np.random.default_rng(5)
    fair = [float(vote) for vote in rng.choice([-1, 0, 1], size=3_000, p=[0.05, 0.9, 0.05])]
    worse = [float(vote) for vote in rng.choice([-1, 0, 1], size=3_000, p=[0.25, 0.7, 0.05])]
    before = Detector(0.05).after(fair)
    assert not before.alarmed
    assert before.after(worse).alarmed


def test_no_vote_is_no_alarm_and_a_margin_of_nothing_is_refused() -> None:
    assert Detector(0.05).log_m == -math.inf < math.log(ALARM)
    assert Detector(0.05).after([]) == Detector(0.05)
    with pytest.raises(ValueError, match="margin"):
        Detector(0.0)
