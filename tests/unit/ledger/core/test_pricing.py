"""What a leg costs, in integer nano-dollars."""

from __future__ import annotations

import json
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ledger.core.pricing import MAX_NANOS, UNKNOWN, Rate, Rates, Tokens, nanos, price

RATE = Rate(150_000_000)
RATES = Rates("settings", "2026-01-01", RATE, Rate(75_000_000), RATE, Rate(600_000_000), Rate(600_000_000))

counts = st.integers(0, 10**7)
rates = st.integers(0, 10**12)
tiered = st.builds(
    lambda base, tiers: Rate(base, tuple(sorted(tiers))),
    rates,
    st.lists(st.tuples(st.integers(0, 10**7), rates), max_size=2, unique_by=lambda tier: tier[0]),
)
any_rates = st.builds(
    Rates, st.text(), st.text(), *(st.none() | tiered for _ in range(5)), st.integers(0, 10**9)
)
any_tokens = st.builds(Tokens, *(st.none() | counts for _ in range(5)))


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
    tier = Rate(1_000_000, ((200_000, 1_500_000),))
    flat = Rates("s", "v", tier, tier, None, None, None)
    assert price(Tokens(100_000, cached, 0, 0, 0), flat).cost_nanos == cost_nanos


@given(any_tokens, any_rates)
def test_the_rounded_sum_is_within_half_a_nano_of_the_exact_one(tokens: Tokens, some: Rates) -> None:
    found = price(tokens, some).cost_nanos
    classes = (tokens.input, tokens.cached_input, tokens.cache_write, tokens.output, tokens.reasoning)
    missing = any(
        count is None or (count and rate is None) for count, rate in zip(classes, some.by_class, strict=True)
    )
    if missing:
        assert found is None
        return
    all_input = sum(count or 0 for count in classes[:3])
    exact = Fraction(some.per_request) + sum(
        Fraction((count or 0) * rate.at(all_input), 10**6)
        for count, rate in zip(classes, some.by_class, strict=True)
        if rate is not None
    )
    assert found is not None
    assert abs(found - exact) <= Fraction(1, 2)


@given(any_tokens, any_rates)
def test_the_parts_add_up_to_the_cost_and_none_is_negative(tokens: Tokens, some: Rates) -> None:
    found = price(tokens, some)
    if found.cost_nanos is None:
        assert found.parts_nanos is None
        return
    assert found.parts_nanos is not None
    assert sum(found.parts_nanos) == found.cost_nanos
    assert min(found.parts_nanos) >= 0
    assert found.parts_nanos[-1] == some.per_request


@pytest.mark.parametrize(
    ("tokens", "parts_nanos"),
    [
        # Half a nano-dollar of each class: rounded once, at the end of each running sum.
        (Tokens(1, 1, 1, 1, 1), (0, 1, 1, 0, 0, 7)),
        (Tokens(1, 0, 0, 0, 0), (0, 0, 0, 0, 0, 7)),
        (Tokens(3, 0, 0, 0, 0), (2, 0, 0, 0, 0, 7)),
        (Tokens(0, 0, 0, 0, 3), (0, 0, 0, 0, 2, 7)),
    ],
)
def test_a_part_is_the_difference_of_rounded_running_sums(
    tokens: Tokens, parts_nanos: tuple[int, ...]
) -> None:
    half = Rate(500_000)
    assert price(tokens, Rates("s", "v", half, half, half, half, half, 7)).parts_nanos == parts_nanos


def test_a_cost_that_no_book_can_hold_is_unknown() -> None:
    rate = Rate(MAX_NANOS)
    most = Rates("s", "v", rate, None, None, None, None)
    assert price(Tokens(10**6, 0, 0, 0, 0), most).cost_nanos == MAX_NANOS
    assert price(Tokens(10**6 + 1, 0, 0, 0, 0), most) == UNKNOWN


@given(any_rates)
def test_rates_survive_the_journal(some: Rates) -> None:
    assert Rates.from_dict(json.loads(json.dumps(some.to_dict()))) == some


@pytest.mark.parametrize(
    ("dollars", "expected"), [("0.0375", 37_500_000), ("0", 0), ("0.0000000005", 0), ("0.0000000015", 2)]
)
def test_dollars_become_nanos_rounded_half_to_even(dollars: str, expected: int) -> None:
    assert nanos(Decimal(dollars)) == expected
