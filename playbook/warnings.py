"""When `homeward status` says that something may be wrong. Pure rules over figures.

A warning that comes without cause teaches people to pass over it, so each rule asks for enough figures first.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Literal

from services.common.settings import MIN_EXAMPLES

MIN_OBSERVATIONS = 50
"""Observations with a likeness below which nothing is said of it."""
UNLIKE = 0.05
"""A likeness under this is one that 5 % of unchanged traffic would have, if examples were many."""
UNLIKE_SHARE = 0.15
"""Share of unlike requests up to which a change is too small to matter."""
SIGNIFICANCE = 0.001
"""Chance at which unchanged traffic may be taken for changed."""
PSI_SHIFT = 0.25
"""Population stability index above which traffic has shifted (Siddiqi, "Credit Risk Scorecards", 2006)."""
MIN_REQUESTS = 20
"""Requests of the window below which a share of them tells nothing."""
UNNAMED_SHARE = 0.2
"""Share of unnamed requests above which it is worth looking for workloads."""

Kind = Literal["unlike_examples", "population_shift", "unnamed", "no_requests"]


@dataclass(frozen=True, slots=True)
class Traffic:
    """A workload's figures for the window. None is unknown, which is not zero."""

    workload: str
    """Empty for the requests that were not named."""
    requests: int
    observations: int = 0
    """Observed requests that have a likeness."""
    below: int = 0
    """Of them, those under UNLIKE."""
    example_count: int | None = None
    psi: float | None = None
    psi_day: date | None = None
    """The latest full day with enough requests; `psi` is of that day."""


@dataclass(frozen=True, slots=True)
class Warning:
    """Something to look at, and what to do about it."""

    kind: Kind
    level: Literal["warning", "info"]
    workload: str
    """Empty if it is about all traffic."""
    message: str
    next_step: str


def warnings(rows: Sequence[Traffic], registered: Collection[str]) -> list[Warning]:
    """What the figures of a window warn of, the gravest first.

    Args:
        rows: one for each workload that has requests or observations.
        registered: the names of the registered workloads.
    """
    found = [
        *(_unlike(row) for row in rows),
        *(_shifted(row) for row in rows),
        _unnamed(rows),
        *(_idle(name, rows) for name in sorted(registered)),
    ]
    return [warning for warning in found if warning is not None]


def chance_of_unlike(below: int, observations: int, example_count: int) -> float:
    """The chance that unchanged traffic has so many unlike requests.

    A binomial test against 5 % would be wrong: likeness counts examples, and all requests are held against
    the same few. Of n examples, the lowest m = ⌈n / 20⌉ mark what is unlike, and where they happen to lie
    says how much of the same traffic falls below: a Beta(m, n + 1 − m) share, which for n = 5 is more than
    15 % in 44 of 100 cases. If examples and requests are alike, each order of all their scores is as likely.
    So many requests are below the m-th example exactly if the first `below + m − 1` of that order have fewer
    than m examples, and their number is hypergeometric (Gumbel and von Schelling, "The distribution of the
    number of exceedances", 1950).

    Args:
        below: observations whose likeness is under UNLIKE.
        observations: of them all.
        example_count: n, at least 1.
    """
    if below == 0:
        return 1.0
    marks = math.ceil(UNLIKE * example_count - 1e-9)
    first = below + marks - 1
    whole = _log_choose(observations + example_count, first)
    return math.fsum(
        math.exp(_log_choose(example_count, examples) + _log_choose(observations, first - examples) - whole)
        for examples in range(marks)
        if first - examples <= observations
    )


def _log_choose(whole: int, part: int) -> float:
    return math.lgamma(whole + 1) - math.lgamma(part + 1) - math.lgamma(whole - part + 1)


def _unlike(row: Traffic) -> Warning | None:
    if not row.workload or row.observations < MIN_OBSERVATIONS:
        return None
    share = row.below / row.observations
    # Of the fewest examples a likeness is worth least.
    examples = row.example_count or MIN_EXAMPLES
    if share <= UNLIKE_SHARE or chance_of_unlike(row.below, row.observations, examples) > SIGNIFICANCE:
        return None
    return Warning(
        "unlike_examples",
        "warning",
        row.workload,
        f"{row.workload}: its traffic no longer looks like its examples: {share:.0%} of {row.observations:,}"
        " observed requests fit worse than nearly all of them",
        f"look at recent requests of {row.workload}; if they are its own, `homeward workload add"
        f" {row.workload} --examples FILE.jsonl …` with recent ones, else correct who declares it",
    )


def _shifted(row: Traffic) -> Warning | None:
    if row.psi is None or row.psi <= PSI_SHIFT:
        return None
    name = row.workload or "unnamed requests"
    return Warning(
        "population_shift",
        "warning",
        row.workload,
        f"{name}: lengths or kinds of work on {row.psi_day} are not those of the first days"
        f" (PSI {row.psi:.2f}, more than {PSI_SHIFT})",
        "see homeward.population_shift_by_day for which of the two; what was measured on the old traffic may"
        " not hold for the new",
    )


def _unnamed(rows: Sequence[Traffic]) -> Warning | None:
    requests = sum(row.requests for row in rows)
    unnamed = sum(row.requests for row in rows if not row.workload)
    if requests < MIN_REQUESTS or unnamed <= UNNAMED_SHARE * requests:
        return None
    return Warning(
        "unnamed",
        "warning",
        "",
        f"{unnamed / requests:.0%} of {requests:,} requests have no workload",
        "`homeward inventory discover` proposes workloads for them",
    )


def _idle(name: str, rows: Sequence[Traffic]) -> Warning | None:
    if any(row.workload == name and row.requests for row in rows):
        return None
    return Warning(
        "no_requests",
        "info",
        name,
        f"{name}: registered, but no request was named so",
        f"if {name} is in use, compare its registration with what it sends (`homeward workload list`)",
    )
