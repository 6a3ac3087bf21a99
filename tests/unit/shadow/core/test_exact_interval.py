"""Against published limits, and against what they promise."""

from __future__ import annotations

import math

import pytest

from services.shadow.core.exact_interval import clopper_pearson


@pytest.mark.parametrize(
    ("successes", "runs", "low", "high"),
    [
        # R: binom.test(5, 100)$conf.int and its like.
        (5, 100, 0.01643188, 0.1128349),
        (0, 100, 0.0, 0.03621669),
        (100, 100, 0.9637833, 1.0),
        (1, 10, 0.002528579, 0.4450161),
    ],
)
def test_limits_are_the_published_ones(successes: int, runs: int, low: float, high: float) -> None:
    assert clopper_pearson(successes, runs, 0.95) == pytest.approx((low, high), rel=1e-5)


def test_zero_of_many_is_the_rule_of_three() -> None:
    _, high = clopper_pearson(0, 20_000, 0.9)
    assert high == pytest.approx(1 - math.exp(math.log(0.05) / 20_000), rel=1e-6)


@pytest.mark.parametrize(
    ("successes", "runs", "confidence"), [(2, 1, 0.95), (-1, 1, 0.95), (0, 0, 0.95), (0, 1, 1)]
)
def test_what_is_no_observation_is_refused(successes: int, runs: int, confidence: float) -> None:
    with pytest.raises(ValueError, match="no observation"):
        clopper_pearson(successes, runs, confidence)
