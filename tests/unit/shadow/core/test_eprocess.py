"""The e-process against its own definition, written down again term by term."""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.shadow.core.eprocess import (
    BETS,
    GRID_STEP,
    log_k_above,
    log_k_below,
    lower_bound,
    upper_bound,
)
from services.shadow.core.histogram import Histogram, bin_of, histogram

VOTES = st.lists(st.integers(-1000, 1000).map(lambda number: Fraction(number, 1000)), max_size=40)
MARGINS = st.sampled_from([0.01, 0.02, 0.05, 0.2])


def by_hand(values: list[float], margin: float) -> float:
    """mean over λ of exp(Σ ln(1 + λ (d + δ))), λ: 24 geometric values in [0.01, 0.9]/(1 − δ)."""
    bets = [0.01 * 90 ** (step / 23) / (1 - margin) for step in range(24)]
    return math.fsum(math.exp(math.fsum(math.log1p(bet * (d + margin)) for d in values)) for bet in bets) / 24


@given(VOTES, MARGINS)
def test_k_is_the_mixture_of_the_design(votes: list[Fraction], margin: float) -> None:
    expected = math.log(by_hand([float(vote) for vote in votes], margin))
    assert log_k_above(histogram(votes), -margin) == pytest.approx(expected, abs=1e-9)


def test_no_vote_is_no_evidence() -> None:
    assert log_k_above(Histogram(), -0.02) == log_k_below(Histogram(), -0.02) == 0
    assert (lower_bound(Histogram(), 0.05), upper_bound(Histogram(), 0.05)) == (-1, 1)


@pytest.mark.parametrize("margin", [0.02, 0.1])
def test_at_the_margin_k_is_worth_one_on_average(margin: float) -> None:
    """Exactly, over all ways in which four votes of −1, 0 or 1 with mean −δ can fall."""
    chances = {-1: 0.2 + margin / 2, 0: 0.6, 1: 0.2 - margin / 2}
    assert sum(value * chance for value, chance in chances.items()) == pytest.approx(-margin)
    expected = sum(
        math.prod(chances[vote] for vote in path)
        * math.exp(log_k_above(histogram(map(Fraction, path)), -margin))
        for path in product(chances, repeat=4)
    )
    assert expected == pytest.approx(1)


@given(VOTES, VOTES)
def test_evidence_has_no_order_and_merges_by_addition(first: list[Fraction], second: list[Fraction]) -> None:
    together = histogram([*second, *first])
    assert (histogram(first) + histogram(second)).counts == together.counts
    assert (histogram(first) + histogram(second)).sha256() == together.sha256()


@given(VOTES, st.sampled_from([0.05, 0.025, 0.001]))
def test_the_bounds_are_where_k_passes(votes: list[Fraction], alpha: float) -> None:
    evidence = histogram(votes)
    low, high, needed = lower_bound(evidence, alpha), upper_bound(evidence, alpha), math.log(1 / alpha)
    if low > -1:
        assert log_k_above(evidence, low) >= needed
    if low + GRID_STEP < 1:
        assert log_k_above(evidence, round(low + GRID_STEP, 3)) < needed
    if high < 1:
        assert log_k_below(evidence, high) >= needed
    assert low <= high


@given(VOTES, MARGINS)
def test_better_votes_are_more_evidence(votes: list[Fraction], margin: float) -> None:
    better = [min(Fraction(1), vote + Fraction(1, 10)) for vote in votes]
    assert log_k_above(histogram(better), -margin) >= log_k_above(histogram(votes), -margin)
    assert log_k_below(histogram(better), -margin) <= log_k_below(histogram(votes), -margin)


@pytest.mark.parametrize(
    ("vote", "expected"),
    [
        (0.0, 0), (1.0, 1000), (-1.0, -1000), (0.95, 950), (0.29, 290), (0.57, 570), (-0.0001, -1),
        (0.0019, 1), (Fraction(1, 3), 333), (Fraction(-1, 3), -334), (0.1 + 0.2, 300),
    ],
)  # fmt: skip
def test_a_vote_falls_into_the_bin_below_it(vote: float | Fraction, expected: int) -> None:
    assert bin_of(vote) == expected


@pytest.mark.parametrize("vote", [1.0001, -1.0001, 2, Fraction(-5, 4)])
def test_a_vote_beyond_one_is_refused(vote: float | Fraction) -> None:
    with pytest.raises(ValueError, match="-1 to 1"):
        bin_of(vote)


def test_the_bets_are_those_of_the_design() -> None:
    assert len(BETS) == 24
    assert (BETS[0], BETS[-1]) == pytest.approx((0.01, 0.9))
    ratios = BETS[1:] / BETS[:-1]
    assert ratios == pytest.approx([ratios[0]] * 23)
