"""What a leg costs, in integer nano-dollars."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ledger.core.pricing import UNKNOWN, Rate, Rates, Tokens, nanos, price

RATE = Rate(150_000_000)
RATES = Rates("settings", "2026-01-01", RATE, Rate(75_000_000), RATE, Rate(600_000_000), Rate(600_000_000))

counts = st.integers(0, 10**7)
rates = st.integers(0, 10**12)


@pytest.mark.parametrize(
    ("tokens", "cost_nanos"),
    [
        (Tokens(0, 0, 0, 0, 0), 0),
        (Tokens(1, 0, 0, 0, 0), 150),
        (Tokens(1000, 0, 0, 500, 0), 450_000),
        (Tokens(1000, 1000, 0, 500, 100), 585_000),
        (Tokens(10**6, 0, 0, 0, 0), 150_000_000),
        (Tokens(1, 0, 0, None, 0), None),
        (Tokens(None, None, None, None, None), None),
        (Tokens(None, 0, 0, 7, 0), None),
    ],
)
def test_a_cost_is_the_sum_over_the_token_classes_and_unknown_if_one_is(
    tokens: Tokens, cost_nanos: int | None
) -> None:
    assert price(tokens, RATES).cost_nanos == cost_nanos


def test_a_model_without_rates_has_no_known_cost() -> None:
    assert price(Tokens(1, 0, 0, 1, 0), None) == UNKNOWN


def test_a_class_without_a_rate_matters_only_if_it_has_tokens() -> None:
    bare = Rates("s", "v", RATE, None, None, RATE, None)
    assert price(Tokens(10, 0, 0, 0, 0), bare).cost_nanos == 1500
    assert price(Tokens(10, 1, 0, 0, 0), bare).cost_nanos is None


@pytest.mark.parametrize(("cached", "cost_nanos"), [(0, 100_000), (100_000, 200_000), (100_001, 300_002)])
def test_above_a_threshold_all_tokens_pay_the_higher_rate(cached: int, cost_nanos: int) -> None:
    tiered = Rate(1_000_000, ((200_000, 1_500_000),))
    flat = Rates("s", "v", tiered, Rate(1_000_000, ((200_000, 1_500_000),)), None, None, None)
    assert price(Tokens(100_000, cached, 0, 0, 0), flat).cost_nanos == cost_nanos


@given(counts, counts, counts, rates, rates, rates)
def test_the_rounded_sum_is_within_half_a_nano_of_the_exact_one(
    fresh: int, cached: int, output: int, fresh_rate: int, cached_rate: int, output_rate: int
) -> None:
    flat = Rates("s", "v", Rate(fresh_rate), Rate(cached_rate), None, Rate(output_rate), None)
    found = price(Tokens(fresh, cached, 0, output, 0), flat).cost_nanos
    exact = Fraction(fresh * fresh_rate + cached * cached_rate + output * output_rate, 10**6)
    assert found is not None
    assert abs(found - exact) <= Fraction(1, 2)


@pytest.mark.parametrize(
    ("dollars", "expected"), [("0.0375", 37_500_000), ("0", 0), ("0.0000000005", 0), ("0.0000000015", 2)]
)
def test_dollars_become_nanos_rounded_half_to_even(dollars: str, expected: int) -> None:
    assert nanos(Decimal(dollars)) == expected
