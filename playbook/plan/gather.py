"""Makes the plan, and the case of the finance model that goes with it, from the settings and the book."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from fractions import Fraction

from playbook.finance.gather import Book, Config, Timing, case_of, read_until
from playbook.finance.inputs import Case
from playbook.inventory.gather import DAYS_PER_MONTH
from playbook.plan.deadline import Plan, Terms, make
from playbook.plan.movers import Movers, choose
from playbook.plan.schedule import DAYS_PER_WEEK, PHASES, Phase, later
from playbook.plan.stages import UNKNOWN, Stages


@dataclass(frozen=True, slots=True)
class Gathered:
    """All that `homeward plan`, `homeward finance` and the document show."""

    book: Book
    movers: Movers
    plan: Plan
    case: Case
    """Of the whole migration, with what is at home already."""
    stages: Stages = UNKNOWN


def gather(
    config: Config,
    today: date,
    *,
    renewal: date | None = None,
    first: Phase = "inventory",
    book: Book | None = None,
    stages: Stages = UNKNOWN,
) -> Gathered:
    """Reads and computes it all.

    Args:
        config: the settings.
        today: the day of the decision.
        renewal: comes before that of the settings.
        first: the phase that comes first; those before are done.
        book: if it has been read already; else it is read up to the last whole day before the decision.
        stages: where workloads stand.
    """
    # A decision may be planned for a day to come, of which nothing is booked.
    found = read_until(config, min(today, datetime.now(UTC).date()))[0] if book is None else book
    settings = config.plan
    slow_days = settings.phase_weeks_high * DAYS_PER_WEEK
    movers = choose(found.inventory, settings.workloads, slow_days, stages)
    terms = Terms(
        today=today,
        renewal=renewal or settings.renewal,
        notice_days=settings.notice_days,
        approval_weeks=settings.approval_weeks,
        phase_weeks=(settings.phase_weeks_low, settings.phase_weeks_high),
        at_once=settings.at_once,
        first=first,
        note=settings.note,
    )
    left = replace(terms, first=_first(movers, first))
    if movers.begun:
        # Approvals come before work begins, and it has begun.
        left = replace(left, approval_weeks=0)
    plan = make(movers.movers, left)
    case = case_of(found, config, movers.lines, timing(make(movers.whole, terms)))
    return Gathered(found, movers, plan, case, stages)


def _first(movers: Movers, asked: Phase) -> Phase:
    """The phase that comes first of all."""
    if not movers.movers:
        return "report" if movers.at_home else asked
    return later(asked, min((mover.begins for mover in movers.movers), key=PHASES.index))


def timing(plan: Plan) -> Timing:
    """What the plan says of time, counted from the first day of work."""
    terms = plan.terms
    left = None
    if terms.renewal is not None:
        left = (terms.renewal - terms.work_begins).days / DAYS_PER_MONTH
    fast, slow = (Fraction(found.days, DAYS_PER_WEEK) for found in (plan.fast, plan.slow))
    return Timing((min(fast, slow), max(fast, slow)), left)
