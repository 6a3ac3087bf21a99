"""What training measures of itself, on rows that the part in question has not seen."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from services.classifier.core.general import SOVEREIGN_TASK_TYPES as SOVEREIGN

BINS = 15
"""Of the expected calibration error."""

Floats = NDArray[np.floating]
Labels = NDArray[np.int64]


def figures(likely: Floats, labels: Labels) -> dict[str, float]:
    """Shares right and the calibration error of probabilities (n, 10)."""
    right = likely.argmax(1) == labels
    home = likely[:, :SOVEREIGN].sum(1)
    target_right = (home > 0.5) == (labels < SOVEREIGN)
    surest = np.argsort(-np.maximum(home, 1 - home), kind="stable")
    covered = surest[: round(0.9 * len(surest))]
    return {
        "rows": len(labels),
        "task_type": round(float(right.mean()), 4),
        "target": round(float(target_right.mean()), 4),
        "target_at_90_percent": round(float(target_right[covered].mean()), 4),
        "ece": round(calibration_error(likely.max(1), right), 4),
    }


def calibration_error(sure: Floats, right: NDArray[np.bool_]) -> float:
    """The expected calibration error over bins of equal width.

    Naeini et al., "Obtaining Well Calibrated Probabilities Using Bayesian Binning", AAAI 2015.
    """
    bins = np.minimum((sure * BINS).astype(int), BINS - 1)
    gaps = [
        (bins == one).mean() * abs(sure[bins == one].mean() - right[bins == one].mean())
        for one in np.unique(bins)
    ]
    return float(np.sum(gaps))


def threshold(likely: Floats, labels: Labels, wanted: float) -> float:
    """The least probability of the best task type from which on `wanted` of the targets are right."""
    best = likely.max(1)
    right = (likely[:, :SOVEREIGN].sum(1) > 0.5) == (labels < SOVEREIGN)
    for tried in np.arange(0.1, 0.9, 0.01):
        if right[best >= tried].mean() >= wanted:
            return float(round(tried, 2))
    return 0.9
