"""Experiments drawn at random, many at a time: how often does the verdict err, and how long does it take?

A scenario says what a day's votes look like when the true mean is `mean`. Days are drawn as multinomials over
the bins of the histogram, so that twenty thousand experiments of weeks take seconds. Each remedy of the
design has a *failing twin*, the same data without the remedy, which must err more often than allowed: a test
that could not fail would show nothing.
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

SWING = 0.08
"""Of a scenario whose mean moves with the hour or the weekday."""
HOURS = 24
BURST = 5
"""Identical requests of a burst."""
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


def _three_point(discordance: float) -> Callable[[float, int], Floats]:
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
    return _three_point(0.3)(mean + swing, day)


_GRID = tuple(round(-1 + step * 0.05, 3) for step in range(41))
_THREE = (-1.0, 0.0, 1.0)

SCENARIOS: dict[str, Scenario] = {
    item.name: item
    for item in (
        Scenario("three-point", "D is −1, 0 or 1; one in ten differs", _THREE, _three_point(0.1)),
        Scenario("one in five", "D is −1, 0 or 1; one in five differs", _THREE, _three_point(0.2)),
        Scenario("discordant", "D is −1, 0 or 1; one in three differs", _THREE, _three_point(0.33)),
        Scenario("continuous", "D lies anywhere between −1 and 1, around its mean", _GRID, _continuous),
        Scenario("catastrophe", "nearly always as good, and rarely nothing at all", _THREE, _catastrophe),
        Scenario("weekly", "better on weekdays, worse on weekends", _THREE, _weekly),
    )
}


def simulate(scenario: Scenario, mean: float, plan: Plan, runs: int, rng: np.random.Generator) -> Rates:
    """Draws experiments, and counts their verdicts."""
    ready = rejected = 0
    for size in _sizes(runs):
        first, second = _verdicts(scenario, mean, plan, size, rng)
        ready += int(first.sum())
        rejected += int(second.sum())
    return Rates(runs, ready, rejected)


def days_to_ready(discordance: float, plan: Plan, runs: int, rng: np.random.Generator) -> Ints:
    """Days until READY at true parity, one for each run, ascending; `plan.days` + 1 if not within them.

    Args:
        discordance: the share of votes that are not 0, half of them −1 and half 1: the widest spread of
            votes that differ as often.
        plan: the experiment.
        runs: how many are drawn.
        rng: of the draws.
    """
    scenario = Scenario("forecast", "", _THREE, _three_point(discordance))
    found = [
        _first_days(np.cumsum(_days(scenario, 0.0, plan, size, rng), axis=1), _THREE, plan)[0] + 1
        for size in _sizes(runs)
    ]
    return np.sort(np.concatenate(found))


def naive_z(scenario: Scenario, mean: float, plan: Plan, runs: int, rng: np.random.Generator) -> Rates:
    """The twin without an e-process: a one-sided z-test, looked at at the end of each day."""
    values = np.array(scenario.values)
    threshold = _normal_quantile(1 - plan.alpha)
    ready = 0
    for size in _sizes(runs):
        counts = np.cumsum(_days(scenario, mean, plan, size, rng), axis=1)
        total = counts.sum(axis=2)
        average = counts @ values / total
        spread = np.sqrt(np.maximum(counts @ values**2 / total - average**2, 1e-12) / total)
        ready += int(((average + plan.margin) / spread >= threshold).any(axis=1).sum())
    return Rates(runs, ready, 0)


def each_alone(scenario: Scenario, mean: float, plan: Plan, runs: int, rng: np.random.Generator) -> Rates:
    """The twin without clusters: bursts of identical requests, of which each has a vote."""
    return _bursts(scenario, mean, plan, runs, rng, votes=BURST)


def one_vote(scenario: Scenario, mean: float, plan: Plan, runs: int, rng: np.random.Generator) -> Rates:
    """Bursts of identical requests, of which each has one vote."""
    return _bursts(scenario, mean, plan, runs, rng, votes=1)


def no_spending(scenario: Scenario, mean: float, plan: Plan, runs: int, rng: np.random.Generator) -> Rates:
    """The twin without α-spending: each epoch has all of α."""
    return _epochs(scenario, mean, plan, runs, rng, spend=False)


def spending(scenario: Scenario, mean: float, plan: Plan, runs: int, rng: np.random.Generator) -> Rates:
    """Restarts, of which the k-th has α/2^k."""
    return _epochs(scenario, mean, plan, runs, rng, spend=True)


def in_order_of_arrival(mean_failures: float, plan: Plan, runs: int, rng: np.random.Generator) -> Rates:
    """The twin without a watermark: what failed comes a week late, and evidence counts as it comes.

    Args:
        mean_failures: the share of requests whose sovereign answer fails (D = −1); the others are D = 0.
        plan: the experiment; its margin is below `mean_failures`.
        runs: experiments.
        rng: of the draws.
    """
    return _late(mean_failures, plan, runs, rng, waits=False)


def after_the_watermark(mean_failures: float, plan: Plan, runs: int, rng: np.random.Generator) -> Rates:
    """As before, with windows on request time that close when late answers have had their time."""
    return _late(mean_failures, plan, runs, rng, waits=True)


def at_every_day(mean: float, plan: Plan, runs: int, rng: np.random.Generator) -> Rates:
    """The twin with windows shorter than the cycle: better weekdays, worse weekends, looked at daily."""
    return _weeks(mean, plan, runs, rng, closed=False)


def at_closed_weeks(mean: float, plan: Plan, runs: int, rng: np.random.Generator) -> Rates:
    """The same traffic, looked at when a week is over."""
    return _weeks(mean, plan, runs, rng, closed=True)


def at_every_hour(mean: float, plan: Plan, runs: int, rng: np.random.Generator) -> Rates:
    """The twin without windows: traffic that is better by day than by night, looked at every hour."""
    return _hours(mean, plan, runs, rng, closed=False)


def at_closed_windows(mean: float, plan: Plan, runs: int, rng: np.random.Generator) -> Rates:
    """The same traffic, looked at when a day is over."""
    return _hours(mean, plan, runs, rng, closed=True)


def _verdicts(
    scenario: Scenario, mean: float, plan: Plan, size: int, rng: np.random.Generator
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which runs were ever ready, and which rejected, at the close of a window."""
    counts = np.cumsum(_days(scenario, mean, plan, size, rng), axis=1)
    return _decided(counts, scenario.values, plan)


def _decided(
    counts: Ints, values: tuple[float, ...], plan: Plan
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Of votes so far, shape (runs, days, values): which runs come to READY first, and which to REJECTED."""
    ready, rejected = _first_days(counts, values, plan)
    never = counts.shape[1]
    return (ready < never) & (ready <= rejected), rejected < ready


def _first_days(counts: Ints, values: tuple[float, ...], plan: Plan) -> tuple[Ints, Ints]:
    """The day (from 0) at whose end each run has the evidence for READY, and for REJECTED; else `days`."""
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


def _days(scenario: Scenario, mean: float, plan: Plan, size: int, rng: np.random.Generator) -> Ints:
    """Votes by run, day and value, shape (size, days, values)."""
    days = [
        rng.multinomial(plan.votes_per_day, scenario.weights(mean, day), size=size)
        for day in range(plan.days)
    ]
    return np.stack(days, axis=1).astype(np.int64)


def _bursts(
    scenario: Scenario, mean: float, plan: Plan, runs: int, rng: np.random.Generator, *, votes: int
) -> Rates:
    fewer = Plan(plan.margin, plan.alpha, plan.days, plan.votes_per_day // BURST, plan.min_windows)
    ready = rejected = 0
    for size in _sizes(runs):
        counts = np.cumsum(_days(scenario, mean, fewer, size, rng), axis=1) * votes
        first, second = _decided(counts, scenario.values, plan)
        ready += int(first.sum())
        rejected += int(second.sum())
    return Rates(runs, ready, rejected)


def _epochs(
    scenario: Scenario, mean: float, plan: Plan, runs: int, rng: np.random.Generator, *, spend: bool
) -> Rates:
    ready = 0
    for size in _sizes(runs):
        ever = np.zeros(size, dtype=bool)
        for epoch in range(1, plan.epochs + 1):
            # `_decided` spends half of what it is told, as the first epoch of α does.
            share = plan.alpha / 2 ** (epoch - 1) if spend else 2 * plan.alpha
            part = Plan(plan.margin, share, plan.days, plan.votes_per_day, plan.min_windows)
            ever |= _verdicts(scenario, mean, part, size, rng)[0]
        ready += int(ever.sum())
    return Rates(runs, ready, 0)


def _hours(mean: float, plan: Plan, runs: int, rng: np.random.Generator, *, closed: bool) -> Rates:
    per_hour = max(1, plan.votes_per_day // HOURS)
    weights = [_three_point(0.3)(mean + (SWING if hour < HOURS // 2 else -SWING), 0) for hour in range(HOURS)]
    ready = rejected = 0
    for size in _sizes(runs):
        drawn = [
            rng.multinomial(per_hour, weights[hour % HOURS], size=size) for hour in range(HOURS * plan.days)
        ]
        counts = np.cumsum(np.stack(drawn, axis=1), axis=1).astype(np.int64)
        if closed:
            counts = counts[:, HOURS - 1 :: HOURS]
        first, second = _decided(counts, _THREE, plan)
        ready += int(first.sum())
        rejected += int(second.sum())
    return Rates(runs, ready, rejected)


def _weeks(mean: float, plan: Plan, runs: int, rng: np.random.Generator, *, closed: bool) -> Rates:
    ready = rejected = 0
    for size in _sizes(runs):
        counts = np.cumsum(_days(SCENARIOS["weekly"], mean, plan, size, rng), axis=1)
        first, second = _decided(counts[:, 6::7] if closed else counts, _THREE, plan)
        ready += int(first.sum())
        rejected += int(second.sum())
    return Rates(runs, ready, rejected)


def _late(mean_failures: float, plan: Plan, runs: int, rng: np.random.Generator, *, waits: bool) -> Rates:
    late_days = 7
    ready = rejected = 0
    for size in _sizes(runs):
        failed = rng.binomial(plan.votes_per_day, mean_failures, size=(size, plan.days))
        fine = plan.votes_per_day - failed
        if not waits:
            failed = np.concatenate(
                [np.zeros((size, late_days), dtype=failed.dtype), failed[:, : plan.days - late_days]], axis=1
            )
        counts = np.cumsum(np.stack([failed, fine], axis=2), axis=1).astype(np.int64)
        first, second = _decided(counts, (-1.0, 0.0), plan)
        ready += int(first.sum())
        rejected += int(second.sum())
    return Rates(runs, ready, rejected)


def _sizes(runs: int) -> list[int]:
    return [min(CHUNK_RUNS, runs - start) for start in range(0, runs, CHUNK_RUNS)]


def _normal_quantile(probability: float) -> float:
    low, high = -10.0, 10.0
    for _ in range(100):
        middle = (low + high) / 2
        if 0.5 * (1 + math.erf(middle / math.sqrt(2))) < probability:
            low = middle
        else:
            high = middle
    return low
