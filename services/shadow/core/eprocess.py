"""The test: a betting e-process with a fixed mixture of bets, and the bounds that follow from it.

    K = mean over λ of exp( Σ_k n_k · ln(1 + λ (d_k − m)) )

for the hypothesis E[D | past] ≤ m. Under it K is a supermartingale that starts at 1, so by Ville's
inequality the probability that it ever reaches 1/α is at most α, however often anyone looks (Waudby-Smith
and Ramdas, "Estimating means of bounded random variables by betting", 2023). The opposite hypothesis,
E[D | past] ≥ m, has the mirrored bets.

With m = −δ the first proves parity within the margin δ, the second a gap beyond it.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from services.shadow.core.histogram import Histogram

BETS = np.geomspace(0.01, 0.9, 24)
"""Shares of the largest bet that can't lose everything."""
GRID_STEP = 0.001
"""Of the means that the bounds try: the resolution of the histogram."""
_MEANS = np.round(np.arange(-1 + GRID_STEP, 1, GRID_STEP), 3)

Floats = NDArray[np.float64]


def log_k_above(votes: Histogram, mean: float) -> float:
    """ln K against E[D] ≤ `mean`: large if the mean is above."""
    values, counts = votes.lower_values()
    return _log_k_above(values, counts, mean)


def log_k_below(votes: Histogram, mean: float) -> float:
    """ln K against E[D] ≥ `mean`: large if the mean is below."""
    values, counts = votes.upper_values()
    return _log_k_above(-values, counts, -mean)


def lower_bound(votes: Histogram, alpha: float) -> float:
    """The lower confidence bound of E[D] at error `alpha`, valid at all times at once; -1 at the least."""
    values, counts = votes.lower_values()
    return _bound(values, counts, alpha)


def upper_bound(votes: Histogram, alpha: float) -> float:
    """The upper confidence bound of E[D] at error `alpha`, valid at all times at once; 1 at the most."""
    values, counts = votes.upper_values()
    return -_bound(-values[::-1], counts[::-1], alpha)


def _bound(values: Floats, counts: Floats, alpha: float) -> float:
    """The largest mean of the grid that is beaten; −1 if none is.

    A bet gains (1 − b) + b (1 + d) / (1 + m), with b from BETS, which falls as m rises: what is beaten lies
    below what is not, and halving finds the border.
    """
    needed = math.log(1 / alpha)
    beaten, open_ = -1, len(_MEANS)
    while open_ - beaten > 1:
        middle = (beaten + open_) // 2
        if _log_k_above(values, counts, float(_MEANS[middle])) >= needed:
            beaten = middle
        else:
            open_ = middle
    return float(_MEANS[beaten]) if beaten >= 0 else -1.0


def _log_k_above(values: Floats, counts: Floats, mean: float) -> float:
    """ln K for a mean in (−1, 1); values and counts have shape (k,)."""
    if not len(values):
        return 0.0
    # The smallest value is −1, so a bet below 1 / (1 + mean) keeps what is left above zero.
    return float(mixed(counts @ np.log1p(np.outer(values - mean, BETS / (1 + mean)))))


def mixed(logs: Floats) -> Floats:
    """ln of the mean of exp over the last axis: the mixture of the bets, shape (…, 24) to (…)."""
    highest = logs.max(axis=-1)
    total: Floats = highest + np.log(np.exp(logs - highest[..., None]).mean(axis=-1))
    return total
