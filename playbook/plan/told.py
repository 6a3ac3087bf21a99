"""The plan in sentences: how it stands, and what one must know to believe its dates. Pure."""

from __future__ import annotations

from playbook.plan.deadline import Plan, notice
from playbook.plan.gather import Gathered
from playbook.plan.movers import MIN_WINDOWS
from playbook.plan.schedule import DAYS_PER_WEEK, PHASES


def headline(item: Plan) -> str:
    """How it stands, in two sentences."""
    terms, slow, fast = item.terms, item.decide_by, item.decide_at_the_latest
    due = item.notice_by if item.notice_by and item.notice_by >= terms.today else None
    last = f" Notice to the provider by {due}." if due else ""
    if not item.moves:
        begin = "begin" if item.standing != "passed" else "began"
        prices = f" New prices {begin} on {terms.renewal}." if terms.renewal else ""
        return (
            f"Nothing is left to move. Document and provider take until {item.home_fast} (fast) to"
            f" {item.home} (slow).{prices}{last}"
        )
    home = f"Decided on {terms.today}, all is done from {item.home_fast} (fast) to {item.home} (slow)."
    if terms.renewal is None or slow is None or fast is None:
        return f"[plan] renewal is not set, so nothing says when to decide. {home}"
    days = abs((fast - terms.today).days)
    plural = "day" if days == 1 else "days"
    if item.standing == "passed":
        past = (terms.today - terms.renewal).days
        since = "They begin today" if not past else f"They have held for {past} day{'' if past == 1 else 's'}"
        return f"New prices began on {terms.renewal}. {since}: too late by {days} {plural}. {home}"
    if item.standing == "too late":
        return f"Too late by {days} {plural} for new prices on {terms.renewal}. {home}{last}"
    if item.standing == "tight":
        return (
            f"New prices begin on {terms.renewal}: decide within {days} {plural}, by {fast}, and lose none"
            f" after that. With slow phases the last day was {slow}. {home}{last}"
        )
    left = (slow - terms.today).days
    return (
        f"New prices begin on {terms.renewal}: decide by {slow}, in {left} {'day' if left == 1 else 'days'}."
        f" If nothing takes long, {fast} will do. {home}{last}"
    )


def remarks(found: Gathered) -> list[str]:
    """What one must know to believe the dates."""
    terms, told = found.plan.terms, []
    if terms.note:
        told.append(f"The dates follow from [plan], which says of itself: {terms.note}.")
    if text := notice(found.plan):
        told.append(text)
    if found.book.problem:
        told.append(f"{found.book.problem}: spend and forecasts are unknown.")
    elif not found.plan.movers and found.plan.moves:
        told.append(
            "No workload is planned: the phases are those of any migration. `homeward plan --example` shows a"
            " plan with workloads, of a made-up organisation."
        )
    if terms.approval_weeks is None:
        told.append(
            "Approvals take time that is in no date: [plan] approval_weeks is not set. Each week of them is a"
            " week sooner to decide, and a week later at home."
        )
    if found.stages.problem:
        told.append(f"{found.stages.problem}: all are planned from the beginning.")
    if found.movers.begun and found.plan.moves:
        told.append("Work has begun on all that is planned: approvals are taken as given.")
    if (days := found.plan.stretched) is not None:
        told.append(
            f"A comparison takes {days} days in a fast plan too: it waits for its first whole week, from"
            f" Thursday to Thursday (UTC), and needs {MIN_WINDOWS} of them at least."
        )
    if terms.first != "inventory":
        told.append(f"What comes before {terms.first} is taken as done.")
    elif found.plan.slow.days > terms.phase_weeks[1] * len(PHASES) * DAYS_PER_WEEK:
        weeks = found.plan.slow.days // DAYS_PER_WEEK
        told.append(f"It takes {weeks} weeks: workloads wait for each other, or comparisons for requests.")
    return [*told, *found.movers.remarks]
