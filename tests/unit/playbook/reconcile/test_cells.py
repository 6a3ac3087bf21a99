"""A bill and the book meet in cells of a provider, a time and a model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from playbook.inventory.rows import UsageRow
from playbook.reconcile.bill import Bill, days_between, times
from playbook.reconcile.cells import ALL_MODELS, BookRow, Cell, booked_of, compare

MONDAY = datetime(2026, 11, 2, tzinfo=UTC)
ROW = UsageRow(
    kind="cost",
    line=1,
    start_time=MONDAY,
    end_time=MONDAY + timedelta(days=1),
    provider="openai",
    billed_nanos=1_000_000,
    currency="USD",
    line_item="gpt-4o-2024-08-06, input",
    token_class="input",
    quantity=Decimal(400),
    row_key=b"",
)
BOOKED = BookRow(
    provider="openai",
    day=MONDAY.date(),
    model="gpt-4o",
    production=True,
    unpriced=False,
    legs=1,
    billable=1,
    tokens={"input": 400, "output": 0},
    uncounted=0,
    nanos=1_000_000,
    parts_nanos={"input": 1_000_000},
)


def cells(
    rows: list[UsageRow], book: list[BookRow], rates: Mapping[str, Fraction] | None = None
) -> list[Cell]:
    """The cells of a bill and a book."""
    bill = Bill()
    for row in rows:
        bill.add(row)
    return compare(bill, book, lambda _provider, _model, _day: rates or {})


def test_a_snapshot_and_the_booked_name_share_a_cell() -> None:
    """gpt-4o-2024-08-06 is gpt-4o."""
    (cell,) = cells([ROW], [BOOKED])
    assert (cell.model, cell.explained.difference_nanos) == ("gpt-4o", 0)


def test_lines_of_the_same_class_add_up() -> None:
    """By project or tier the bill has several lines of a day."""
    (cell,) = cells([ROW, replace(ROW, project="other")], [BOOKED])
    assert cell.billed["input"].quantity == 800
    assert cell.explained.parts.unbooked == 1_000_000


def test_one_line_without_a_quantity_leaves_the_class_without() -> None:
    """A part of a quantity is none."""
    (cell,) = cells([ROW, replace(ROW, quantity=None)], [BOOKED])
    assert cell.billed["input"].quantity is None
    assert cell.explained.undivided


@pytest.mark.parametrize(
    ("changes", "where", "model"),
    [
        (
            {"line_item": "Claude Usage - Output", "model": "Claude-X", "token_class": "output"},
            "billed",
            "claude-x",
        ),
        ({"line_item": "anything", "model": "claude-x", "token_class": ""}, "unclassed", "claude-x"),
        ({"line_item": "web search tool calls", "token_class": ""}, "other", "web search tool calls"),
        ({"line_item": "", "token_class": ""}, "unclassed", ALL_MODELS),
    ],
)
def test_what_a_line_is_for_decides_its_cell(changes: dict[str, Any], where: str, model: str) -> None:
    """Columns of the export, words of the line, or nothing at all."""
    (cell,) = cells([replace(ROW, **changes)], [])
    assert cell.model == model
    assert bool(cell.billed) == (where == "billed")
    assert (cell.explained.parts.other_charges == 1_000_000) == (where == "other")
    assert cell.explained.undivided == (where == "unclassed")


def test_a_bill_without_models_is_compared_by_the_day() -> None:
    """With all models of the day."""
    book = [BOOKED, replace(BOOKED, model="small", nanos=5, parts_nanos={"input": 5})]
    (cell,) = cells([replace(ROW, line_item="", token_class="")], book)
    assert (cell.model, cell.explained.book_nanos) == (ALL_MODELS, 1_000_005)
    assert cell.explained.residual_nanos == -5


def test_a_month_of_a_bill_is_compared_with_a_month_of_the_book() -> None:
    """Not with its first day."""
    month = replace(
        ROW, end_time=datetime(2026, 12, 1, tzinfo=UTC), billed_nanos=2_000_000, quantity=Decimal(800)
    )
    (cell,) = cells([month], [BOOKED, replace(BOOKED, day=date(2026, 11, 30))])
    assert cell.time == (date(2026, 11, 2), date(2026, 11, 30))
    assert cell.explained.difference_nanos == 0


def test_days_of_the_book_outside_the_bill_do_not_count_and_those_between_do() -> None:
    """A day that was not billed between two that were is a difference."""
    book = [replace(BOOKED, day=MONDAY.date() + timedelta(days=past)) for past in (-1, 0, 1, 2, 3)]
    later = replace(ROW, start_time=MONDAY + timedelta(days=2), end_time=MONDAY + timedelta(days=3))
    found = cells([ROW, later], book)
    assert [(cell.time[0].day, cell.explained.difference_nanos) for cell in found] == [
        (2, 0),
        (3, -1_000_000),
        (4, 0),
    ]


@pytest.mark.parametrize(
    ("changes", "field"),
    [({"currency": "EUR"}, "foreign"), ({"billed_nanos": None}, "without_amount")],
)
def test_what_is_no_dollars_is_counted_apart(changes: dict[str, Any], field: str) -> None:
    """And in no sum."""
    bill = Bill()
    bill.add(replace(ROW, **changes))
    assert not bill.amounts
    assert getattr(bill, field)


def test_legs_that_were_booked_before_costs_had_parts_are_spread_by_list_price() -> None:
    """So that their rate is the list's."""
    row = replace(BOOKED, tokens={"input": 400, "output": 100}, nanos=2_000_000, parts_nanos={})
    booked = booked_of([row], {"input": Fraction(2500), "output": Fraction(10_000)})
    assert booked.nanos == {"input": 1_000_000, "output": 1_000_000}


def test_a_price_of_the_call_is_a_class_of_its_own() -> None:
    """Counted in requests."""
    row = replace(BOOKED, nanos=1_000_010, parts_nanos={"input": 1_000_000, "request": 10})
    assert booked_of([row], {}).tokens["request"] == 1


days = st.dates(date(2026, 1, 1), date(2026, 3, 1))
spans = st.lists(
    st.tuples(days, st.integers(0, 40)).map(lambda it: (it[0], it[0] + timedelta(it[1]))), max_size=8
)


@given(spans)
def test_times_cover_all_spans_and_never_overlap(found: list[tuple[date, date]]) -> None:
    """Each day is in one at most, and with the days between there is no gap."""
    joined = times(found)
    assert all(any(first <= span[0] and span[1] <= last for first, last in joined) for span in found)
    assert all(before[1] < after[0] for before, after in pairwise(joined))
    filled = days_between(joined)
    assert all(after[0] - before[1] == timedelta(1) for before, after in pairwise(filled))
