"""Drawn experiments against the figures of the design (measured there with another program)."""

from __future__ import annotations

import numpy as np
import pytest

from services.shadow.core.simulate import SCENARIOS, Plan, days_to_ready

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


@pytest.mark.parametrize("mean", [0.0, -0.05])
@pytest.mark.parametrize("name", list(SCENARIOS))
def test_a_scenarios_week_has_the_mean_that_it_was_asked_for(name: str, mean: float) -> None:
    scenario = SCENARIOS[name]
    weights = [scenario.weights(mean, day) for day in range(7)]
    assert all((item >= 0).all() and item.sum() == pytest.approx(1) for item in weights)
    assert np.mean([item @ np.array(scenario.values) for item in weights]) == pytest.approx(mean, abs=1e-6)
