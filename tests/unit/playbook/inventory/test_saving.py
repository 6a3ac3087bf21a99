"""What a workload would save at home is a range, and says what it rests on."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from playbook.inventory.saving import (
    PUBLISHED,
    Basis,
    Range,
    Rate,
    Served,
    by_settings,
    measured,
    saving,
    total,
)
from playbook.inventory.spend import Tokens

DOLLAR = 1_000_000_000
TOKENS = Tokens(input=1_000_000, cached_input=500_000, output=250_000)
POOL = Served(
    pool="rack",
    cost_nanos=10 * DOLLAR,
    leg_cost_nanos=2 * DOLLAR,
    input_tokens=6_000_000,
    output_tokens=1_000_000,
    output_weight=Fraction(4),
)


def test_a_measured_pool_gives_its_cost_without_and_with_idle() -> None:
    """2 and 10 dollars for ten million tokens, outputs counted four times: 0.20 and 1.00 per million."""
    basis = measured([POOL])
    assert basis is not None
    assert basis.rates == (
        Rate(Fraction(DOLLAR, 5), Fraction(4 * DOLLAR, 5)),
        Rate(Fraction(DOLLAR), Fraction(4 * DOLLAR)),
    )
    found = saving(10 * DOLLAR, TOKENS, basis)
    # 1.5 M of input and 0.25 M of output are 2.5 M tokens' worth.
    assert found is not None
    assert found.home == Range(DOLLAR // 2, 5 * DOLLAR // 2)
    assert found.saving == Range(15 * DOLLAR // 2, 19 * DOLLAR // 2)
    assert found.basis == "measured"


@pytest.mark.parametrize("pools", [[], [Served("rack", 0, 0, 0, 0, Fraction(4))]])
def test_pools_that_served_nothing_measure_nothing(pools: list[Served]) -> None:
    """Then the next best counts."""
    assert measured(pools) is None


def test_settings_give_the_hourly_cost_at_published_throughput() -> None:
    """An H100 at $3 an hour: best 10,512 input tokens' worth a second at 60 %, worst 6,286 at 20 %."""
    basis = by_settings({"rack": (Fraction(3), 1, Fraction(4)), "unset": (Fraction(0), 8, Fraction(4))})
    assert basis is not None
    assert [round(float(rate.input) / DOLLAR, 4) for rate in basis.rates] == [0.1321, 0.6628]
    assert all(rate.output == 4 * rate.input for rate in basis.rates)


def test_settings_without_a_cost_give_nothing() -> None:
    """A pool whose cost is not filled in is not free."""
    assert by_settings({"rack": (Fraction(0), 1, Fraction(4))}) is None


@pytest.mark.parametrize("tokens", [TOKENS, Tokens()])
def test_published_comparisons_give_a_share_of_the_clouds_cost(tokens: Tokens) -> None:
    """5.5 to 35.1 %."""
    found = saving(100 * DOLLAR, tokens, PUBLISHED)
    assert found is not None
    assert found.home == Range(5_500_000_000, 35_110_746_514)
    assert found.basis == "published"


def test_without_tokens_only_what_was_published_is_left() -> None:
    """A bill that does not say how many tokens it is for."""
    basis = measured([POOL])
    assert basis is not None
    found = saving(DOLLAR, Tokens(), basis)
    assert found is not None
    assert found.basis == "published"


@pytest.mark.parametrize("cloud_nanos", [None, 0, -1])
def test_of_an_unknown_cost_nothing_is_saved_that_anybody_knows(cloud_nanos: int | None) -> None:
    """Nor of a credit."""
    assert saving(cloud_nanos, TOKENS, PUBLISHED) is None


rates = st.builds(Rate, st.fractions(0, 10**12), st.fractions(0, 10**12))
bases = st.one_of(
    st.just(PUBLISHED),
    st.lists(rates, min_size=1, max_size=4).map(lambda some: Basis("measured", "", tuple(some))),
)
tokens = st.builds(Tokens, *[st.integers(0, 10**12)] * 4)


@given(st.integers(1, 10**18), tokens, bases)
def test_a_saving_is_the_clouds_cost_less_the_homes(cloud_nanos: int, used: Tokens, basis: Basis) -> None:
    """At both ends, to the nano-dollar."""
    found = saving(cloud_nanos, used, basis)
    assert found is not None
    assert found.saving.low + found.home.high == cloud_nanos == found.saving.high + found.home.low
    assert found.home.low >= 0
    assert total([found, found]) == Range(2 * found.saving.low, 2 * found.saving.high)
