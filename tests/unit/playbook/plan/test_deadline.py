"""The renewal against the schedule: in time, tight, too late, past; and what can still be done."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from playbook.plan.deadline import Plan, Standing, Terms, make, still
from playbook.plan.schedule import Mover, Phase

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


def test_what_is_done_already_makes_time() -> None:
    assert plan(TODAY + timedelta(days=50), first="shadow").standing == "tight"
    assert plan(TODAY + timedelta(days=50)).standing == "too late"


def test_a_renewal_that_is_past_is_told_with_its_days() -> None:
    assert "for 1 day." in still(plan(TODAY - timedelta(days=1)))[0]
    assert "hold today" in still(plan(TODAY))[0]


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
