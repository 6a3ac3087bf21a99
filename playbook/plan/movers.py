"""Which workloads move and in which order, from the inventory, and how long each comparison takes. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from playbook.cycles import windows_of
from playbook.forecast import forecast, guess
from playbook.inventory.gather import DAYS_PER_MONTH
from playbook.inventory.lines import Inventory, Line
from playbook.inventory.ranking import Candidate
from playbook.plan.schedule import PHASES, Mover
from playbook.plan.stages import UNKNOWN, Stages
from services.shadow.core.scorers.registry import DEFAULT_SCORERS

MAX_MOVERS = 12
"""Workloads of a plan: the dearest. What comes after them is planned when these are home."""
MARGIN, ALPHA = 0.02, 0.05
RATES = (0.1, 1.0)
"""Shares of requests that are compared: as `homeward shadow start` does by itself, and all, where that is too
slow."""
US_PER_DAY = 86_400 * 10**6
WINDOW_US, MIN_WINDOWS = windows_of("week", None)
"""As `homeward shadow start` has them by itself."""
WINDOW_DAYS = WINDOW_US // US_PER_DAY
LEAST_DAYS = (1 + MIN_WINDOWS) * WINDOW_DAYS
"""Of a comparison: windows are whole, so that the first may begin nearly one later."""


@dataclass(frozen=True, slots=True)
class Movers:
    """What moves, and what does not yet."""

    movers: tuple[Mover, ...]
    """Those that are left, first those that have begun."""
    lines: tuple[Line, ...]
    """Of the inventory, where it has them: of `whole`."""
    remarks: tuple[str, ...]
    whole: tuple[Mover, ...] = ()
    """With those that are at home, as if none had begun: money is that of the whole migration."""
    at_home: tuple[str, ...] = ()
    """What is done."""

    @property
    def begun(self) -> bool:
        """Whether work has begun on all that is left, or nothing is."""
        return bool(self.movers or self.at_home) and all(
            PHASES.index(mover.begins) >= PHASES.index("shadow") for mover in self.movers
        )


def choose(
    found: Inventory | None, wanted: Sequence[str], slow_days: int, stages: Stages = UNKNOWN
) -> Movers:
    """The workloads in the order in which they move.

    Args:
        found: None if nobody tells.
        wanted: names in that order; empty: the candidates, the dearest first.
        slow_days: of a slow phase; a comparison that takes longer is planned with more requests.
        stages: where workloads stand.
    """
    by_name = {line.workload.name: line for line in found.lines} if found else {}
    if wanted:
        lines = [by_name[name] for name in wanted if name in by_name]
        strange = [name for name in wanted if found and name not in by_name]
        told = [
            f"The inventory does not have {name}: its spend and forecast are unknown." for name in strange
        ]
        movers = [
            _mover(by_name[name], slow_days) if name in by_name else Mover(name, least_days=LEAST_DAYS)
            for name in wanted
        ]
        return _sorted_out(movers, lines, told, stages, wanted)
    if found is None:
        return Movers((), (), ())
    at_home = [name for name in stages.by_workload if stages.begins(name) == "report"]
    ready, unsure = (
        [line for line in found.candidates(kind) if line.workload.name not in at_home]
        for kind in (Candidate.YES, Candidate.MAYBE)
    )
    told = []
    if len(ready) > MAX_MOVERS:
        told.append(f"{len(ready) - MAX_MOVERS} smaller candidates come after these.")
    if unsure:
        names = _listed([line.workload.name for line in unsure])
        told.append(f"Not planned, since something of them is unknown: {names}; see the inventory.")
    late = {line.workload.name for line in ready[MAX_MOVERS:]}
    chosen = [line for line in found.candidates(Candidate.YES) if line.workload.name not in late]
    return _sorted_out([_mover(line, slow_days) for line in chosen], chosen, told, stages, sorted(at_home))


def _sorted_out(
    movers: Sequence[Mover], lines: Sequence[Line], told: list[str], stages: Stages, names: Sequence[str]
) -> Movers:
    """Without those that no forecast reaches, for they would hold up all others; and what is left of them.

    Args:
        movers: all.
        lines: theirs.
        told: what is to be said of them.
        stages: where they stand.
        names: of workloads that may be at home.
    """
    # Who has been compared needs no forecast any more.
    past = {mover.name for mover in movers if stages.begins(mover.name) in ("cutover", "report")}
    movers = [replace(mover, note="") if mover.name in past else mover for mover in movers]
    told = told + [f"{mover.name}: {mover.note}." for mover in movers if mover.note]
    movers = [
        replace(mover, shadow_days=None) if mover.name in past and mover.shadow_days == UNREACHED else mover
        for mover in movers
    ]
    unreached = {mover.name for mover in movers if mover.shadow_days == UNREACHED}
    whole = tuple(mover for mover in movers if mover.name not in unreached)
    at_home = tuple(name for name in names if stages.begins(name) == "report")
    if at_home:
        verb = "is" if len(at_home) == 1 else "are"
        told = [f"{_listed(at_home)} {verb} at home, and in no date; the money has them as well.", *told]
    left = [replace(mover, begins=stages.begins(mover.name)) for mover in whole if mover.name not in at_home]
    return Movers(
        tuple(sorted(left, key=lambda mover: -PHASES.index(mover.begins))),
        tuple(line for line in lines if line.workload.name not in unreached),
        tuple(told),
        whole,
        at_home,
    )


def _listed(names: Sequence[str], shown: int = 3) -> str:
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + more


UNREACHED = (10**6, 10**6)
"""Days of a comparison that takes longer than forecasts reach."""


def _mover(line: Line, slow_days: int) -> Mover:
    item = line.workload
    plain = Mover(item.name, item.month_nanos, least_days=LEAST_DAYS)
    if item.month_requests is None:
        return replace(plain, note="no forecast, its requests are unknown")
    days = [_days(line, item.month_requests, rate) for rate in RATES[:1]]
    if days[0][1] > slow_days:
        days.append(_days(line, item.month_requests, RATES[1]))
    best = days[-1]
    if best == UNREACHED:
        note = (
            f"not planned, {item.month_requests:,} requests a month are too few for a margin of {MARGIN:g};"
            " a larger --margin needs fewer"
        )
    elif len(days) > 1 and best < days[0]:
        note = "compare all of its requests (--rate 1), or it takes longer"
    else:
        note = ""
    return replace(plain, shadow_days=best, note=note)


def _days(line: Line, month_requests: int, rate: float) -> tuple[int, int]:
    """Of the comparison in half of the cases, and in four of five; the first whole window is waited for."""
    votes = round(month_requests / DAYS_PER_MONTH * WINDOW_DAYS * Fraction(rate).limit_denominator(1000))
    if not votes:
        return UNREACHED
    found = forecast(
        votes,
        guess(DEFAULT_SCORERS.get(line.task_type, "")),
        margin=MARGIN,
        alpha=ALPHA,
        epoch=1,
        min_windows=MIN_WINDOWS,
        window_s=WINDOW_US / 10**6,
    )
    median, p80 = found.windows["median"], found.windows["p80"]
    if median is None or p80 is None:
        return UNREACHED
    return (1 + median) * WINDOW_DAYS, (1 + p80) * WINDOW_DAYS
