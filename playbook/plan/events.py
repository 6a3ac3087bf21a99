"""The plan as events of a calendar. Pure."""

from __future__ import annotations

from datetime import date, timedelta

from playbook.plan.deadline import Plan
from playbook.plan.ics import Event
from playbook.plan.schedule import ABOUT

REMIND_DAYS = (28, 7)
"""Before a day that must not be missed."""


def events(plan: Plan) -> list[Event]:
    """The phases, decided today with slow phases, and the days that must not be missed."""
    found = []
    for bar in plan.bars:
        title = f"Homeward: {bar.phase}" + (f" {bar.workload}" if bar.workload else "")
        found.append(Event(f"{bar.phase}/{bar.workload}", title, ABOUT[bar.phase], bar.begin, bar.end))
    if plan.terms.approval_days:
        found.append(
            Event(
                "approval/",
                "Homeward: approvals",
                f"[plan] approval_weeks = {plan.terms.approval_weeks}",
                plan.terms.today,
                plan.terms.work_begins,
            )
        )
    days = (
        ("decide", "last day to decide on the migration", plan.decide_by, _decision(plan)),
        ("latest", "last day to decide, if nothing takes long", plan.decide_at_the_latest, _decision(plan)),
        ("notice", "last day to give notice to the cloud provider", plan.notice_by, "[plan] notice_days"),
        ("renewal", "new prices in the cloud", plan.terms.renewal, "[plan] renewal"),
    )
    found += [_day(key, f"Homeward: {title}", day, text) for key, title, day, text in days if day]
    return found


def _day(key: str, title: str, day: date, text: str) -> Event:
    return Event(f"day/{key}", title, text, day, day + timedelta(days=1), REMIND_DAYS)


def _decision(plan: Plan) -> str:
    weeks = plan.terms.approval_weeks
    before = "Approvals are not in it: [plan] approval_weeks is not set." if weeks is None else ""
    return f"Counted backwards from the renewal on {plan.terms.renewal}. {before}".strip()
