"""What matters, and how far it may come otherwise: a tornado, and draws over the ranges. Pure."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

from playbook.finance.answers import RESULTS, Result
from playbook.finance.inputs import Case, Input, Name
from playbook.finance.model import NEVER, Outcome, evaluate

SEED = 1
RUNS = 1_000
"""So many that a tenth of them is off by less than 2 % of the draws in nineteen of twenty seeds."""
LEAST_SWING = Fraction(1, 100)
"""Of the largest swing: what moves the NPV less does not matter beside it."""
STEPS = 10**6
"""Places of a range that a draw can fall on."""
QUANTILES: Mapping[str, Fraction] = {"p10": Fraction(1, 10), "p50": Fraction(1, 2), "p90": Fraction(9, 10)}


@dataclass(frozen=True, slots=True)
class Swing:
    """What a result is at the ends of one input's range, all others as they are."""

    name: Name
    at_low: int | Fraction
    at_high: int | Fraction

    @property
    def size(self) -> int | Fraction:
        """How far apart they are."""
        return max(self.at_low, self.at_high) - min(self.at_low, self.at_high)


@dataclass(frozen=True, slots=True)
class Spread:
    """Draws of a result."""

    quantiles: Mapping[str, int | Fraction]
    """By QUANTILES."""
    positive: Fraction
    """Share of the draws above 0; of a payback, share of those that come."""


def without_range(case: Case) -> tuple[Name, ...]:
    """The inputs of which nothing is known, so that there is no tornado and there are no draws."""
    return tuple(name for name in Name if case[name].middle is None)


def middle(case: Case) -> Outcome:
    """What follows from the values, and from the middle of what is unknown."""
    return evaluate({name: item.middle or Fraction(0) for name, item in case.items()})


def tornado(case: Case, result: Result = "npv") -> list[Swing]:
    """What each input's range does to a result, the most first; empty if an input has no range.

    The others have their value, or the middle of the range if they are unknown.
    """
    if without_range(case):
        return []
    compute = RESULTS[result]
    base = {name: item.middle or Fraction(0) for name, item in case.items()}
    found = [
        Swing(name, compute({**base, name: item.low}), compute({**base, name: item.high}))
        for name, item in case.items()
        if item.low is not None and item.high is not None and item.low != item.high
    ]
    return sorted(found, key=lambda swing: (-swing.size, swing.name))


def mattering(case: Case) -> list[Swing]:
    """The swings of the NPV that can be seen beside the largest."""
    found = tornado(case)
    return [swing for swing in found if swing.size and swing.size >= found[0].size * LEAST_SWING]


def draws(case: Case, *, seed: int = SEED, runs: int = RUNS) -> dict[Result, Spread]:
    """Draws all inputs from their ranges: a known one from a triangle whose tip is its value, an unknown one
    from anywhere alike. They are drawn independently. Empty if an input has no range.

    Args:
        case: all inputs.
        seed: the same gives the same.
        runs: draws.
    """
    if without_range(case):
        return {}
    generator = random.Random(seed)
    outcomes = [evaluate({name: _draw(item, generator) for name, item in case.items()}) for _ in range(runs)]
    found: dict[Result, list[int | Fraction]] = {
        "one_time": [item.one_time for item in outcomes],
        "saving_year": [item.saving_year for item in outcomes],
        "payback_months": [item.payback for item in outcomes],
        "npv": [item.npv for item in outcomes],
    }
    return {name: _spread(name, values) for name, values in found.items()}


def _spread(name: Result, values: list[int | Fraction]) -> Spread:
    ordered = sorted(values)
    good = sum(value < NEVER if name == "payback_months" else value > 0 for value in values)
    return Spread(
        {word: ordered[int(share * len(ordered))] for word, share in QUANTILES.items()},
        Fraction(good, len(values)),
    )


def _draw(item: Input, generator: random.Random) -> Fraction:
    low, high = item.low or Fraction(0), item.high or Fraction(0)
    if low == high:
        return low
    # The place is a float, the figure is not: it is a whole number of steps into the range.
    if item.value is None:
        place = generator.random()
    else:
        place = generator.triangular(0, 1, float((item.value - low) / (high - low)))
    return low + (high - low) * Fraction(round(place * STEPS), STEPS)
