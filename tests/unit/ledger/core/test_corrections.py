"""Corrections: the differences that bring legs to another cost, and what they add up to."""

from __future__ import annotations

import random
from decimal import Decimal
from uuid import UUID

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ledger.core import book, booking
from services.ledger.core.booking import Holding, Words
from services.ledger.core.budgets import Spent
from services.ledger.core.corrections import (
    BookedLegs,
    Lines,
    at_list_rates,
    at_pool_rates,
    cloud_spend,
    corrections,
    recorded,
)
from services.ledger.core.pools import BusyTime, Closing, PoolRates, Totals, close
from services.ledger.core.pricing import Rate, Rates

START_US = 1_700_000_000_000_000
HOUR_US = 3_600_000_000


class Book:
    """Legs and what the book says of them, changed by corrections alone."""

    def __init__(self, rows: list[tuple[int, ...]], *, pool: str = "", target: str = "cloud") -> None:
        """Rows are a start (seconds behind START_US), a latency in microseconds and five token counts; a
        negative one is unknown."""
        self.rows = rows
        self.pool = pool
        self.target = target
        self.known = np.zeros(len(rows), np.bool_)
        self.parts = np.zeros((len(rows), 6), np.int64)

    def legs(self, rows: list[int] | None = None) -> BookedLegs:
        chosen = list(range(len(self.rows))) if rows is None else rows
        counts = np.array([self.rows[row][2:] for row in chosen], np.int64).reshape(-1, 5)
        starts = np.array([START_US + self.rows[row][0] * 10**6 for row in chosen], np.int64)
        size = len(chosen)

        def same(text: str) -> Words:
            return Words([text], np.zeros(size, np.int64))

        return BookedLegs(
            leg_ids=[UUID(int=row + 1) for row in chosen],
            start_us=starts,
            legs=booking.Legs(
                workload=Words.of(["triage", "", "minutes"][row % 3] for row in chosen),
                target=same(self.target),
                purpose=Words.of(["production", "shadow"][row % 2] for row in chosen),
                upstream=same("up"),
                provider=Words.of(["acme", "zeta"][row % 2] for row in chosen),
                model=same("large"),
                start_unix_s=starts // 10**6,
                counts=np.maximum(counts, 0),
                known=counts >= 0,
                billed=np.ones(size, np.bool_),
            ),
            key_name=same("demo"),
            region=same("eu"),
            pool=same(self.pool),
            cost_known=self.known[chosen],
            parts_nanos=self.parts[chosen].copy(),
        )

    def close(self, rows: list[int]) -> Closing:
        """Closes the hour from START_US over the legs that are there."""
        rows = sorted(rows, key=lambda row: self.rows[row][0])
        booked = self.legs(rows)
        busy, totals = BusyTime(START_US, START_US + HOUR_US), Totals()
        busy.add(booked.start_us, np.array([self.rows[row][1] for row in rows], np.int64))
        totals.add(booked.legs.counts, booked.legs.known, booked.legs.billed)

        def spend(rates: PoolRates) -> int:
            return int(at_pool_rates(booked, rates, "").parts_nanos.sum())

        closing = close(10**9, busy.busy_us, HOUR_US, totals, Decimal(4), spend)
        made = corrections(booked, at_pool_rates(booked, closing.rates, "hour"))
        changed = np.array(rows, np.intp)[made.rows]
        self.known[changed] = True
        self.parts[changed] += made.parts_nanos
        return closing


legs = st.lists(
    st.tuples(st.integers(0, 3599), st.integers(0, 10**9), *[st.integers(-1, 5000)] * 5), max_size=25
)


@given(legs)
def test_a_closed_periods_legs_and_idle_add_up_and_closing_it_again_changes_nothing(
    rows: list[tuple[int, ...]],
) -> None:
    mine = Book(rows, pool="rack", target="sovereign")
    closing = mine.close(list(range(len(rows))))
    assert int(mine.parts.sum()) + closing.idle_nanos == 10**9
    assert mine.known.tolist() == [min(row[2:]) >= 0 for row in rows]
    before = mine.parts.copy()
    assert mine.close(list(range(len(rows)))) == closing
    assert (mine.parts == before).all()


@given(legs, st.randoms())
def test_legs_that_come_late_lead_to_the_same_as_all_at_once(
    rows: list[tuple[int, ...]], dice: random.Random
) -> None:
    at_once, in_steps = Book(rows, pool="rack"), Book(rows, pool="rack")
    order = list(range(len(rows)))
    whole = at_once.close(order)
    dice.shuffle(order)
    for upto in sorted(dice.choices(range(len(order) + 1), k=2)):
        in_steps.close(order[:upto])
    closing = in_steps.close(order)
    assert closing == whole
    assert (in_steps.parts == at_once.parts).all()
    assert (in_steps.known == at_once.known).all()


def rates(base: int, *, per_request: int = 0) -> Rates:
    rate = Rate(base)
    return Rates("settings", "2026-01-01", rate, rate, rate, rate, rate, per_request)


def priced_at(base: int | None) -> booking.LookUp:
    def look_up(provider: str, model: str, unix_s: int) -> Holding:
        held = None if base is None or provider == "zeta" else rates(base)
        return Holding(unix_s // 100 * 100, unix_s // 100 * 100 + 100, held)

    return look_up


def test_a_found_cost_is_booked_whole_and_a_known_one_by_its_difference() -> None:
    mine = Book([(0, 1, 1000, 0, 0, 500, 0)] * 2)
    mine.known[0] = True
    mine.parts[0] = [1, 0, 0, 0, 0, 0]
    booked = mine.legs()
    priced, _ = at_list_rates(booked, lambda *_: Holding(0, 2**40, rates(1_000_000)))
    made = corrections(booked, priced)
    assert made.rows.tolist() == [0, 1]
    assert made.parts_nanos.tolist() == [[999, 0, 0, 500, 0, 0], [1000, 0, 0, 500, 0, 0]]
    assert made.found.tolist() == [False, True]
    assert corrections(booked, priced, unknown_only=True).rows.tolist() == [1]


def test_a_cost_of_zero_is_found_too() -> None:
    booked = Book([(0, 1, 1000, 0, 0, 500, 0)]).legs()
    priced, _ = at_list_rates(booked, lambda *_: Holding(0, 2**40, rates(0)))
    made = corrections(booked, priced)
    assert (made.found.tolist(), int(made.parts_nanos.sum())) == ([True], 0)


def test_a_known_cost_stays_when_nobody_knows_a_price_any_more() -> None:
    mine = Book([(0, 1, 1000, 0, 0, 500, 0)])
    mine.known[0] = True
    mine.parts[0] = [7, 0, 0, 0, 0, 0]
    priced, _ = at_list_rates(mine.legs(), priced_at(None))
    assert not len(corrections(mine.legs(), priced))


@given(legs, st.integers(0, 10**10))
def test_an_entrys_rates_give_the_same_prices_again(rows: list[tuple[int, ...]], base: int) -> None:
    if not rows:
        return
    booked = Book(rows).legs()
    first, used = at_list_rates(booked, priced_at(base))
    again, _ = at_list_rates(booked, recorded(used))
    assert (first.parts_nanos == again.parts_nanos).all()
    assert (first.known == again.known).all()


def test_rates_that_an_entry_does_not_have_are_an_error() -> None:
    with pytest.raises(booking.BookedOtherwiseError):
        recorded([])("acme", "large", 0)


@given(legs, st.integers(1, 9))
def test_lines_are_the_same_whatever_the_size_of_the_pages(rows: list[tuple[int, ...]], page: int) -> None:
    mine = Book(rows)
    whole, paged = Lines(), Lines()
    total = unknown = 0
    for lines, size in ((whole, len(rows) or 1), (paged, page)):
        for at in range(0, len(rows), size):
            booked = mine.legs(list(range(at, min(at + size, len(rows)))))
            priced, _ = at_list_rates(booked, priced_at(123_456_789))
            made = corrections(booked, priced)
            lines.add(booked, made)
            if lines is whole:
                total, unknown = int(made.parts_nanos.sum()), -int(made.found.sum())
    assert paged.lines() == whole.lines()
    draft = book.draft(book.Kind.REPRICING, "b", whole.lines())
    assert (draft.cost_nanos, draft.unknown_count, draft.lines) == (total, unknown, whole.lines())


def test_a_pools_legs_are_owed_to_the_pool_and_others_to_their_provider() -> None:
    for pool, creditors in (("rack", {"pool/rack"}), ("", {"provider/acme", "provider/zeta"})):
        booked = Book([(0, 1, 1, 1, 1, 1, 1)] * 2, pool=pool).legs()
        priced, _ = at_list_rates(booked, lambda *_: Holding(0, 2**40, rates(10**9)))
        lines = Lines()
        lines.add(booked, corrections(booked, priced))
        assert {line.creditor for line in lines.lines()} == creditors


def test_budgets_hear_of_each_found_leg_and_of_the_sum_of_the_others_by_day() -> None:
    mine = Book([(0, 1, 1000, 0, 0, 0, 0)] * 7)
    mine.known[1:] = True
    booked = mine.legs()
    priced, _ = at_list_rates(booked, lambda *_: Holding(0, 2**40, rates(1_000_000)))
    told = cloud_spend(booked, corrections(booked, priced))
    found, *others = told
    first = Spent(UUID(int=1).bytes, "triage", "demo", "production", START_US // 10**6, 1000, found=True)
    assert found == first
    assert all(not item.leg_id and not item.found for item in others)
    assert sum(item.cost_nanos or 0 for item in others) == 6000
    assert {item.start_unix_s for item in others} == {START_US // 10**6 // 86_400 * 86_400}
    assert len(others) == len({(item.workload, item.purpose) for item in others})
    at_home = Book(mine.rows, target="sovereign").legs()
    assert not cloud_spend(at_home, corrections(at_home, priced))
