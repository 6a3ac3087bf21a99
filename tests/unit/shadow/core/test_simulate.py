"""Drawn experiments against the figures of the design (measured there with another program)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction

import numpy as np
import pytest
from numpy.typing import NDArray

from services.shadow.core.histogram import Histogram
from services.shadow.core.simulate import SCENARIOS, Plan, Scenario, days_to_ready, first_windows
from services.shadow.core.triplets import Triplet
from services.shadow.core.verdict import Rules, Verdict, windows

DAY_US = 86_400 * 10**6
PER_DAY = 20
"""Votes between two looks: the design looked at each."""


@pytest.mark.parametrize(
    ("discordance", "margin", "samples"),
    [(0.1, 0.02, (1688, 3160, 4639)), (0.2, 0.05, (577, 986, 1516))],
)
def test_samples_to_ready_are_those_of_the_design(
    discordance: float, margin: float, samples: tuple[int, int, int]
) -> None:
    """Median, 80 % and 95 %. The first epoch has half of α, so α is twice the design's .05."""
    plan = Plan(margin, 0.1, 400, PER_DAY, min_windows=1)
    days = days_to_ready(discordance, plan, 1_000, np.random.default_rng(5))
    found = [int(days[int(share * len(days))]) * PER_DAY for share in (0.5, 0.8, 0.95)]
    assert found == pytest.approx(samples, rel=0.15)


@pytest.mark.parametrize(("per_day", "power"), [(500, 0.97), (200, 0.55)])
def test_power_on_21_days_is_that_of_the_design(per_day: int, power: float) -> None:
    plan = Plan(0.02, 0.1, 21, per_day, min_windows=1)
    days = days_to_ready(0.2, plan, 2_000, np.random.default_rng(5))
    assert float((days <= 21).mean()) == pytest.approx(power, abs=0.04)


@pytest.mark.parametrize(("spread", "margin"), [(0.1, 0.02), (0.2, 0.02), (0.2, 0.05), (0.3, 0.05)])
def test_votes_between_are_forecast_by_their_mean_square(spread: float, margin: float) -> None:
    """A continuous score, of which nearly every vote is not 0: as long as its own experiments take."""
    values = tuple(round(-1 + step * 0.02, 3) for step in range(101))
    weights = np.exp(-((np.array(values) / spread) ** 2) / 2)
    bell = Scenario("bell", "", values, lambda _mean, _day: weights / weights.sum())
    plan, rng = Plan(margin, 0.05, 200, 100, min_windows=1), np.random.default_rng(5)
    drawn = rng.multinomial(plan.votes_per_day, bell.weights(0.0, 0), size=(400, plan.days))
    own = np.sort(first_windows(np.cumsum(drawn, axis=1), values, plan)[0] + 1)
    # What the product measures: of the votes of one experiment.
    counts = dict(zip((round(value * 1000) for value in values), drawn[0].sum(axis=0).tolist(), strict=True))
    square = Histogram(counts).mean_square()
    assert square is not None
    told = days_to_ready(square, plan, 400, rng)
    for share in (0.5, 0.8):
        place = int(share * 400)
        assert told[place] == pytest.approx(own[place], rel=0.2, abs=1)


@pytest.mark.parametrize("mean", [0.0, -0.15])
@pytest.mark.parametrize(("name", "window_days"), [("one in five", 1), ("continuous", 1), ("continuous", 3)])
def test_a_drawn_experiment_has_the_verdict_of_the_product(name: str, window_days: int, mean: float) -> None:
    """The drawn ones are decided by the million with code of their own: vote by vote it must be the same."""
    scenario = SCENARIOS[name]
    plan = Plan(0.05, 0.05, 18, 40, min_windows=2, window_days=window_days)
    weights, rng = scenario.weights(mean, 0), np.random.default_rng(5)
    counts = rng.multinomial(plan.votes_per_day, weights, size=(30, plan.days))
    looked = np.cumsum(counts, axis=1)[:, window_days - 1 :: window_days]
    ready, rejected = first_windows(looked, scenario.values, plan)
    rules = Rules(plan.margin, plan.alpha, window_days * DAY_US, 0, plan.min_windows)
    drawn, told = [], []
    for run in range(len(counts)):
        at = int(min(ready[run], rejected[run]))
        decided = at < looked.shape[1]
        verdict = Verdict.READY if ready[run] <= rejected[run] else Verdict.REJECTED
        drawn.append((at, verdict) if decided else None)
        found = windows(triplets(counts[run], scenario.values), rules)
        said = ((item, one.verdict) for item, one in enumerate(found) if one.verdict != Verdict.COLLECTING)
        told.append(next(said, None))
    assert drawn == told
    assert len({item and item[0] for item in told}) > 1
    assert (Verdict.READY if mean == 0 else Verdict.REJECTED) in {item[1] for item in told if item}


def triplets(days: NDArray[np.int64], values: Sequence[float]) -> Iterator[Triplet]:
    """Votes, as counts by day and value, each of a request of its own."""
    for day, counts in enumerate(days):
        for value, count in zip(values, counts, strict=True):
            exact = Fraction(str(value))
            sovereign, noise = (exact, Fraction(0)) if exact > 0 else (Fraction(0), -exact)
            yield from [Triplet(day * DAY_US, day * DAY_US, "", "", 1, sovereign, noise)] * int(count)


@pytest.mark.parametrize("mean", [0.0, -0.05])
@pytest.mark.parametrize("name", list(SCENARIOS))
def test_a_scenarios_week_has_the_mean_that_it_was_asked_for(name: str, mean: float) -> None:
    scenario = SCENARIOS[name]
    weights = [scenario.weights(mean, day) for day in range(7)]
    assert all((item >= 0).all() and item.sum() == pytest.approx(1) for item in weights)
    assert np.mean([item @ np.array(scenario.values) for item in weights]) == pytest.approx(mean, abs=1e-6)
