"""An entry and its rows are compared figure by figure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ledger.core.audit import Rows, first_difference, idle_nanos
from services.ledger.core.book import Kind, Line, draft, pool, provider

TRIAGE = Line("ticket-triage", "cloud", "production", provider("openai"), 7, 2, (10, 20, 30, 40, 50, 60))
NAMELESS = Line("", "sovereign", "shadow", pool("rack"), 3, 3, (0, 0, 0, 0, 0, 0))
ENTRY = draft(Kind.LEGS, "b-1", [TRIAGE, NAMELESS])

Tamper = Callable[[list[Rows]], list[Rows]]


def rows(*lines: Line) -> list[Rows]:
    """What ClickHouse has when it has exactly these lines."""
    return [Rows("b-1", line, sum(line.parts_nanos), 0) for line in lines]


def with_line(**changes: Any) -> Tamper:
    """Changes the line of ticket-triage."""
    return lambda there: [there[0], replace(there[1], line=replace(there[1].line, **changes))]


@pytest.mark.parametrize("confirmed", [True, False])
def test_equal_is_no_difference(confirmed: bool) -> None:
    assert first_difference(1, ENTRY, rows(*ENTRY.lines), confirmed=confirmed) is None


@pytest.mark.parametrize(
    ("tamper", "told"),
    [
        (with_line(leg_count=6), "legs: 7 in the journal, 6 in ClickHouse"),
        (with_line(leg_count=8), "legs: 7 in the journal, 8 in ClickHouse"),
        (with_line(unknown_count=0), "legs of unknown cost: 2 in the journal, 0 in ClickHouse"),
        (
            with_line(parts_nanos=(11, 20, 30, 40, 50, 60)),
            "cost of input in nano-dollars: 10 in the journal, 11",
        ),
        (with_line(parts_nanos=(10, 20, 31, 39, 50, 60)), "cost of cache write in nano-dollars: 30 in the"),
        (with_line(parts_nanos=(10, 20, 30, 40, 50, 59)), "cost of request in nano-dollars: 60 in the jou"),
        (
            lambda there: [there[0], replace(there[1], cost_nanos=1)],
            "cost in nano-dollars: 210 in the jo",
        ),
        (lambda there: [there[0], replace(there[1], unsplit_count=1)], "legs whose six costs do not add up"),
        (lambda there: there[:1], "legs: 7 in the journal, 0 in ClickHouse"),
        (
            lambda there: [*there, *rows(replace(TRIAGE, purpose="judge"))],
            "legs: nothing in the journal",
        ),
    ],
)
def test_what_differs_is_named_with_its_line(tamper: Tamper, told: str) -> None:
    found = first_difference(12, ENTRY, tamper(rows(*ENTRY.lines)), confirmed=True)
    assert found is not None
    assert told in str(found)
    assert str(found).startswith("entry 12, batch b-1, ticket-triage × cloud × ")
    assert (found.entry_id, found.batch, found.workload) == (12, "b-1", "ticket-triage")


def test_a_line_without_a_workload_is_called_unnamed() -> None:
    found = first_difference(12, ENTRY, rows(TRIAGE), confirmed=True)
    assert str(found).startswith("entry 12, batch b-1, (unnamed) × sovereign × shadow × pool/rack: legs: 3")


def test_rows_under_another_batch_are_named() -> None:
    there = [*rows(*ENTRY.lines), replace(rows(TRIAGE)[0], batch="b-2")]
    found = first_difference(12, ENTRY, there, confirmed=True)
    assert "7 legs of this entry under the batch 'b-2'" in str(found)


@given(missing=st.integers(0, 7), line=st.booleans())
def test_of_an_unconfirmed_entry_rows_may_be_missing(missing: int, line: bool) -> None:
    arrived = replace(TRIAGE, leg_count=7 - missing, parts_nanos=(10 - missing, 20, 30, 40, 50, 60))
    there = rows(arrived, NAMELESS) if line else rows(arrived)
    assert first_difference(1, ENTRY, there, confirmed=False) is None
    assert first_difference(1, ENTRY, there, confirmed=True) is not None or (missing == 0 and line)


@given(more=st.integers(1, 100))
def test_of_an_unconfirmed_entry_no_row_may_be_too_many(more: int) -> None:
    there = rows(replace(TRIAGE, leg_count=7 + more), NAMELESS)
    assert first_difference(1, ENTRY, there, confirmed=False) is not None


def test_of_an_unconfirmed_entry_whose_rows_are_all_there_the_sums_count() -> None:
    there = rows(replace(TRIAGE, parts_nanos=(11, 20, 30, 40, 50, 60)), NAMELESS)
    assert first_difference(1, ENTRY, there, confirmed=False) is not None


def test_idle_hours_are_those_of_the_postings() -> None:
    booked = draft(Kind.POOL_PERIOD, "p-1", [], idle={"rack/1": 5, "rack": -7})
    assert idle_nanos(booked) == {"rack/1": 5, "rack": -7}
    assert idle_nanos(ENTRY) == {}
