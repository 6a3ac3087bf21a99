"""The renewal against the schedule: how much time is left, and what can still be done. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Literal

from playbook.plan.schedule import (
    DAYS_PER_WEEK,
    Dated,
    Mover,
    Outline,
    Phase,
    add_months,
    backward,
    forward,
    outline,
)

DELAYS = (1, 2, 3, 6, 12)
"""Months of delay whose cost is told."""
Standing = Literal["unknown", "in time", "tight", "too late", "passed"]
"""Against the renewal: no date; time for slow phases; for fast ones only; not even for these; it has been."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What the settings say."""

    today: date
    renewal: date | None
    notice_days: int
    approval_weeks: int | None
    """None is unknown: dates are then those without any, and say so."""
    phase_weeks: tuple[int, int]
    """Fast and slow."""
    at_once: int
    first: Phase = "inventory"
    note: str = ""
    """Where these terms come from."""

    @property
    def approval_days(self) -> int:
        """As far as they are known."""
        return (self.approval_weeks or 0) * DAYS_PER_WEEK

    @property
    def work_begins(self) -> date:
        """If the decision is made today."""
        return self.today + timedelta(days=self.approval_days)


@dataclass(frozen=True, slots=True)
class Delay:
    """Deciding later than today."""

    months: int
    decide: date
    home: date
    """The day on which all is done, with slow phases."""


@dataclass(frozen=True, slots=True)
class Plan:
    """When everything is, and how it stands."""

    terms: Terms
    movers: tuple[Mover, ...]
    fast: Outline
    slow: Outline

    @property
    def bars(self) -> tuple[Dated, ...]:
        """In dates, decided today, with slow phases: what to count on."""
        return forward(self.slow, self.terms.work_begins)

    @property
    def home(self) -> date:
        """The day on which all is done, decided today, with slow phases."""
        return self.terms.work_begins + timedelta(days=self.slow.days)

    @property
    def home_fast(self) -> date:
        """The same with fast ones."""
        return self.terms.work_begins + timedelta(days=self.fast.days)

    @property
    def decide_by(self) -> date | None:
        """The last day of a decision that leaves time for slow phases; None without a renewal."""
        return self._last_day(self.slow)

    @property
    def decide_at_the_latest(self) -> date | None:
        """The last day of a decision that leaves time for fast ones: not a day can be lost."""
        return self._last_day(self.fast)

    @property
    def notice_by(self) -> date | None:
        """The last day of notice; None if none is needed, or there is no renewal."""
        terms = self.terms
        if terms.renewal is None or not terms.notice_days:
            return None
        return terms.renewal - timedelta(days=terms.notice_days)

    @property
    def compared_by(self) -> date | None:
        """When all comparisons have ended, decided today, with slow phases; None if none is left."""
        return max((bar.end for bar in self.bars if bar.phase == "shadow"), default=None)

    @property
    def standing(self) -> Standing:
        """How it stands today."""
        slow, fast, renewal = self.decide_by, self.decide_at_the_latest, self.terms.renewal
        if slow is None or fast is None or renewal is None:
            return "unknown"
        if self.terms.today >= renewal:
            return "passed"
        if self.terms.today > fast:
            return "too late"
        return "tight" if self.terms.today > slow else "in time"

    @property
    def days_left(self) -> int | None:
        """Days until the last day for slow phases; negative is late. After that one, of fast phases."""
        slow, fast = self.decide_by, self.decide_at_the_latest
        if slow is None or fast is None:
            return None
        return ((slow if self.terms.today <= slow else fast) - self.terms.today).days

    @property
    def moves(self) -> bool:
        """Whether workloads are still to be cut over."""
        return any(bar.phase == "cutover" for bar in self.fast.bars)

    @property
    def stretched(self) -> int | None:
        """Days of the longest comparison that does not fit a fast phase; None if all do."""
        days = max((bar.end - bar.begin for bar in self.fast.bars if bar.phase == "shadow"), default=0)
        return days if days > self.terms.phase_weeks[0] * DAYS_PER_WEEK else None

    @property
    def in_time(self) -> tuple[Mover, ...]:
        """The workloads that are home before the new prices, decided today, with fast phases."""
        renewal = self.terms.renewal
        if renewal is None or not self.moves:
            return ()
        begins = self.terms.work_begins
        return tuple(
            mover
            for mover in self.movers
            if begins + timedelta(days=self.fast.home_at(mover.name)) <= renewal
        )

    def delays(self) -> list[Delay]:
        """What later decisions mean; nothing where only the report is left."""
        if not self.moves:
            return []
        days = timedelta(days=self.terms.approval_days + self.slow.days)
        found = []
        for months in DELAYS:
            decide = add_months(self.terms.today, months)
            found.append(Delay(months, decide, decide + days))
        return found

    def _last_day(self, found: Outline) -> date | None:
        renewal = self.terms.renewal
        return None if renewal is None else backward(found, renewal, self.terms.approval_days)


def make(movers: Sequence[Mover], terms: Terms) -> Plan:
    """The plan of some workloads, in the order in which they move."""
    fast, slow = (
        outline(movers, weeks, terms.at_once, terms.first, slow=bool(place))
        for place, weeks in enumerate(terms.phase_weeks)
    )
    return Plan(terms, tuple(movers), fast, slow)


def still(plan: Plan) -> list[str]:
    """What can still be done, in sentences; empty while there is time for all."""
    terms, renewal = plan.terms, plan.terms.renewal
    if renewal is None or plan.standing not in ("too late", "passed"):
        return []
    if plan.standing == "passed":
        days = (terms.today - renewal).days
        since = "begin today" if not days else f"have held for {_days(days)}"
        begin = " Begin now: the sooner all is at home, the less is paid at them." if plan.moves else ""
        return [
            f"The new prices {since}.{begin}",
            f"Decided today, all is done from {plan.home_fast} (fast) to {plan.home} (slow).",
            "Set [plan] renewal to the next renewal: notice and leverage come back with it.",
        ]
    if not plan.moves:
        return [f"Tell the provider now: the contract runs as it did until then, and from {renewal} dearer."]
    late = (plan.home_fast - renewal).days
    told = [f"Ask the provider for {_days(late)} at today's prices: that is all that is missing."]
    names = [mover.name for mover in plan.in_time if mover.name]
    if names:
        more = f" and {len(names) - 5} more" if len(names) > 5 else ""
        told.append(f"In time with fast phases: {', '.join(names[:5])}{more}. Renew for the others.")
    elif plan.movers and plan.moves:
        told.append("No workload can be home in time: renew for a short term, or without a minimum.")
    if terms.first == "inventory":
        told.append("What is done already need not be waited for: --from plan, or --from shadow.")
    if plan.moves and len(plan.movers) > terms.at_once:
        told.append(f"More than {terms.at_once} workloads at once ([plan] at_once) make it shorter.")
    return told


def notice(plan: Plan) -> str:
    """What to know of the notice to the provider; empty if there is nothing.

    A notice that is due before the comparisons end is given without their verdicts: who decides should know.
    """
    due, terms, compared = plan.notice_by, plan.terms, plan.compared_by
    if due is None or plan.standing == "passed":
        return ""
    if due < terms.today:
        late = _days((terms.today - due).days)
        return (
            f"Notice was due by {due}, {late} ago: the contract may renew as it is. Ask the provider for a"
            " later notice, or for a short term."
        )
    if compared is None or plan.decide_by is None:
        return ""
    decide = terms.today + (due - compared)
    if decide < terms.today:
        return (
            f"Notice is due by {due}, before the comparisons end on {compared}: it would be given without"
            f" their verdicts. {_days((terms.today - decide).days)} are missing: ask for a shorter notice."
        )
    if decide < plan.decide_by:
        return f"Notice is due by {due}: only a decision by {decide} has the verdicts before it."
    return ""


def _days(count: int) -> str:
    return f"{count:,} day{'' if count == 1 else 's'}"
