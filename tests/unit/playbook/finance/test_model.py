"""The finance model of one set of figures: flows, saving, payback, present value."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given, settings
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


@pytest.mark.parametrize(
    ("flows", "month"),
    [
        ((0, -3, -3, 4, 4), 4),
        ((0, 0, 5), 0),
        ((0, 5, -6, 3), 3),
        ((-10, 20, -15, 10), 3),
        ((-10, 10, 0, -1), None),
        ((-10, 10, 1), 1),
        ((0, 4, -5), None),
    ],
    ids=["nothing at first", "never below", "rises first", "twice", "ends below", "at zero", "falls"],
)
def test_it_turns_where_the_sum_no_longer_falls_below_nothing(
    flows: tuple[int, ...], month: int | None
) -> None:
    assert replace(evaluate(BASE), flows=flows).turns == month


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


@given(st.lists(st.integers(-(10**15), 10**15), max_size=40))
def test_at_no_rate_the_present_value_is_the_sum_of_any_flows(flows: list[int]) -> None:
    assert present_value(flows, Fraction(0)) == sum(flows)


@given(st.lists(AMOUNTS.map(int), min_size=1, max_size=36), SHARES, SHARES)
def test_what_comes_later_is_worth_less_at_a_higher_rate(
    flows: list[int], rate: Fraction, more: Fraction
) -> None:
    assert present_value([0, *flows], rate + more) <= present_value([0, *flows], rate) <= sum(flows)


@pytest.mark.parametrize(
    ("name", "sign"),
    [
        (Name.CHANGE, 1),
        (Name.RUNNING, -1),
        (Name.HOME_SHARE, -1),
        (Name.INFRASTRUCTURE, -1),
        (Name.ENGINEERING, -1),
        (Name.PARALLEL, -1),
    ],
)
@settings(max_examples=25)
@given(values=CASES, more=SHARES)
def test_each_input_moves_the_saving_and_the_value_its_own_way(
    name: Name, sign: int, values: Values, more: Fraction
) -> None:
    """A dearer cloud saves more; whatever costs at home, or once, less. Each flow is rounded once."""
    step = more if name in SHARE_NAMES else more * 1000 * DOLLAR
    found, moved = evaluate(values), evaluate({**values, name: values[name] + step})
    assert sign * (moved.saving_year - found.saving_year) >= 0
    assert sign * (moved.npv - found.npv) >= -MONTHS
    assert sign * (found.payback - moved.payback) >= 0 or name is Name.RUNNING


SHARE_NAMES = (Name.CHANGE, Name.HOME_SHARE, Name.PARALLEL)


@settings(max_examples=50)
@given(CASES, SHARES)
def test_more_cloud_spend_saves_more_where_home_is_cheaper_a_dollar(values: Values, more: Fraction) -> None:
    gain = 1 + values[Name.CHANGE] - values[Name.HOME_SHARE]
    found = evaluate(values)
    moved = evaluate({**values, Name.CLOUD: values[Name.CLOUD] * (1 + more)})
    if gain >= 0:
        assert moved.saving_year >= found.saving_year
    if gain <= 0:
        assert moved.saving_year <= found.saving_year


@settings(max_examples=50)
@given(CASES)
def test_the_payback_is_when_the_cumulative_flow_comes_back_to_nothing(values: Values) -> None:
    """With prices that stay: counted from the day on which all is at home, within the month of the flows."""
    found = evaluate({**values, Name.CHANGE: Fraction(0)})
    if found.payback >= NEVER or not found.one_time:
        return
    at = values[Name.WEEKS] / WEEKS_PER_MONTH + found.payback
    sums = [sum(found.flows[: month + 1]) for month in range(MONTHS + 1)]
    # Flows are whole nano-dollars, so a sum may lie half of one beside nothing in each month.
    assert all(total <= MONTHS for month, total in enumerate(sums) if month <= at)
    assert all(total >= -MONTHS for month, total in enumerate(sums) if month >= at)


@settings(max_examples=50)
@given(CASES, st.fractions(0, 24, max_denominator=100), st.fractions(0, 24, max_denominator=100))
def test_a_delay_costs_the_same_at_once_or_in_two_parts(
    values: Values, first: Fraction, second: Fraction
) -> None:
    later = {**values, Name.WEEKS: values[Name.WEEKS] + first * WEEKS_PER_MONTH}
    parts = delay_cost(values, first) + delay_cost(later, second)
    # A saving is rounded before it is multiplied by months, and each delay after.
    assert abs(delay_cost(values, first + second) - parts) <= 2
