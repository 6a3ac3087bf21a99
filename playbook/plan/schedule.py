"""Which workload is when in which phase, in days from the first; and forwards or backwards, in dates. Pure.

Workloads go in waves, for models and people can compare only so many at once. A wave's comparison begins when
that of the wave before has ended; its cutover when its own has, beside the next wave's comparison. What has
begun already goes on from the first day.
"""

from __future__ import annotations

import calendar
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Literal

Phase = Literal["inventory", "plan", "shadow", "cutover", "report"]
PHASES: tuple[Phase, ...] = ("inventory", "plan", "shadow", "cutover", "report")
ABOUT: Mapping[Phase, str] = {
    "inventory": "what is used, and what it costs",
    "plan": "register workloads, serve models at home, agree on margins",
    "shadow": "answer a sample twice, until the evidence is enough",
    "cutover": "1, 5, 25, 50 % and all, with a way back",
    "report": "the document, and what to tell the provider",
}
DAYS_PER_WEEK = 7


@dataclass(frozen=True, slots=True)
class Mover:
    """A workload that is to move."""

    name: str
    month_nanos: int | None = None
    """What it costs a month in the cloud; None is unknown."""
    shadow_days: tuple[int, int] | None = None
    """How long its comparison is forecast to take: in half of the cases, in four of five. None: no forecast,
    so it is taken to fit its phase, or to take `least_days`."""
    least_days: int = 0
    """What its comparison takes at least, forecast or not."""
    begins: Phase = "inventory"
    """The phase that it is in; those before are done, and this one goes on from the first day."""
    note: str = ""
    """What is not sure about it."""


@dataclass(frozen=True, slots=True)
class Bar:
    """Something that takes time; days are counted from the first of the work, and the last is not in it."""

    phase: Phase
    workload: str
    """Empty for what is done for all of them."""
    begin: int
    end: int


@dataclass(frozen=True, slots=True)
class Outline:
    """All bars, without dates."""

    bars: tuple[Bar, ...]

    @property
    def days(self) -> int:
        """From the first to the last."""
        return max((bar.end for bar in self.bars), default=0)

    def home_at(self, workload: str) -> int:
        """The day on which a workload is at home."""
        return next(bar.end for bar in self.bars if (bar.phase, bar.workload) == ("cutover", workload))


@dataclass(frozen=True, slots=True)
class Dated:
    """A bar in dates."""

    phase: Phase
    workload: str
    begin: date
    end: date
    """The first day after it."""

    @property
    def last(self) -> date:
        """Its last day."""
        return self.end - timedelta(days=1)


def outline(
    movers: Sequence[Mover], phase_weeks: int, at_once: int, first: Phase = "inventory", *, slow: bool = True
) -> Outline:
    """The bars of a migration.

    Args:
        movers: in the order in which they move; without any, the phases alone.
        phase_weeks: length of each phase. A comparison whose forecast is longer takes that long.
        at_once: workloads of a wave.
        first: the phase that comes first of all; those before are done.
        slow: whether comparisons take what they do in four of five cases, or in half of them.
    """
    length = phase_weeks * DAYS_PER_WEEK
    every = movers or [Mover("")]
    bars, day = [], 0
    for phase in PHASES[:2]:
        if any(phase in _left(mover, first) for mover in every):
            bars.append(Bar(phase, "", day, day + length))
            day += length
    compared = moved = day
    for wave in _waves(every, at_once):
        begin = compared
        for mover in wave:
            left, end = _left(mover, first), begin
            if "shadow" in left:
                start = 0 if mover.begins == "shadow" else begin
                forecast = mover.shadow_days[slow] if mover.shadow_days else 0
                end = start + max(length, mover.least_days, forecast)
                bars.append(Bar("shadow", mover.name, start, end))
                compared = max(compared, end)
            if "cutover" in left:
                # Without a comparison to wait for, waves move one after the other.
                start = end if "shadow" in left else 0 if mover.begins == "cutover" else moved
                bars.append(Bar("cutover", mover.name, start, start + length))
                end = start + length
            day = max(day, end)
        moved = day
    bars.append(Bar("report", "", day, day + length))
    return Outline(tuple(bars))


def later(one: Phase, other: Phase) -> Phase:
    """The one that comes later."""
    return max(one, other, key=PHASES.index)


def _left(mover: Mover, first: Phase) -> tuple[Phase, ...]:
    """The phases that a workload still has before it."""
    return PHASES[PHASES.index(later(first, mover.begins)) :]


def _waves(movers: Sequence[Mover], at_once: int) -> list[Sequence[Mover]]:
    """Those that are compared together; who is past that takes nobody's place."""
    past = [mover for mover in movers if mover.begins == "cutover"]
    rest = [mover for mover in movers if mover.begins != "cutover"]
    waves: list[Sequence[Mover]] = [past] if past else []
    return waves + [rest[place : place + at_once] for place in range(0, len(rest), at_once)]


def forward(found: Outline, start: date) -> tuple[Dated, ...]:
    """The bars in dates, if work begins on a day."""
    return tuple(
        Dated(bar.phase, bar.workload, start + timedelta(days=bar.begin), start + timedelta(days=bar.end))
        for bar in found.bars
    )


def backward(found: Outline, done_by: date, approval_days: int = 0) -> date:
    """The last day of a decision that leaves time for approvals and all bars before a day."""
    return done_by - timedelta(days=found.days + approval_days)


def add_months(day: date, months: int) -> date:
    """The same day of another month, or its last: 31 January and a month is 28 or 29 February."""
    years, month = divmod(day.year * 12 + day.month - 1 + months, 12)
    return date(years, month + 1, min(day.day, calendar.monthrange(years, month + 1)[1]))
