"""Budgets in both databases: what is written is what the core decided, over all ledgers at once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
import sqlalchemy as sql
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.common.budgets import DAY_S, covering, period_start, rules_of
from services.common.ids import uuid7
from services.common.settings import Budget
from services.ledger.adapters.journal.budgets import (
    LATE_S,
    Budgets,
    Release,
    Reserve,
)
from services.ledger.adapters.journal.database import Database, metadata
from services.ledger.core.budgets import Decision, Page, Sheet, Spent

NOON = 1_795_608_000
"""2026-11-25 12:00 UTC."""
SETTINGS = {
    "daily": Budget(limit_usd=Decimal("0.0000001"), period="day"),
    "soft": Budget(limit_usd=Decimal("0.00000005"), period="month", workload="triage", at_cap="alert"),
    "shadowing": Budget(limit_usd=Decimal("0.00000003"), purpose="shadow", at_cap="sovereign"),
}
LIMIT = 100
"""Of `daily`, in nano-dollars."""


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """An empty journal."""
    opened = Database(database_url)
    yield opened
    opened.close()


@pytest.fixture
def budgets(database: Database) -> Budgets:
    return Budgets(database, SETTINGS)


def leg(number: int, at: int = NOON) -> bytes:
    return uuid7(at * 10**9, number.to_bytes(10, "big"))


def reserve(number: int, amount: int | None, **changes: Any) -> Reserve:
    asked = Reserve(leg(number), "triage", "crm", "production", amount)
    return replace(asked, **changes)


def spent(number: int, cost: int | None, at: int = NOON) -> Spent:
    return Spent(leg(number), "triage", "crm", "production", at, cost)


def pages(budgets: Budgets, at: int = NOON) -> dict[str, Page]:
    return {item.rule.name: item.page for item in budgets.standing(at)}


def settle(database: Database, budgets: Budgets, *legs: Spent) -> None:
    with database.writing() as db:
        budgets.settle(db, legs)


def rows(database: Database, table: str) -> int:
    with database.reading() as db:
        return int(db.execute(sql.select(sql.func.count()).select_from(metadata.tables[table])).scalar_one())


def test_a_leg_is_reserved_and_settled_in_all_its_budgets(database: Database, budgets: Budgets) -> None:
    [decision] = budgets.change([reserve(1, 60)], NOON)
    assert decision == Decision(("daily", "soft"), ("soft",))
    assert pages(budgets) == {"daily": Page(0, 60), "soft": Page(0, 60), "shadowing": Page()}
    settle(database, budgets, spent(1, 45))
    assert pages(budgets) == {"daily": Page(45), "soft": Page(45), "shadowing": Page()}
    assert rows(database, "reservation") == 0


def test_what_is_decided_outlasts_the_process(database: Database, budgets: Budgets) -> None:
    budgets.change([reserve(1, 60), reserve(2, 60)], NOON)
    again = Budgets(database, SETTINGS)
    assert pages(again)["daily"] == Page(0, 60)
    [same, other] = again.change([reserve(1, 60), reserve(2, 60)], NOON)
    assert same is not None
    assert same.stopped_by is None
    assert other is not None
    assert other.stopped_by is not None
    assert (other.stopped_by.name, other.left_nanos) == ("daily", 40)


def test_changes_of_one_group_see_each_other_in_their_order(budgets: Budgets) -> None:
    decisions = budgets.change([reserve(1, 80), reserve(2, 80), Release(leg(1), 0), reserve(2, 80)], NOON)
    assert [item.stopped_by is None for item in decisions if item is not None] == [True, False, True]
    assert pages(budgets)["daily"] == Page(0, 80)


def test_a_legs_cost_goes_to_the_day_in_which_it_began(database: Database, budgets: Budgets) -> None:
    midnight = period_start("day", NOON) + DAY_S
    budgets.change([Reserve(leg(1, midnight - 1), "", "crm", "production", 60)], midnight)
    settle(database, budgets, replace(spent(1, 50, midnight - 1), leg_id=leg(1, midnight - 1), workload=""))
    assert pages(budgets, midnight - 1)["daily"] == Page(50)
    assert pages(budgets, midnight)["daily"] == Page()


def test_an_unknown_cost_stands_until_it_is_found(database: Database, budgets: Budgets) -> None:
    budgets.change([reserve(1, 60)], NOON)
    settle(database, budgets, spent(1, None))
    assert pages(budgets)["daily"] == Page(60, 0, 1)
    settle(database, budgets, replace(spent(1, 10), found=True))
    assert pages(budgets)["daily"] == Page(10)
    settle(database, budgets, replace(spent(1, -3), leg_id=b""))
    assert pages(budgets)["daily"] == Page(7)
    assert rows(database, "reservation") == 0


def test_a_batch_that_is_undone_settles_nothing(database: Database, budgets: Budgets) -> None:
    budgets.change([reserve(1, 60)], NOON)

    def fail() -> None:
        with database.writing() as db:
            budgets.settle(db, [spent(1, 45)])
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert pages(budgets)["daily"] == Page(0, 60)


def test_without_budgets_nothing_is_written(database: Database) -> None:
    settle(database, Budgets(database, {}), spent(1, 45))
    assert rows(database, "budget_period") == 0


def test_money_of_legs_that_never_came_stands_until_its_period_is_over(
    database: Database, budgets: Budgets
) -> None:
    budgets.change([reserve(1, 60)], NOON)
    day_end = period_start("day", NOON) + DAY_S
    Budgets(database, SETTINGS).change([Release(leg(2), 0)], day_end + LATE_S - 1)
    assert pages(budgets)["daily"] == Page(0, 60)
    Budgets(database, SETTINGS).change([Release(leg(2), 0)], day_end + LATE_S)
    assert pages(budgets)["daily"] == Page()
    assert pages(budgets)["soft"] == Page(0, 60), "a month is longer"
    assert rows(database, "reservation") == 1
    Budgets(database, SETTINGS).change([Release(leg(2), 0)], NOON + 31 * DAY_S + LATE_S)
    assert rows(database, "reservation") == 0


def test_a_clock_that_was_far_ahead_leaves_what_is_spent(database: Database) -> None:
    dollar = 10**9
    month = {"month": Budget(limit_usd=Decimal(10))}
    budgets = Budgets(database, month)
    budgets.change([reserve(1, 2 * dollar)], NOON)
    settle(database, budgets, spent(1, dollar))
    Budgets(database, month).change([Release(leg(2), 0)], NOON + 500 * DAY_S)
    assert pages(budgets)["month"] == Page(dollar)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.lists(
            st.tuples(
                st.sampled_from(["reserve", "release", "settle", "unknown"]),
                st.integers(1, 6),
                st.integers(0, 40),
                st.sampled_from(["triage", "other"]),
                st.sampled_from(["production", "shadow"]),
            ),
            max_size=6,
        ),
        max_size=5,
    )
)
def test_the_tables_hold_what_the_core_would_have_in_memory(
    new_journal: Callable[[], str], groups: list[list[tuple[str, int, int, str, str]]]
) -> None:
    database = Database(new_journal())
    budgets, rules, sheet = Budgets(database, SETTINGS), rules_of(SETTINGS), Sheet()
    try:
        for group in groups:
            changes: list[Reserve | Release] = []
            expected: list[Decision | None] = []
            for kind, number, amount, workload, purpose in group:
                covered = covering(rules, workload, "crm", purpose)
                asked = reserve(number, amount, workload=workload, purpose=purpose)
                if kind == "reserve":
                    changes.append(asked)
                    expected.append(sheet.reserve(covered, asked.leg_id, amount, NOON))
                elif kind == "release":
                    changes.append(Release(asked.leg_id, amount))
                    expected.append(None)
                    sheet.release(asked.leg_id, amount)
                else:
                    assert budgets.change(changes, NOON) == expected
                    changes, expected = [], []
                    cost = amount if kind == "settle" else None
                    booked = Spent(asked.leg_id, workload, "crm", purpose, NOON, cost)
                    settle(database, budgets, booked)
                    sheet.settle(covered, booked)
            assert budgets.change(changes, NOON) == expected
        found = pages(budgets)
        for rule in rules:
            assert found[rule.name] == sheet.page((rule.name, period_start(rule.period, NOON)))
        assert rows(database, "reservation") == sum(map(len, sheet.held.values()))
    finally:
        database.close()


def test_ledgers_that_share_a_journal_never_let_go_of_more_than_there_is(
    database: Database, database_url: str
) -> None:
    """Four ledgers and eight callers of each, which reserve, book and give back as fast as they can."""
    ledgers = [(database, Budgets(database, SETTINGS))]
    for _ in range(3):
        other = Database(database_url)
        ledgers.append((other, Budgets(other, SETTINGS)))
    highest, lock, let_go = [0], threading.Lock(), [0]

    def call(number: int) -> None:
        own, budgets = ledgers[number % 4]
        for turn in range(6):
            leg_id = number * 100 + turn
            [decision] = budgets.change([reserve(leg_id, 20)], NOON)
            assert decision is not None
            page = pages(budgets)["daily"]
            with lock:
                highest[0] = max(highest[0], page.spent_nanos + page.reserved_nanos)
                let_go[0] += decision.stopped_by is None
            if decision.stopped_by is None and turn % 3:
                settle(own, budgets, spent(leg_id, 5))
            elif decision.stopped_by is None:
                budgets.change([Release(leg(leg_id), 0)], NOON)

    try:
        with ThreadPoolExecutor(16) as pool:
            list(pool.map(call, range(16)))
        end = pages(ledgers[0][1])["daily"]
    finally:
        for opened, _ in ledgers[1:]:
            opened.close()
    assert LIMIT - 20 < highest[0] <= LIMIT, "it was used up, and never more"
    assert end.reserved_nanos == 0
    assert let_go[0] > LIMIT // 20
    assert end.spent_nanos % 5 == 0


def test_the_lock_is_the_budgets_own(database: Database, budgets: Budgets) -> None:
    """A ledger that books and reserves at once does not stand in its own way."""
    threads = [
        threading.Thread(target=settle, args=(database, budgets, spent(number, 1))) for number in range(8)
    ] + [
        threading.Thread(target=budgets.change, args=([reserve(100 + number, 1)], NOON))
        for number in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not any(thread.is_alive() for thread in threads)
    assert pages(budgets)["daily"] == Page(8, 8)
