"""The finance model of one set of figures: flows, saving, payback, present value."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from playbook.finance.inputs import Name
from playbook.finance.model import (
    MONTHS,
    NEVER,
    WEEKS_PER_MONTH,
    Values,
    delay_cost,
    evaluate,
    payback,
    present_value,
)

DOLLAR = 1_000_000_000
BASE = {
    Name.CLOUD: Fraction(20_000 * DOLLAR),
    Name.MOVES: Fraction(1, 2),
    Name.CHANGE: Fraction(1, 10),
    Name.RENEWS: Fraction(6),
    Name.RUNNING: Fraction(2_000 * DOLLAR),
    Name.HOME_SHARE: Fraction(0),
    Name.INFRASTRUCTURE: Fraction(30_000 * DOLLAR),
    Name.ENGINEERING: Fraction(10_000 * DOLLAR),
    Name.PARALLEL: Fraction(1, 10),
    Name.WEEKS: 3 * WEEKS_PER_MONTH,
    Name.DISCOUNT: Fraction(1, 10),
}


def dollars(amount: int) -> float:
    return amount / DOLLAR


def test_a_case_by_hand() -> None:
    """10,000 a month move; three months of double running; new prices from month 7."""
    found = evaluate(BASE)
    assert dollars(found.parallel) == 3 * (2_000 + 1_000)
    assert dollars(found.one_time) == 40_000 + 9_000
    assert dollars(found.saving_month_now) == 8_000
    assert dollars(found.saving_month) == 9_000
    assert dollars(found.saving_year) == 108_000
    assert found.payback == Fraction(49_000 * 12, 108_000)
    assert [dollars(flow) for flow in found.flows] == [
        -40_000,
        *[-3_000] * 3,
        *[8_000] * 3,
        *[9_000] * 30,
    ]
    # −40,000 − 9,000 + 24,000 + 9,000 × 3 = 2,000 in month 9.
    assert found.turns == 9


@pytest.mark.parametrize(
    ("changes", "months", "cost"),
    [
        ({}, 1, 8_000),
        ({}, 3, 24_000),
        ({}, 5, 24_000 + 18_000),
        ({Name.RENEWS: Fraction(0)}, 2, 18_000),
        ({Name.RENEWS: Fraction(40)}, 2, 16_000),
        ({Name.RUNNING: Fraction(15_000 * DOLLAR)}, 1, -5_000),
    ],
)
def test_a_delay_costs_the_saving_that_is_missed(
    changes: dict[Name, Fraction], months: int, cost: int
) -> None:
    """At the old prices before the renewal, at the new ones after it; where home is dearer it saves."""
    assert dollars(delay_cost({**BASE, **changes}, Fraction(months))) == cost


@pytest.mark.parametrize(
    ("one_time", "saving", "found"),
    [(100, 0, NEVER), (100, -5, NEVER), (0, 0, 0), (0, -5, 0), (100, 50, 24), (100, 1200, 1)],
)
def test_a_payback_may_never_come(one_time: int, saving: int, found: int) -> None:
    assert payback(one_time, saving) == found


def test_a_migration_that_costs_more_at_home_never_turns() -> None:
    found = evaluate({**BASE, Name.RUNNING: Fraction(20_000 * DOLLAR)})
    assert (found.payback, found.turns) == (NEVER, None)
    assert found.npv < 0


def test_without_a_discount_the_present_value_is_the_sum() -> None:
    assert present_value([-100, 60, 70], Fraction(0)) == 30


def test_a_year_is_discounted_by_the_rate() -> None:
    """Compounded by months: twelve of them are one year at the rate."""
    assert present_value([0] * 12 + [110 * DOLLAR], Fraction(1, 10)) == pytest.approx(100 * DOLLAR, abs=10)


SHARES = st.fractions(0, 1, max_denominator=1000)
AMOUNTS = st.integers(0, 10**7).map(lambda usd: Fraction(usd * DOLLAR))
CASES = st.fixed_dictionaries(
    {
        Name.CLOUD: AMOUNTS,
        Name.MOVES: SHARES,
        Name.CHANGE: st.fractions(-1, 2, max_denominator=1000),
        Name.RENEWS: st.fractions(0, 60, max_denominator=100),
        Name.RUNNING: AMOUNTS,
        Name.HOME_SHARE: SHARES,
        Name.INFRASTRUCTURE: AMOUNTS,
        Name.ENGINEERING: AMOUNTS,
        Name.PARALLEL: SHARES,
        Name.WEEKS: st.fractions(0, 100, max_denominator=100),
        Name.DISCOUNT: st.fractions(0, 1, max_denominator=1000),
    }
)


@given(CASES)
def test_three_years_add_up_to_savings_less_costs(values: Values) -> None:
    """Whatever the months are split by: each flow is rounded once, so 37 halves of a nano-dollar at most."""
    found = evaluate(values)
    home_at = values[Name.WEEKS] / WEEKS_PER_MONTH
    at_home = max(Fraction(0), MONTHS - home_at)
    dearer = max(Fraction(0), MONTHS - max(home_at, values[Name.RENEWS]))
    moving = values[Name.CLOUD] * values[Name.MOVES]
    now = moving * (1 - values[Name.HOME_SHARE]) - values[Name.RUNNING]
    doubled = min(home_at, MONTHS) * (values[Name.RUNNING] + values[Name.PARALLEL] * moving)
    paid = values[Name.INFRASTRUCTURE] + values[Name.ENGINEERING] + doubled
    assert abs(sum(found.flows) - (at_home * now + dearer * values[Name.CHANGE] * moving - paid)) <= 19
    assert len(found.flows) == MONTHS + 1


@given(CASES, SHARES)
def test_more_cost_is_never_better(values: Values, more: Fraction) -> None:
    dearer = evaluate({**values, Name.ENGINEERING: values[Name.ENGINEERING] * (1 + more)})
    found = evaluate(values)
    assert dearer.npv <= found.npv
    assert dearer.payback >= found.payback
    assert dearer.saving_year == found.saving_year
