"""Experiments drawn at random, many at a time: how often does the verdict err, and how long does it take?

A scenario says what a day's votes look like when the true mean is `mean`. Days are drawn as multinomials over
the bins of the histogram, so that twenty thousand experiments of weeks take seconds.
The remedies of the design and their failing twins are in `twins.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from services.shadow.core.eprocess import BETS, mixed
from services.shadow.core.histogram import BINS_PER_UNIT

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.int64]
Bools: TypeAlias = NDArray[np.bool_]

SWING = 0.08
"""Of a scenario whose mean moves with the hour or the weekday."""
DAYS_OF_WEEK = 7
CHUNK_RUNS = 1_000
"""Experiments drawn at a time, so that memory stays flat."""


@dataclass(frozen=True, slots=True)
class Plan:
    """An experiment to be drawn."""

    margin: float = 0.05
    alpha: float = 0.05
    days: int = 28
    votes_per_day: int = 300
    min_windows: int = 14
    epochs: int = 1
    """Restarts of the experiment, each with the share of α that its number has."""
    window_days: int = 1
    """Days of a window; the first one begins with the first day, and days after the last whole one are not
    looked at."""


@dataclass(frozen=True, slots=True)
class Rates:
    """What became of the runs."""

    runs: int
    ready: int
    rejected: int


@dataclass(frozen=True, slots=True)
class Scenario:
    """A kind of traffic, and what is believed of it."""

    name: str
    about: str
    values: tuple[float, ...]
    """The differences that a vote may have, ascending, each a multiple of 0.001."""
    weights: Callable[[float, int], Floats]
    """Of (mean, day): how likely each value is; sums to 1."""

    def can_have(self, mean: float) -> bool:
        """Whether its votes can have that mean, over a week."""
        week = [self.weights(mean, day) for day in range(DAYS_OF_WEEK)]
        found = float(np.mean([item @ np.array(self.values) for item in week]))
        return all((item >= 0).all() for item in week) and math.isclose(found, mean, abs_tol=1e-6)


def three_point(discordance: float) -> Callable[[float, int], Floats]:
    """The weights of votes of −1, 0 and 1, of which that share is not 0."""

    def weights(mean: float, _day: int) -> Floats:
        low, high = (discordance - mean) / 2, (discordance + mean) / 2
        return np.array([low, 1 - discordance, high])

    return weights


def _continuous(mean: float, _day: int) -> Floats:
    # A bell on the values, tilted until its mean is right.
    values = np.array(_GRID)
    low, high = -60.0, 60.0
    for _ in range(80):
        tilt = (low + high) / 2
        density = np.exp(-((values / 0.25) ** 2) / 2 + tilt * values)
        density /= density.sum()
        if density @ values < mean:
            low = tilt
        else:
            high = tilt
    return density


def _catastrophe(mean: float, _day: int) -> Floats:
    # Nearly always as good, and once in a while nothing at all. At parity the other way once as often.
    rare = 0.02 + max(0.0, -mean)
    return np.array([rare, 1 - rare - (rare + mean), rare + mean])


def _weekly(mean: float, day: int) -> Floats:
    # Five days a little better and two much worse, the same on average.
    swing = SWING * (2 / 7 if day % 7 < 5 else -5 / 7)
    return three_point(0.3)(mean + swing, day)


_GRID = tuple(round(-1 + step * 0.05, 3) for step in range(41))
THREE_POINTS: tuple[float, ...] = (-1.0, 0.0, 1.0)

SCENARIOS: dict[str, Scenario] = {
    item.name: item
    for item in (
        Scenario("three-point", "D is −1, 0 or 1; one in ten differs", THREE_POINTS, three_point(0.1)),
        Scenario("one in five", "D is −1, 0 or 1; one in five differs", THREE_POINTS, three_point(0.2)),
        Scenario("discordant", "D is −1, 0 or 1; one in three differs", THREE_POINTS, three_point(0.33)),
        Scenario("continuous", "D lies anywhere between −1 and 1, around its mean", _GRID, _continuous),
        Scenario(
            "catastrophe", "nearly always as good, and rarely nothing at all", THREE_POINTS, _catastrophe
        ),
        Scenario("weekly", "better on weekdays, worse on weekends", THREE_POINTS, _weekly),
    )
}


def simulate(scenario: Scenario, mean: float, plan: Plan, runs: int, rng: np.random.Generator) -> Rates:
    """Draws experiments, and counts their verdicts."""
    return rates(runs, lambda size: verdicts(scenario, mean, plan, size, rng))


def rates(runs: int, drawn: Callable[[int], tuple[Bools, Bools]]) -> Rates:
    """Counts verdicts; `drawn` gives those of so many experiments, as `decided` does."""
    ready = rejected = 0
    for size in sizes(runs):
        first, second = drawn(size)
        ready += int(first.sum())
        rejected += int(second.sum())
    return Rates(runs, ready, rejected)


def days_to_ready(discordance: float, plan: Plan, runs: int, rng: np.random.Generator) -> Ints:
    """Days until READY at true parity, one for each run, ascending; `plan.days` + 1 if not within them.

    Args:
        discordance: the mean square of votes. They are drawn as −1, 0 and 1, that share of them not 0; votes
            that lie between need as many, to a sixth or so.
        plan: the experiment.
        runs: how many are drawn.
        rng: of the draws.
    """
    scenario = Scenario("forecast", "", THREE_POINTS, three_point(discordance))
    found = [
        first_windows(np.cumsum(draw_days(scenario, 0.0, plan, size, rng), axis=1), THREE_POINTS, plan)[0] + 1
        for size in sizes(runs)
    ]
    return np.sort(np.concatenate(found))


def verdicts(
    scenario: Scenario, mean: float, plan: Plan, size: int, rng: np.random.Generator
) -> tuple[Bools, Bools]:
    """Which runs were ever ready, and which rejected, at the close of a window."""
    counts = np.cumsum(draw_days(scenario, mean, plan, size, rng), axis=1)
    return decided(counts[:, plan.window_days - 1 :: plan.window_days], scenario.values, plan)


def decided(counts: Ints, values: tuple[float, ...], plan: Plan) -> tuple[Bools, Bools]:
    """Of votes so far at the close of each window, shape (runs, windows, values): which runs come to READY
    first, and which to REJECTED."""
    ready, rejected = first_windows(counts, values, plan)
    never = counts.shape[1]
    return (ready < never) & (ready <= rejected), rejected < ready


def first_windows(counts: Ints, values: tuple[float, ...], plan: Plan) -> tuple[Ints, Ints]:
    """The window (from 0) at whose close each run has the evidence for READY, and for REJECTED; else how many
    there are. `counts` are the votes so far, shape (runs, windows, values)."""
    floors = np.floor(np.array(values) * BINS_PER_UNIT + 1e-9) / BINS_PER_UNIT
    tops = np.minimum(floors + 1 / BINS_PER_UNIT, 1.0)
    threshold = math.log(1 / (plan.alpha / 2))
    votes = counts.astype(np.float64)
    above = mixed(votes @ np.log1p(np.outer(floors + plan.margin, BETS / (1 - plan.margin))))
    below = mixed(votes @ np.log1p(np.outer(-tops - plan.margin, BETS / (1 + plan.margin))))
    looked = np.arange(1, counts.shape[1] + 1) >= plan.min_windows
    ready, rejected = (above >= threshold) & looked, (below >= threshold) & looked
    never = counts.shape[1]
    return (
        np.where(ready.any(axis=1), ready.argmax(axis=1), never),
        np.where(rejected.any(axis=1), rejected.argmax(axis=1), never),
    )


def draw_days(scenario: Scenario, mean: float, plan: Plan, size: int, rng: np.random.Generator) -> Ints:
    """Votes by run, day and value, shape (size, days, values)."""
    days = [
        rng.multinomial(plan.votes_per_day, scenario.weights(mean, day), size=size)
        for day in range(plan.days)
    ]
    return np.stack(days, axis=1).astype(np.int64)


def sizes(runs: int) -> list[int]:
    """The runs in chunks."""
    return [min(CHUNK_RUNS, runs - start) for start in range(0, runs, CHUNK_RUNS)]
