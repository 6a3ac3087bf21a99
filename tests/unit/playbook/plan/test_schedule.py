"""The bars of a plan: phases, waves, forecasts; forwards, backwards, and over odd dates."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from playbook.plan.schedule import (
    PHASES,
    Bar,
    Mover,
    Phase,
    add_months,
    backward,
    forward,
    outline,
)

ABC = (Mover("a"), Mover("b"), Mover("c"))


@pytest.mark.parametrize(
    ("movers", "weeks", "at_once", "first", "total"),
    [
        ((), 2, 3, "inventory", 10),
        ((), 3, 3, "inventory", 15),
        (ABC, 2, 3, "inventory", 10),
        (ABC, 3, 3, "inventory", 15),
        (ABC, 3, 3, "plan", 12),
        (ABC, 3, 3, "shadow", 9),
        (ABC, 3, 3, "cutover", 6),
        (ABC, 3, 3, "report", 3),
        # Each further wave is compared while the one before it moves.
        (ABC, 3, 2, "inventory", 18),
        (ABC, 3, 1, "inventory", 21),
        # Nothing is compared any more: waves move one after the other.
        (ABC, 3, 1, "cutover", 12),
    ],
)
def test_all_together_takes(
    movers: tuple[Mover, ...], weeks: int, at_once: int, first: Phase, total: int
) -> None:
    assert outline(movers, weeks, at_once, first).days == 7 * total


def test_a_long_comparison_holds_up_its_own_cutover_and_the_next_wave() -> None:
    slow = Mover("slow", shadow_days=(20, 35))
    found = outline((slow, Mover("quick"), Mover("next")), 3, 2, "shadow")
    assert found.bars == (
        Bar("shadow", "slow", 0, 35),
        Bar("cutover", "slow", 35, 56),
        Bar("shadow", "quick", 0, 21),
        Bar("cutover", "quick", 21, 42),
        Bar("shadow", "next", 35, 56),
        Bar("cutover", "next", 56, 77),
        Bar("report", "", 77, 98),
    )
    assert found.home_at("slow") == 56
    assert outline((slow,), 2, 2, "shadow", slow=False).home_at("slow") == 20 + 14


def test_what_has_begun_goes_on_from_the_first_day() -> None:
    """It waits for nothing, and who moves already takes no place among those that are compared."""
    movers = (
        Mover("moves", begins="cutover"),
        Mover("runs", begins="shadow"),
        Mover("waits"),
        Mover("next"),
    )
    assert outline(movers, 3, 2).bars == (
        Bar("inventory", "", 0, 21),
        Bar("plan", "", 21, 42),
        Bar("cutover", "moves", 0, 21),
        Bar("shadow", "runs", 0, 21),
        Bar("cutover", "runs", 21, 42),
        Bar("shadow", "waits", 42, 63),
        Bar("cutover", "waits", 63, 84),
        Bar("shadow", "next", 63, 84),
        Bar("cutover", "next", 84, 105),
        Bar("report", "", 105, 126),
    )
    assert outline(movers[:2], 3, 2).bars[0].phase == "cutover"
    assert outline((Mover("w", least_days=30),), 3, 1, "shadow").home_at("w") == 30 + 21


@pytest.mark.parametrize(
    ("start", "weeks", "home"),
    [
        (date(2027, 12, 1), 10, date(2028, 2, 9)),
        (date(2027, 12, 23), 10, date(2028, 3, 2)),  # over a leap day
        (date(2026, 12, 23), 10, date(2027, 3, 3)),
        (date(2028, 2, 29), 10, date(2028, 5, 9)),
    ],
)
def test_years_end_and_days_leap(start: date, weeks: int, home: date) -> None:
    found = outline((), weeks // 5, 1)
    assert forward(found, start)[-1].end == home
    assert backward(found, home) == start


MOVERS = st.lists(
    st.builds(
        Mover,
        name=st.uuids().map(str),
        shadow_days=st.none()
        | st.tuples(st.integers(0, 400), st.integers(0, 400)).map(lambda pair: (min(pair), max(pair))),
    ),
    max_size=8,
)
DATES = st.dates(date(2001, 1, 1), date(2200, 12, 31))


@given(MOVERS, st.integers(1, 8), st.integers(1, 5), st.sampled_from(PHASES), DATES, st.integers(0, 300))
def test_the_backward_plan_run_forward_ends_at_the_renewal(
    movers: list[Mover], weeks: int, at_once: int, first: Phase, renewal: date, approval_days: int
) -> None:
    """On the day itself: not one is lost, and not one is too many."""
    found = outline(movers, weeks, at_once, first)
    decided = backward(found, renewal, approval_days)
    bars = forward(found, decided + timedelta(days=approval_days))
    assert max(bar.end for bar in bars) == renewal
    assert min(bar.begin for bar in bars) == decided + timedelta(days=approval_days)


@given(MOVERS, st.integers(1, 8), st.integers(1, 5))
def test_each_workload_is_compared_then_moved_and_never_too_many_at_once(
    movers: list[Mover], weeks: int, at_once: int
) -> None:
    found = outline(movers, weeks, at_once)
    for mover in movers:
        own = {bar.phase: bar for bar in found.bars if bar.workload == mover.name}
        assert own["shadow"].end == own["cutover"].begin
        assert own["shadow"].end - own["shadow"].begin >= max(7 * weeks, (mover.shadow_days or (0, 0))[1])
    for day in range(found.days):
        compared = [bar for bar in found.bars if bar.phase == "shadow" and bar.begin <= day < bar.end]
        assert len(compared) <= max(at_once, 1)
    report = found.bars[-1]
    assert report.phase == "report"
    assert all(bar.end <= report.begin for bar in found.bars[:-1])


@pytest.mark.parametrize(
    ("day", "months", "found"),
    [
        (date(2027, 1, 31), 1, date(2027, 2, 28)),
        (date(2028, 1, 31), 1, date(2028, 2, 29)),
        (date(2028, 2, 29), 12, date(2029, 2, 28)),
        (date(2026, 11, 30), 3, date(2027, 2, 28)),
        (date(2026, 12, 15), 1, date(2027, 1, 15)),
        (date(2026, 1, 31), 0, date(2026, 1, 31)),
    ],
)
def test_a_month_later_is_the_same_day_or_the_last(day: date, months: int, found: date) -> None:
    assert add_months(day, months) == found
