"""The latency profile: what is drawn, and that there is none unless it is asked for."""

import random
import statistics

import pytest

from deploy.local.cloud.__main__ import arguments, pace_of
from deploy.local.cloud.pace import FIRST_TOKEN_S, TOKENS_PER_S, Pace, Timing


def test_off_means_no_waiting() -> None:
    assert Pace().draw() == Timing(0, 0)
    assert pace_of(arguments([])).draw() == Timing(0, 0)
    assert pace_of(arguments(["--latency", "none", "--latency-scale", "9"])).draw() == Timing(0, 0)


def test_draws_have_the_published_percentiles() -> None:
    pace = Pace(1, random.Random(3))
    drawn = [pace.draw() for _ in range(5000)]
    first = statistics.quantiles((timing.first_token_s for timing in drawn), n=20)
    assert first[9] == pytest.approx(FIRST_TOKEN_S, rel=0.03)
    assert first[18] == pytest.approx(1.094, rel=0.05)
    paces = sorted(1 / timing.token_s for timing in drawn)
    assert statistics.median(paces) == pytest.approx(TOKENS_PER_S, rel=0.03)
    assert sum(46.1 <= value <= 69.9 for value in paces) / len(paces) > 0.9


def test_a_seed_gives_the_same_times_again_and_the_scale_stretches_them() -> None:
    one, other, slow = Pace(1, random.Random(5)), Pace(1, random.Random(5)), Pace(3, random.Random(5))
    for _ in range(10):
        timing, stretched = one.draw(), slow.draw()
        assert other.draw() == timing
        assert stretched.first_token_s == pytest.approx(3 * timing.first_token_s)
        assert stretched.token_s == pytest.approx(3 * timing.token_s)


def test_realistic_is_as_published() -> None:
    assert pace_of(arguments(["--latency", "realistic"])).scale == 1
    assert pace_of(arguments(["--latency", "realistic", "--latency-scale", "0.1"])).scale == 0.1
