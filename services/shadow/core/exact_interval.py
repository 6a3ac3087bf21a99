"""Exact confidence limits of a rate (Clopper and Pearson, Biometrika 26, 1934)."""

from __future__ import annotations

import math
from collections.abc import Callable


def clopper_pearson(successes: int, runs: int, confidence: float) -> tuple[float, float]:
    """The two-sided limits of the rate behind `successes` of `runs`.

    Raises:
        ValueError: there can't be so many successes, or the confidence is none.
    """
    if not 0 <= successes <= runs or runs < 1 or not 0 < confidence < 1:
        raise ValueError(f"{successes} of {runs} at {confidence} is no observation of a rate")
    tail = (1 - confidence) / 2
    low = 0.0 if not successes else _solve(lambda rate: 1 - _below(successes, runs, rate), tail)
    high = 1.0 if successes == runs else _solve(lambda rate: -_below(successes + 1, runs, rate), -tail)
    return low, high


def _solve(rises: Callable[[float], float], target: float) -> float:
    low, high = 0.0, 1.0
    for _ in range(80):
        middle = (low + high) / 2
        if rises(middle) < target:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def _below(count: int, runs: int, rate: float) -> float:
    """The probability of fewer than `count` successes."""
    if rate in (0.0, 1.0):
        return 1.0 if rate == 0.0 else 0.0
    log_rate, log_other = math.log(rate), math.log1p(-rate)
    whole = math.lgamma(runs + 1)
    return min(
        1.0,
        math.fsum(
            math.exp(
                whole
                - math.lgamma(number + 1)
                - math.lgamma(runs - number + 1)
                + number * log_rate
                + (runs - number) * log_other
            )
            for number in range(count)
        ),
    )
