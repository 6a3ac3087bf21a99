"""The periods of pools add up, however often they are closed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ledger.core.audit_pools import Key, Period, Periods
from services.ledger.core.book import Draft, Kind, Line, draft, pool

COST = 1_000_000
KEY: Key = ("rack", 7_200)


def closed(number: int, leg_cost: int, before: int | None = None, **said: Any) -> Draft:
    """An entry that closes the period such that its legs cost that much, and `before` not so."""
    detail = {
        "pool": "rack",
        "period_start_unix_s": 7_200,
        "cost_nanos": COST,
        "leg_cost_nanos": leg_cost,
        "idle_nanos": COST - leg_cost,
        **said,
    }
    first = before is None
    more = leg_cost - (before or 0)
    line = Line("triage", "sovereign", "production", pool("rack"), 1, -1, (more, 0, 0, 0, 0, 0))
    idle = COST - leg_cost if first else -more
    return draft(Kind.POOL_PERIOD, f"p/{number}", [line], idle={"rack": idle}, detail=detail)


def row(entry_id: int, leg_cost: int) -> dict[Key, Period]:
    """What ClickHouse has of the period."""
    return {KEY: Period(entry_id, COST, leg_cost, COST - leg_cost)}


@given(st.lists(st.integers(0, COST), min_size=1, max_size=6))
def test_differences_add_up_to_the_last_closing(leg_costs: list[int]) -> None:
    periods = Periods()
    for number, (before, leg_cost) in enumerate(zip([None, *leg_costs], leg_costs, strict=False), 1):
        assert periods.add(number, closed(number, leg_cost, before), confirmed=True) is None
    assert periods.first_difference(row(len(leg_costs), leg_costs[-1])) is None
    assert periods.first_difference(row(len(leg_costs), leg_costs[-1] + 1)) is not None


@pytest.mark.parametrize(
    ("said", "figure"),
    [
        ({"leg_cost_nanos": 301}, "cost of its legs in nano-dollars: 300 were posted, 301 is"),
        ({"idle_nanos": 0}, "cost of its idle time in nano-dollars: 999,700 were posted, 0 is"),
        ({"cost_nanos": COST + 1}, "cost in nano-dollars: 1,000,000 were posted, 1,000,001 is"),
        ({"pool": None}, "cost of its idle time"),
    ],
)
def test_an_entry_whose_postings_are_not_what_it_says_is_named(said: dict[str, Any], figure: str) -> None:
    found = Periods().add(5, closed(1, 300, **said), confirmed=True)
    assert str(found).startswith("entry 5, batch p/1: ")
    assert figure in str(found)


def test_an_entry_that_does_not_say_its_period_is_named() -> None:
    found = Periods().add(5, replace(closed(1, 300), detail={}), confirmed=True)
    assert "does not say which period" in str(found)


@pytest.mark.parametrize(
    ("rows", "confirmed", "told"),
    [
        (row(5, 300), True, None),
        (row(5, 300), False, None),
        ({}, True, "ClickHouse does not have it as this entry closed it"),
        ({}, False, None),
        (row(4, 200), True, "ClickHouse does not have it as this entry closed it"),
        (row(4, 200), False, None),
        (row(6, 300), True, "entry: 5 in the journal, 6 in ClickHouse"),
        (row(5, 299), False, "cost of its legs in nano-dollars: 300 in the journal, 299 in ClickHouse"),
        (
            {("other", 0): Period(9, 0, 0, 0)} | row(5, 300),
            True,
            "is in ClickHouse, and the journal has no such entry",
        ),
    ],
)
def test_a_row_must_be_what_the_journal_has(
    rows: dict[Key, Period], confirmed: bool, told: str | None
) -> None:
    periods = Periods()
    assert periods.add(5, closed(1, 300), confirmed=confirmed) is None
    found = periods.first_difference(rows)
    assert (found is None) if told is None else (told in str(found))


def test_other_entries_say_nothing_of_periods() -> None:
    periods = Periods()
    assert periods.add(1, draft(Kind.LEGS, "b", []), confirmed=True) is None
    assert periods.first_difference({}) is None
