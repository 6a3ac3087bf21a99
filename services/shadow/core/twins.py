"""The remedies of the design, drawn many times, each beside its *failing twin*.

A twin is the same data without the remedy, which must err more often than allowed: a test that could not fail
would show nothing.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from services.shadow.core.simulate import (
    SWING,
    THREE_POINTS,
    Bools,
    Floats,
    Plan,
    Rates,
    Scenario,
    decided,
    draw_days,
    rates,
    sizes,
    three_point,
    verdicts,
)

HOURS = 24
BURST = 5
"""Identical requests of a burst."""
TENANT_BURST = 50
"""Requests that a tenant sends together; they share an effect."""
TENANT_EFFECT = 0.1
"""Its standard deviation: as often this much better as this much worse."""


def naive_z(scenario: Scenario, mean: float, plan: Plan, runs: int, rng: np.random.Generator) -> Rates:
    """The twin without an e-process: a one-sided z-test, looked at at the end of each day."""
    values = np.array(scenario.values)
    threshold = _normal_quantile(1 - plan.alpha)
    ready = 0
    for size in sizes(runs):
        counts = np.cumsum(draw_days(scenario, mean, plan, size, rng), axis=1)
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


def every_request(mean: float, plan: Plan, runs: int, rng: np.random.Generator) -> Rates:
    """The twin without clusters: bursts of tenants that share an effect; each request has a vote."""
    return _tenants(mean, plan, runs, rng, clustered=False)


def one_vote_a_tenant(mean: float, plan: Plan, runs: int, rng: np.random.Generator) -> Rates:
    """The same traffic; a burst has one vote, its mean."""
    return _tenants(mean, plan, runs, rng, clustered=True)


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


def at_every_hour(mean: float, plan: Plan, runs: int, rng: np.random.Generator) -> Rates:
    """The twin without windows: traffic that is better by day than by night, looked at every hour."""
    return _hours(mean, plan, runs, rng, closed=False)


def at_closed_windows(mean: float, plan: Plan, runs: int, rng: np.random.Generator) -> Rates:
    """The same traffic, looked at when a day is over."""
    return _hours(mean, plan, runs, rng, closed=True)


def _bursts(
    scenario: Scenario, mean: float, plan: Plan, runs: int, rng: np.random.Generator, *, votes: int
) -> Rates:
    fewer = replace(plan, votes_per_day=plan.votes_per_day // BURST)

    def drawn(size: int) -> tuple[Bools, Bools]:
        counts = np.cumsum(draw_days(scenario, mean, fewer, size, rng), axis=1) * votes
        return decided(counts, scenario.values, plan)

    return rates(runs, drawn)


def _tenants(mean: float, plan: Plan, runs: int, rng: np.random.Generator, *, clustered: bool) -> Rates:
    better, worse = (three_point(0.2)(mean + effect, 0) for effect in (TENANT_EFFECT, -TENANT_EFFECT))
    bursts = plan.votes_per_day // TENANT_BURST
    values = THREE_POINTS
    if clustered:
        values = tuple(round(step / TENANT_BURST, 3) for step in range(-TENANT_BURST, TENANT_BURST + 1))
    means = (_sums(better, TENANT_BURST) + _sums(worse, TENANT_BURST)) / 2

    def drawn(size: int) -> tuple[Bools, Bools]:
        if clustered:
            days = rng.multinomial(bursts, means, size=(size, plan.days))
        else:
            lucky = rng.binomial(bursts, 0.5, size=(size, plan.days))
            days = rng.multinomial(lucky * TENANT_BURST, better)
            days += rng.multinomial((bursts - lucky) * TENANT_BURST, worse)
        return decided(np.cumsum(days, axis=1), values, plan)

    return rates(runs, drawn)


def _sums(weights: Floats, count: int) -> Floats:
    """How likely each sum of so many votes of −1, 0 or 1 is."""
    found: Floats = np.ones(1)
    for _ in range(count):
        found = np.convolve(found, weights)
    found /= found.sum()
    return found


def _epochs(
    scenario: Scenario, mean: float, plan: Plan, runs: int, rng: np.random.Generator, *, spend: bool
) -> Rates:
    ready = 0
    for size in sizes(runs):
        ever = np.zeros(size, dtype=bool)
        for epoch in range(1, plan.epochs + 1):
            # `decided` spends half of what it is told, as the first epoch of α does.
            share = plan.alpha / 2 ** (epoch - 1) if spend else 2 * plan.alpha
            ever |= verdicts(scenario, mean, replace(plan, alpha=share), size, rng)[0]
        ready += int(ever.sum())
    return Rates(runs, ready, 0)


def _hours(mean: float, plan: Plan, runs: int, rng: np.random.Generator, *, closed: bool) -> Rates:
    per_hour = max(1, plan.votes_per_day // HOURS)
    weights = [three_point(0.3)(mean + (SWING if hour < HOURS // 2 else -SWING), 0) for hour in range(HOURS)]

    def drawn(size: int) -> tuple[Bools, Bools]:
        hours = [
            rng.multinomial(per_hour, weights[hour % HOURS], size=size) for hour in range(HOURS * plan.days)
        ]
        counts = np.cumsum(np.stack(hours, axis=1), axis=1).astype(np.int64)
        return decided(counts[:, HOURS - 1 :: HOURS] if closed else counts, THREE_POINTS, plan)

    return rates(runs, drawn)


def _late(mean_failures: float, plan: Plan, runs: int, rng: np.random.Generator, *, waits: bool) -> Rates:
    late_days = 7

    def drawn(size: int) -> tuple[Bools, Bools]:
        failed = rng.binomial(plan.votes_per_day, mean_failures, size=(size, plan.days))
        fine = plan.votes_per_day - failed
        if not waits:
            failed = np.concatenate(
                [np.zeros((size, late_days), dtype=failed.dtype), failed[:, : plan.days - late_days]], axis=1
            )
        counts = np.cumsum(np.stack([failed, fine], axis=2), axis=1).astype(np.int64)
        return decided(counts, (-1.0, 0.0), plan)

    return rates(runs, drawn)


def _normal_quantile(probability: float) -> float:
    low, high = -10.0, 10.0
    for _ in range(100):
        middle = (low + high) / 2
        if 0.5 * (1 + math.erf(middle / math.sqrt(2))) < probability:
            low = middle
        else:
            high = middle
    return low
