"""The plan as events of a calendar. Pure."""

from __future__ import annotations

from datetime import date, timedelta

from playbook.plan.deadline import Plan
from playbook.plan.ics import Event
from playbook.plan.schedule import ABOUT

REMIND_DAYS = (28, 7)
"""Before a day that must not be missed."""


OWN = "Homeward"
"""What the titles of an organisation's own plan begin with."""


def events(plan: Plan, of: str = OWN) -> list[Event]:
    """The phases, decided today with slow phases, and the days that must not be missed.

    Args:
        plan: of which they are.
        of: what titles begin with; events of another word never replace those of one's own plan.
    """
    found = []
    kept = "" if of == OWN else f"{of}/"
    for bar in plan.bars:
        title = f"{of}: {bar.phase}" + (f" {bar.workload}" if bar.workload else "")
        text = _noted(ABOUT[bar.phase], plan)
        found.append(Event(f"{kept}{bar.phase}/{bar.workload}", title, text, bar.begin, bar.end))
    if plan.terms.approval_days:
        found.append(
            Event(
                f"{kept}approval/",
                f"{of}: approvals",
                _noted(f"[plan] approval_weeks = {plan.terms.approval_weeks}", plan),
                plan.terms.today,
                plan.terms.work_begins,
            )
        )
    decide, latest = (plan.decide_by, plan.decide_at_the_latest) if plan.moves else (None, None)
    days = (
        ("decide", "last day to decide on the migration", decide, _decision(plan)),
        ("latest", "last day to decide, if nothing takes long", latest, _decision(plan)),
        ("notice", "last day to give notice to the cloud provider", plan.notice_by, "[plan] notice_days"),
        ("renewal", "new prices in the cloud", plan.terms.renewal, "[plan] renewal"),
    )
    found += [
        _day(f"{kept}day/{key}", f"{of}: {title}", day, _noted(text, plan))
        for key, title, day, text in days
        if day
    ]
    return found


def _noted(text: str, plan: Plan) -> str:
    """With where the terms come from: an example's days must not pass for a contract's."""
    return f"{text}\n[plan] note: {plan.terms.note}." if plan.terms.note else text


def _day(key: str, title: str, day: date, text: str) -> Event:
    return Event(key, title, text, day, day + timedelta(days=1), REMIND_DAYS)


def _decision(plan: Plan) -> str:
    weeks = plan.terms.approval_weeks
    before = "Approvals are not in it: [plan] approval_weeks is not set." if weeks is None else ""
    return f"Counted backwards from the renewal on {plan.terms.renewal}. {before}".strip()
