"""The renewal against the schedule: in time, tight, too late, past; and what can still be done."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from playbook.plan.deadline import Plan, Standing, Terms, make, notice, still
from playbook.plan.schedule import PHASES, Mover, Phase

TODAY = date(2026, 11, 30)
ABC = (Mover("a"), Mover("b"), Mover("c"))


def plan(
    renewal: date | None,
    movers: tuple[Mover, ...] = ABC,
    *,
    approval: int | None = 0,
    first: Phase = "inventory",
    at_once: int = 3,
    today: date = TODAY,
) -> Plan:
    return make(movers, Terms(today, renewal, 30, approval, (2, 3), at_once, first))


@pytest.mark.parametrize(
    ("renewal", "approval", "standing", "left"),
    [
        (None, 0, "unknown", None),
        (TODAY + timedelta(days=105), 0, "in time", 0),
        (TODAY + timedelta(days=104), 0, "tight", 34),
        (TODAY + timedelta(days=70), 0, "tight", 0),
        (TODAY + timedelta(days=69), 0, "too late", -1),
        (TODAY + timedelta(days=105), 4, "tight", 7),
        (TODAY + timedelta(days=105), 6, "too late", -7),
        (TODAY + timedelta(days=1), 0, "too late", -69),
        (TODAY, 0, "passed", -70),
        (TODAY - timedelta(days=59), 0, "passed", -129),
    ],
)
def test_how_it_stands(renewal: date | None, approval: int, standing: Standing, left: int | None) -> None:
    found = plan(renewal, approval=approval)
    assert (found.standing, found.days_left) == (standing, left)


def test_the_last_days_are_counted_backwards_with_approvals_and_notice() -> None:
    found = plan(date(2028, 3, 1), approval=4)
    assert found.decide_by == date(2028, 3, 1) - timedelta(weeks=19)
    assert found.decide_at_the_latest == date(2028, 3, 1) - timedelta(weeks=14)
    assert found.notice_by == date(2028, 1, 31)
    assert plan(None).notice_by is None


def test_unknown_approvals_are_not_taken_for_none_in_silence() -> None:
    """Dates are without them; the plan still knows that it does not know."""
    found = plan(date(2027, 6, 30), approval=None)
    assert found.decide_by == plan(date(2027, 6, 30), approval=0).decide_by
    assert found.terms.approval_weeks is None


def test_too_late_for_all_may_be_in_time_for_some() -> None:
    found = plan(TODAY + timedelta(days=70), at_once=1)
    assert found.standing == "too late"
    assert [mover.name for mover in found.in_time] == ["a", "b"]
    told = still(found)
    assert told[0].startswith("Ask the provider for 28 days")
    assert "In time with fast phases: a, b." in told[1]
    assert any("at once" in text for text in told)


def test_too_late_for_any() -> None:
    told = still(plan(TODAY + timedelta(days=5)))
    assert "No workload can be home in time" in told[1]
    assert "--from" in told[2]
    assert not any("at once" in text for text in told)


@pytest.mark.parametrize("past", [-5, 10])
def test_where_only_the_report_is_left_nothing_is_told_of_moves(past: int) -> None:
    found = still(plan(TODAY - timedelta(days=past), first="report", at_once=1))
    said = " ".join(found)
    assert found
    assert not [word for word in ("No workload", "at once", "Begin now") if word in said]


def test_what_is_done_already_makes_time() -> None:
    assert plan(TODAY + timedelta(days=50), first="shadow").standing == "tight"
    assert plan(TODAY + timedelta(days=50)).standing == "too late"


def test_a_renewal_that_is_past_is_told_with_its_days() -> None:
    assert "have held for 1 day." in still(plan(TODAY - timedelta(days=1)))[0]
    assert "begin today" in still(plan(TODAY))[0]


def test_there_is_nothing_to_be_done_while_there_is_time() -> None:
    assert still(plan(TODAY + timedelta(days=105))) == []
    assert still(plan(None)) == []


def test_without_workloads_the_phases_are_planned() -> None:
    found = plan(TODAY + timedelta(days=60), ())
    assert (found.home - TODAY).days == 105
    assert found.in_time == ()
    assert "No workload" not in " ".join(still(found))


def test_delays_are_months_of_the_calendar() -> None:
    found = plan(date(2027, 6, 30), approval=1, today=date(2027, 12, 31))
    delays = {delay.months: delay for delay in found.delays()}
    assert delays[2].decide == date(2028, 2, 29)
    assert all(delay.home == delay.decide + timedelta(weeks=16) for delay in delays.values())


@given(st.integers(-500, 500), st.integers(0, 20), st.integers(1, 6), st.integers(0, 5), st.integers(1, 4))
def test_the_standing_is_true(days: int, approval: int, low: int, more: int, at_once: int) -> None:
    """In time means that slow phases end by the renewal; tight that fast ones do; too late that none do."""
    renewal = TODAY + timedelta(days=days)
    found = make(ABC, Terms(TODAY, renewal, 0, approval, (low, low + more), at_once))
    holds = {
        "in time": found.home <= renewal,
        "tight": found.home_fast <= renewal < found.home,
        "too late": TODAY < renewal < found.home_fast,
        "passed": renewal <= TODAY,
    }
    assert [name for name, true in holds.items() if true] == [found.standing]
    assert found.days_left is not None
    assert (found.days_left >= 0) == (found.standing in ("in time", "tight"))


TERMS = {
    "days": st.integers(-100, 700),
    "approval": st.integers(0, 20),
    "low": st.integers(1, 5),
    "more": st.integers(0, 4),
    "at_once": st.integers(1, 4),
    "first": st.sampled_from(PHASES),
    "forecasts": st.lists(st.integers(0, 200), max_size=4),
}


@settings(max_examples=30)
@given(**TERMS)
def test_the_last_day_is_the_latest_that_a_search_over_all_days_finds(
    days: int, approval: int, low: int, more: int, at_once: int, first: Phase, forecasts: list[int]
) -> None:
    """Decided on it, slow phases end by the renewal; decided a day later, they do not."""
    renewal = TODAY + timedelta(days=days)
    movers = tuple(Mover(f"w{place}", None, (some, some)) for place, some in enumerate(forecasts))

    def decided(day: date) -> Plan:
        return make(movers, Terms(day, renewal, 0, approval, (low, low + more), at_once, first))

    searched = [renewal - timedelta(days=past) for past in range((decided(TODAY).home - TODAY).days + 2)]
    slow = next(day for day in searched if decided(day).home <= renewal)
    fast = next(day for day in searched if decided(day).home_fast <= renewal)
    found = decided(TODAY)
    assert (found.decide_by, found.decide_at_the_latest) == (slow, fast)
    assert slow <= fast


@pytest.mark.parametrize(
    ("renewal", "notice_days", "told"),
    [
        (None, 30, ""),
        (TODAY + timedelta(days=300), 0, ""),
        (TODAY + timedelta(days=300), 90, "only a decision by 2027-04-26 has the verdicts before it"),
        (TODAY + timedelta(days=300), 42, ""),
        # Comparisons end after 63 days, all is done after 105.
        (TODAY + timedelta(days=120), 90, "without their verdicts. 33 days are missing"),
        (TODAY + timedelta(days=160), 90, "only a decision by 2026-12-07 has the verdicts before it"),
        (TODAY + timedelta(days=160), 41, ""),
        (TODAY + timedelta(days=80), 90, "Notice was due by 2026-11-20, 10 days ago"),
        (TODAY - timedelta(days=1), 90, ""),
    ],
)
def test_a_notice_that_is_due_before_the_verdicts_is_told(
    renewal: date | None, notice_days: int, told: str
) -> None:
    found = notice(make(ABC, Terms(TODAY, renewal, notice_days, 0, (2, 3), 3)))
    assert told in found
    assert bool(told) == bool(found)


@given(st.integers(1, 500), st.integers(1, 200), st.integers(0, 10))
def test_deciding_when_the_notice_asks_for_it_has_the_verdicts_first(
    days: int, notice_days: int, approval: int
) -> None:
    def decided(day: date) -> Plan:
        return make(ABC, Terms(day, TODAY + timedelta(days=days), notice_days, approval, (2, 3), 3))

    said = notice(decided(TODAY))
    if "a decision by" in said:
        by = date.fromisoformat(said.partition("a decision by ")[2][:10])
        assert decided(by).compared_by == decided(by).notice_by
