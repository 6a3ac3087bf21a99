"""What a pool of GPUs costs, and how a period's cost is spread."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ledger.core.booking import price_batch
from services.ledger.core.pools import (
    BusyTime,
    PoolRates,
    Totals,
    close,
    cost_nanos,
    hourly_cost,
    nanos_per_mtok,
    spread,
    touched,
)

HOUR_S = 3600
HOUR_US = HOUR_S * 10**6


@dataclass(frozen=True)
class Figures:
    hardware_usd: Decimal = Decimal(0)
    life_years: Decimal = Decimal(4)
    power_watts: Decimal = Decimal(0)
    pue: Decimal = Decimal(1)
    usd_per_kwh: Decimal = Decimal(0)
    hosting_usd_per_month: Decimal = Decimal(0)
    people_usd_per_month: Decimal = Decimal(0)


@pytest.mark.parametrize(
    ("figures", "usd_per_hour"),
    [
        (Figures(), Fraction(0)),
        (Figures(hardware_usd=Decimal(35064), life_years=Decimal(4)), Fraction(1)),
        (
            Figures(power_watts=Decimal(10_000), pue=Decimal("1.3"), usd_per_kwh=Decimal("0.10")),
            Fraction("1.3"),
        ),
        (Figures(hosting_usd_per_month=Decimal("730.5")), Fraction(1)),
        (Figures(people_usd_per_month=Decimal(1461)), Fraction(2)),
        (
            Figures(
                Decimal(35064),
                Decimal(4),
                Decimal(1000),
                Decimal(1),
                Decimal("0.2"),
                Decimal("730.5"),
                Decimal("730.5"),
            ),
            Fraction("3.2"),
        ),
    ],
)
def test_an_hour_costs_hardware_over_its_life_power_hosting_and_people(
    figures: Figures, usd_per_hour: Fraction
) -> None:
    assert hourly_cost(figures).total == usd_per_hour


@given(
    st.fractions(0, 1000),
    st.integers(0, 2 * 10**9),
    st.lists(st.integers(1, 86_400), min_size=1, max_size=20),
)
def test_the_costs_of_periods_add_up_to_the_cost_of_their_time(
    usd_per_hour: Fraction, start_s: int, lengths_s: list[int]
) -> None:
    ends = np.cumsum([start_s, *lengths_s]).tolist()
    parts = [cost_nanos(usd_per_hour, begin, end) for begin, end in pairwise(ends)]
    assert sum(parts) == cost_nanos(usd_per_hour, start_s, ends[-1])
    exact = usd_per_hour * 10**9 * lengths_s[0] / HOUR_S
    assert abs(parts[0] - exact) <= 1


@pytest.mark.parametrize(
    ("spans", "busy_us"),
    [
        ([], 0),
        ([(0, 100)], 100),
        ([(10, 20), (15, 20)], 25),
        ([(10, 20), (12, 2)], 20),
        ([(10, 20), (40, 20)], 40),
        ([(-50, 60)], 10),
        ([(-50, 10)], 0),
        ([(990, 50)], 10),
        ([(-50, 5000), (3, 4)], 1000),
        ([(5, 0)], 0),
    ],
)
def test_busy_time_is_the_union_of_the_legs_within_the_period(
    spans: list[tuple[int, int]], busy_us: int
) -> None:
    assert busy_time(spans, 0, 1000, page=100) == busy_us


@given(
    st.lists(st.tuples(st.integers(-100, 300), st.integers(0, 120)), max_size=30),
    st.integers(1, 7),
)
def test_busy_time_counts_each_microsecond_once_in_pages_of_any_size(
    spans: list[tuple[int, int]], page: int
) -> None:
    spans.sort(key=lambda span: span[0])
    moments = {at for begin, length in spans for at in range(begin, begin + length) if 0 <= at < 200}
    assert busy_time(spans, 0, 200, page) == len(moments)


def busy_time(spans: list[tuple[int, int]], start_us: int, end_us: int, page: int) -> int:
    busy = BusyTime(start_us, end_us)
    for at in range(0, len(spans), page):
        starts, lengths = np.array(spans[at : at + page], np.int64).reshape(-1, 2).T
        busy.add(starts, lengths)
    return busy.busy_us


def test_rates_weigh_output_and_are_rounded_down() -> None:
    totals = Totals(2, 0, input_tokens=1_000_000, output_tokens=500_000)
    assert spread(3_000_001, totals, Decimal(4)) == PoolRates(1_000_000, 4_000_001)
    assert spread(10**9, Totals(), Decimal(4)) == PoolRates(0, 0)


def test_a_refused_leg_consumes_nothing_and_an_uncounted_one_is_unknown() -> None:
    totals = Totals()
    totals.add(
        np.array([[10, 2, 1, 5, 4], [7, 0, 0, 0, 0], [9, 0, 0, 9, 0]], np.int64),
        np.array([[1, 1, 1, 1, 1], [1, 1, 1, 0, 1], [0, 0, 0, 0, 0]], np.bool_),
        np.array([True, True, False]),
    )
    assert totals == Totals(leg_count=3, unknown_count=1, input_tokens=13, output_tokens=9)


counts = st.lists(
    st.tuples(*[st.integers(0, 3000)] * 5) | st.tuples(*[st.integers(0, 10**12)] * 5), max_size=40
).map(lambda rows: np.array(rows, np.int64).reshape(-1, 5))


@given(counts, st.integers(0, 10**14), st.integers(0, HOUR_US), st.decimals("0.1", 20, places=2))
def test_legs_and_idle_add_up_to_the_cost_and_idle_is_never_negative(
    counts: np.ndarray, cost: int, busy_us: int, weight: Decimal
) -> None:
    totals = Totals()
    totals.add(counts, np.ones_like(counts, np.bool_), np.ones(len(counts), np.bool_))
    closing = close(cost, busy_us, HOUR_US, totals, weight, lambda rates: spent(counts, rates))
    assert closing.idle_nanos >= 0
    assert spent(counts, closing.rates) + closing.idle_nanos == cost
    if not len(counts):
        assert closing.idle_nanos == cost


@pytest.mark.parametrize("cost", [1, 600, 999, 10_000])
def test_many_small_legs_that_are_all_rounded_up_lower_the_rates(cost: int) -> None:
    counts = np.tile(np.array([[1, 0, 0, 0, 0]], np.int64), (1000, 1))
    totals = Totals(1000, 0, 1000, 0)
    closing = close(cost, HOUR_US, HOUR_US, totals, Decimal(4), lambda rates: spent(counts, rates))
    assert 0 <= closing.idle_nanos <= cost
    assert spent(counts, closing.rates) == closing.leg_cost_nanos


def test_a_busy_period_leaves_no_more_idle_than_rounding() -> None:
    counts = np.tile(np.array([[700, 100, 0, 150, 50]], np.int64), (1000, 1))
    totals = Totals(1000, 0, 800_000, 200_000)
    closing = close(4 * 10**9, HOUR_US, HOUR_US, totals, Decimal(4), lambda rates: spent(counts, rates))
    assert closing.idle_nanos <= 1000
    half = close(4 * 10**9, HOUR_US // 2, HOUR_US, totals, Decimal(4), lambda rates: spent(counts, rates))
    assert abs(half.idle_nanos - 2 * 10**9) <= 1000
    assert half.rates.output_nanos_per_mtok == pytest.approx(4 * half.rates.input_nanos_per_mtok, abs=4)


def spent(counts: np.ndarray, rates: PoolRates) -> int:
    known = np.ones_like(counts, np.bool_)
    return int(price_batch(counts, known, rates.rates("now"))[1].sum())


def test_the_cost_of_a_million_tokens_is_unknown_without_tokens() -> None:
    assert nanos_per_mtok(3, 2_000_000) == 2
    assert nanos_per_mtok(5 * 10**9, 10**6) == 5 * 10**9
    assert nanos_per_mtok(1, 0) is None


@pytest.mark.parametrize(
    ("start_s", "end_s", "closed", "expected"),
    [
        (5, 6, [(0, 10)], [(0, 10)]),
        (5, 12, [(0, 10), (10, 20), (20, 30)], [(0, 10), (10, 20)]),
        (5, 6, [], [(0, 10)]),
        (5, 15, [(10, 20)], [(0, 10), (10, 20)]),
        (5, 6, [(0, 3), (7, 20)], [(3, 7)]),
        (5, 10, [(10, 20)], [(0, 10)]),
        (10, 11, [(0, 10), (10, 20)], [(10, 20)]),
    ],
)
def test_a_time_touches_closed_periods_and_the_one_that_it_begins_in(
    start_s: int, end_s: int, closed: list[tuple[int, int]], expected: list[tuple[int, int]]
) -> None:
    assert touched(start_s, end_s, closed, 10) == expected
