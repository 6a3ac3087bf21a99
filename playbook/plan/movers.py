"""Which workloads move and in which order, from the inventory, and how long each comparison takes. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from playbook.cycles import windows_of
from playbook.forecast import forecast, guess
from playbook.inventory.gather import DAYS_PER_MONTH
from playbook.inventory.lines import Inventory, Line
from playbook.inventory.ranking import Candidate
from playbook.plan.schedule import Mover
from services.shadow.core.scorers.registry import DEFAULT_SCORERS

MAX_MOVERS = 12
"""Workloads of a plan: the dearest. What comes after them is planned when these are home."""
MARGIN, ALPHA = 0.02, 0.05
RATES = (0.1, 1.0)
"""Shares of requests that are compared: as `homeward shadow start` does by itself, and all, where that is too
slow."""
US_PER_DAY = 86_400 * 10**6


@dataclass(frozen=True, slots=True)
class Movers:
    """What moves, and what does not yet."""

    movers: tuple[Mover, ...]
    lines: tuple[Line, ...]
    """Their lines of the inventory, where it has them."""
    remarks: tuple[str, ...]


def choose(found: Inventory | None, wanted: Sequence[str], slow_days: int) -> Movers:
    """The workloads in the order in which they move.

    Args:
        found: None if nobody tells.
        wanted: names in that order; empty: the candidates, the dearest first.
        slow_days: of a slow phase; a comparison that takes longer is planned with more requests.
    """
    by_name = {line.workload.name: line for line in found.lines} if found else {}
    if wanted:
        lines = [by_name[name] for name in wanted if name in by_name]
        strange = [name for name in wanted if found and name not in by_name]
        told = [
            f"The inventory does not have {name}: its spend and forecast are unknown." for name in strange
        ]
        movers = [_mover(by_name[name], slow_days) if name in by_name else Mover(name) for name in wanted]
        return _sorted_out(movers, lines, told)
    if found is None:
        return Movers((), (), ())
    ready, unsure = found.candidates(Candidate.YES), found.candidates(Candidate.MAYBE)
    told = []
    if len(ready) > MAX_MOVERS:
        told.append(f"{len(ready) - MAX_MOVERS} smaller candidates come after these.")
    if unsure:
        names = ", ".join(line.workload.name for line in unsure[:3])
        more = f" and {len(unsure) - 3} more" if len(unsure) > 3 else ""
        told.append(f"Not planned, since something of them is unknown: {names}{more}; see the inventory.")
    chosen = ready[:MAX_MOVERS]
    return _sorted_out([_mover(line, slow_days) for line in chosen], chosen, told)


def _sorted_out(movers: Sequence[Mover], lines: Sequence[Line], told: list[str]) -> Movers:
    """Without those that no forecast reaches: they would hold up all others."""
    told = told + [f"{mover.name}: {mover.note}." for mover in movers if mover.note]
    unreached = {mover.name for mover in movers if mover.shadow_days == UNREACHED}
    return Movers(
        tuple(mover for mover in movers if mover.name not in unreached),
        tuple(line for line in lines if line.workload.name not in unreached),
        tuple(told),
    )


UNREACHED = (10**6, 10**6)
"""Days of a comparison that takes longer than forecasts reach."""


def _mover(line: Line, slow_days: int) -> Mover:
    item = line.workload
    if item.month_requests is None:
        return Mover(item.name, item.month_nanos, None, "no forecast, its requests are unknown")
    days = [_days(line, item.month_requests, rate) for rate in RATES[:1]]
    if days[0][1] > slow_days:
        days.append(_days(line, item.month_requests, RATES[1]))
    best = days[-1]
    if best == UNREACHED:
        note = (
            f"not planned, {item.month_requests:,} requests a month are too few for a margin of {MARGIN:g};"
            " a larger --margin needs fewer"
        )
        return Mover(item.name, item.month_nanos, UNREACHED, note)
    note = (
        "compare all of its requests (--rate 1), or it takes longer"
        if len(days) > 1 and best < days[0]
        else ""
    )
    return Mover(item.name, item.month_nanos, best if best != UNREACHED else None, note)


def _days(line: Line, month_requests: int, rate: float) -> tuple[int, int]:
    """Of the comparison in half of the cases, and in four of five."""
    window_us, least = windows_of("week", None)
    window_days = window_us // US_PER_DAY
    votes = round(month_requests / DAYS_PER_MONTH * window_days * Fraction(rate).limit_denominator(1000))
    if not votes:
        return UNREACHED
    found = forecast(
        votes,
        guess(DEFAULT_SCORERS.get(line.task_type, "")),
        margin=MARGIN,
        alpha=ALPHA,
        epoch=1,
        min_windows=least,
        window_s=window_us / 10**6,
    )
    median, p80 = found.windows["median"], found.windows["p80"]
    return UNREACHED if median is None or p80 is None else (median * window_days, p80 * window_days)
