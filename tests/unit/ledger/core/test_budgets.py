"""Budgets never let go of more than there is, whoever asks in whatever order."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.budgets import DAY_S, AtCap, Rule, covering, period_end, period_start
from services.common.ids import uuid7
from services.ledger.core.budgets import (
    MAX_AMOUNT_NANOS,
    Decision,
    Held,
    Page,
    Sheet,
    Spent,
    began_unix_s,
    most,
)
from services.ledger.core.pricing import Rate, Rates


def unix_s(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


NOON = unix_s("2026-11-25 12:00")
DAILY = Rule("daily", 100, "day", AtCap.REFUSE)
SOFT = Rule("soft", 50, "day", AtCap.ALERT)
HOME = Rule("home", 80, "month", AtCap.SOVEREIGN)


@pytest.mark.parametrize(
    ("period", "time", "start", "end"),
    [
        ("day", "2026-11-25 00:00:00", "2026-11-25 00:00", "2026-11-26 00:00"),
        ("day", "2026-11-25 23:59:59", "2026-11-25 00:00", "2026-11-26 00:00"),
        ("month", "2026-11-01 00:00:00", "2026-11-01 00:00", "2026-12-01 00:00"),
        ("month", "2026-12-31 23:59:59", "2026-12-01 00:00", "2027-01-01 00:00"),
        ("month", "2028-02-29 12:00:00", "2028-02-01 00:00", "2028-03-01 00:00"),
        ("month", "2026-01-31 12:00:00", "2026-01-01 00:00", "2026-02-01 00:00"),
    ],
)
def test_periods_are_those_of_the_calendar_in_utc(period: str, time: str, start: str, end: str) -> None:
    began = period_start(period, unix_s(time))
    assert (began, period_end(period, began)) == (unix_s(start), unix_s(end))


@given(st.integers(0, 4_000_000_000), st.sampled_from(["day", "month"]))
def test_every_time_is_in_exactly_one_period(time: int, period: str) -> None:
    start = period_start(period, time)
    assert start <= time < period_end(period, start)
    assert period_start(period, period_end(period, start)) == period_end(period, start)


@pytest.mark.parametrize(
    ("changes", "fits"),
    [
        ({}, True),
        ({"workload": "triage"}, True),
        ({"workload": "other"}, False),
        ({"key_name": "crm"}, True),
        ({"key_name": "web"}, False),
        ({"purpose": "production"}, True),
        ({"purpose": "shadow"}, False),
        ({"workload": "triage", "key_name": "crm", "purpose": "shadow"}, False),
    ],
)
def test_a_leg_falls_under_the_budgets_whose_words_fit(changes: dict[str, str], fits: bool) -> None:
    rule = replace(DAILY, **changes)
    assert covering([rule], "triage", "crm", "production") == ((rule,) if fits else ())


def test_a_leg_began_when_its_id_says_unless_that_is_far_from_the_clock() -> None:
    assert began_unix_s(uuid7((NOON - 5) * 10**9), NOON) == NOON - 5
    assert began_unix_s(uuid7((NOON - 2 * DAY_S) * 10**9), NOON) == NOON
    assert began_unix_s(bytes(16), NOON) == NOON


STEPPED = Rate(1_000_000, ((200, 4_000_000),))
RATES = Rates("list", "1", Rate(1_000_000), Rate(500_000), Rate(1_250_000), Rate(8_000_000), None)


@pytest.mark.parametrize(
    ("rates", "tokens", "amount"),
    [
        pytest.param(RATES, (1_000_000, 0), 1_250_000, id="all of the input at its dearest class"),
        pytest.param(RATES, (0, 1), 8, id="the output"),
        pytest.param(RATES, (1, 0), 2, id="rounded up"),
        pytest.param(replace(RATES, reasoning=Rate(9_000_000)), (0, 1), 9, id="reasoning may be dearer"),
        pytest.param(replace(RATES, per_request=7), (0, 0), 7, id="the call itself"),
        pytest.param(
            replace(RATES, input=STEPPED),
            (300, 0),
            1200,
            id="a step that it may reach",
        ),
        pytest.param(
            replace(RATES, input=STEPPED),
            (200, 0),
            250,
            id="a step that it can't reach",
        ),
        pytest.param(replace(RATES, output=None), (8, 0), 10, id="an embedding has no output"),
        pytest.param(replace(RATES, output=None), (8, 1), None, id="nobody knows the output's price"),
        pytest.param(None, (1, 1), None, id="nobody knows the model"),
        pytest.param(RATES, (10**12, 10**12), 9_250_000_000_000, id="a great deal"),
        pytest.param(replace(RATES, output=Rate(10**12)), (0, 10**12), MAX_AMOUNT_NANOS, id="nonsense"),
    ],
)
def test_what_is_set_aside_is_the_most_that_a_leg_can_cost(
    rates: Rates | None, tokens: tuple[int, int], amount: int | None
) -> None:
    assert most(rates, *tokens) == amount


def leg(number: int) -> bytes:
    return number.to_bytes(16, "big")


@pytest.mark.parametrize(
    ("rules", "used", "amount", "stopped_by", "over"),
    [
        pytest.param([DAILY], {}, 100, None, (), id="exactly what there is"),
        pytest.param([DAILY], {}, 101, "daily", (), id="one too many"),
        pytest.param([DAILY], {"daily": Page(60, 30)}, 11, "daily", (), id="spent and reserved count alike"),
        pytest.param([DAILY], {"daily": Page(60, 30)}, 10, None, (), id="the rest"),
        pytest.param([SOFT], {}, 51, None, ("soft",), id="over, and only told"),
        pytest.param([SOFT, DAILY], {}, 60, None, ("soft",), id="over one, within the other"),
        pytest.param([DAILY, HOME], {}, 90, "home", (), id="sovereign"),
        pytest.param([HOME, DAILY], {}, 110, "daily", (), id="refuse beats sovereign"),
        pytest.param([DAILY, HOME], {}, 110, "daily", (), id="in any order"),
        pytest.param([SOFT, HOME, DAILY], {}, 90, "home", ("soft",), id="sovereign beats alert"),
        pytest.param([DAILY], {}, None, "daily", (), id="an unknown price can't be shown to fit"),
        pytest.param([SOFT], {}, None, None, ("soft",), id="an alert lets it go all the same"),
        pytest.param([], {}, 10**9, None, (), id="no budget"),
    ],
)
def test_what_may_be_done_with_a_leg(
    rules: list[Rule],
    used: dict[str, Page],
    amount: int | None,
    stopped_by: str | None,
    over: tuple[str, ...],
) -> None:
    starts = {rule.name: period_start(rule.period, NOON) for rule in rules}
    sheet = Sheet({(name, starts[name]): page for name, page in used.items()})
    before = {name: page.reserved_nanos for name, page in used.items()}
    decision = sheet.reserve(rules, leg(1), amount, NOON)
    assert (decision.stopped_by.name if decision.stopped_by else None, decision.over) == (stopped_by, over)
    for rule in rules:
        added = sheet.page((rule.name, starts[rule.name])).reserved_nanos - before.get(rule.name, 0)
        assert added == (amount or 0 if stopped_by is None else 0), "all budgets or none"


def test_who_is_stopped_is_told_what_is_left_and_when_it_begins_anew() -> None:
    sheet = Sheet({("home", unix_s("2026-11-01 00:00")): Page(70, 3)})
    decision = sheet.reserve([HOME], leg(1), 20, NOON)
    assert (decision.left_nanos, decision.end_unix_s) == (7, unix_s("2026-12-01 00:00"))


def spent(
    number: int, cost: int | None, *, at: int = NOON, found: bool = False, id_: bytes | None = None
) -> Spent:
    return Spent(leg(number) if id_ is None else id_, "w", "k", "production", at, cost, found)


DAY = ("daily", period_start("day", NOON))


def test_a_leg_that_asks_again_gets_no_more() -> None:
    sheet = Sheet()
    first = sheet.reserve([DAILY], leg(1), 60, NOON)
    assert sheet.reserve([DAILY], leg(1), 60, NOON) == first == Decision(("daily",))
    assert sheet.page(DAY) == Page(0, 60)


@pytest.mark.parametrize(
    ("amount", "after"),
    [(0, Page()), (25, Page(spent_nanos=25)), (None, Page(spent_nanos=60, unknown_count=1))],
)
def test_a_leg_that_is_not_booked_gives_its_money_back_once(amount: int | None, after: Page) -> None:
    sheet = Sheet()
    sheet.reserve([DAILY], leg(1), 60, NOON)
    sheet.release(leg(1), amount)
    sheet.release(leg(1), amount)
    sheet.release(leg(2), amount)
    assert sheet.page(DAY) == after


@pytest.mark.parametrize(
    ("steps", "after"),
    [
        pytest.param([spent(1, 40)], Page(40), id="its cost takes the place"),
        pytest.param([spent(1, None)], Page(60, 0, 1), id="unknown is not zero"),
        pytest.param([spent(1, None), spent(1, 40, found=True)], Page(40), id="found later"),
        pytest.param([spent(2, 30)], Page(30, 60), id="a leg that had nothing set aside"),
        pytest.param([spent(2, None)], Page(0, 60, 1), id="nor a known cost"),
        pytest.param([spent(2, None), spent(2, 30, found=True)], Page(30, 60), id="which is found later"),
        pytest.param([spent(1, 40), spent(0, -5)], Page(35), id="a correction"),
        pytest.param([spent(1, 0)], Page(), id="nothing was billed"),
    ],
)
def test_a_booked_leg_replaces_what_was_set_aside(steps: list[Spent], after: Page) -> None:
    sheet = Sheet()
    sheet.reserve([DAILY], leg(1), 60, NOON)
    for step in steps:
        sheet.settle([DAILY], step)
    assert sheet.page(DAY) == after


def test_a_leg_settles_in_the_period_in_which_it_began() -> None:
    sheet = Sheet()
    midnight = unix_s("2026-11-26 00:00")
    sheet.reserve([DAILY], leg(1), 60, midnight - 1)
    assert sheet.reserve([DAILY], leg(2), 100, midnight).stopped_by is None
    sheet.settle([DAILY], spent(1, 40, at=midnight - 1))
    assert sheet.page(DAY) == Page(40)
    assert sheet.page(("daily", midnight)) == Page(0, 100)


def test_money_is_given_back_where_it_was_taken_even_if_the_budgets_have_changed() -> None:
    sheet = Sheet(held={leg(1): {"gone": Held(0, 60)}}, pages={("gone", 0): Page(0, 60)})
    sheet.settle([DAILY], spent(1, 40))
    assert (sheet.page(("gone", 0)), sheet.page(DAY)) == (Page(40), Page(40))
    assert sheet.held == {}


# Any interleaving of callers, each of whom reserves, and then books or gives back or vanishes.


@dataclass
class Model:
    """What must hold, kept by hand."""

    in_flight: dict[int, int] = field(default_factory=dict)
    booked: int = 0


@given(
    st.lists(
        st.tuples(
            st.integers(0, 7),
            st.integers(0, 40),
            st.sampled_from(["book", "unknown", "release", "vanish"]),
            st.integers(0, 100),
        ),
        max_size=60,
    )
)
def test_spent_and_reserved_never_pass_the_cap_under_any_interleaving(
    steps: list[tuple[int, int, str, int]],
) -> None:
    sheet, number, open_legs = Sheet(), 0, Model()
    slots: dict[int, int] = {}
    for slot, amount, end, percent in steps:
        if slot not in slots:
            number += 1
            if sheet.reserve([DAILY], leg(number), amount, NOON).stopped_by is None:
                slots[slot] = number
                open_legs.in_flight[number] = amount
        else:
            mine = slots.pop(slot)
            reserved = open_legs.in_flight[mine]
            if end == "vanish":
                continue
            del open_legs.in_flight[mine]
            if end == "release":
                sheet.release(leg(mine), 0)
            elif end == "unknown":
                sheet.settle([DAILY], spent(mine, None))
                open_legs.booked += reserved
            else:
                cost = reserved * percent // 100
                sheet.settle([DAILY], spent(mine, cost))
                open_legs.booked += cost
        page = sheet.page(DAY)
        assert page.reserved_nanos == sum(open_legs.in_flight.values())
        assert page.spent_nanos == open_legs.booked
        assert page.spent_nanos + page.reserved_nanos <= DAILY.limit_nanos


@given(
    st.lists(st.tuples(st.integers(0, 40), st.integers(0, 300)), max_size=30),
    st.randoms(use_true_random=False),
)
def test_costs_beyond_what_was_set_aside_pass_the_cap_by_no_more_than_the_excess(
    legs: list[tuple[int, int]], rng: random.Random
) -> None:
    sheet, excess, waiting = Sheet(), 0, []
    for number, (amount, cost) in enumerate(legs, 1):
        if sheet.reserve([DAILY], leg(number), amount, NOON).stopped_by is None:
            waiting.append((number, amount, cost))
    rng.shuffle(waiting)
    for number, amount, cost in waiting:
        sheet.settle([DAILY], spent(number, cost))
        excess += max(0, cost - amount)
    assert sheet.page(DAY).reserved_nanos == 0
    assert sheet.page(DAY).spent_nanos <= DAILY.limit_nanos + excess
