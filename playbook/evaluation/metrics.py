"""Measures of a classifier that may abstain. Pure numpy.

A class is an integer from 0. `NO_GUESS` (-1) as a prediction is an abstention: it is never right, it has
confidence 0, so it is the first that a lower coverage leaves out, and it has no part in the calibration
error, which is of the confidence of guesses.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

NO_GUESS = -1
CALIBRATION_BINS = 15
"""As in Guo et al. 2017."""
COVERAGES = (0.95, 0.90, 0.80, 0.60)
"""Shares of the requests that the risk-coverage table keeps."""
NORMAL_95 = 1.959964
"""The normal quantile of a two-sided interval of 95 %."""

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class ClassFigures:
    """One class: how much of what was called so was it, and how much of it was called so."""

    rows: int
    precision: float
    """0 if nothing was called so."""
    recall: float
    """0 if there are no rows."""
    f1: float


@dataclass(frozen=True, slots=True)
class Bin:
    """One bar of a reliability diagram."""

    low: float
    """Its confidences are above this, and at most `high`; the first bin has 0 too."""
    high: float
    rows: int
    confidence: float
    """Mean of its rows; 0 without rows."""
    accuracy: float
    """Share of its rows that are right; 0 without rows."""


def accuracy(predicted: Ints, actual: Ints) -> float:
    """Share of rows whose prediction is right; 0 without rows."""
    return float(np.mean(predicted == actual)) if len(actual) else 0.0


def confusion(predicted: Ints, actual: Ints, classes: int) -> Ints:
    """(classes, classes + 1): rows by actual class and prediction; the last column is `NO_GUESS`."""
    column = np.where(predicted == NO_GUESS, classes, predicted)
    counts = np.bincount(actual * (classes + 1) + column, minlength=classes * (classes + 1))
    return counts.reshape(classes, classes + 1).astype(np.int64)


def by_class(predicted: Ints, actual: Ints, classes: int) -> list[ClassFigures]:
    """Precision, recall and F1 of each class."""
    counts = confusion(predicted, actual, classes)
    found = []
    for index in range(classes):
        right, called, rows = counts[index, index], counts[:, index].sum(), counts[index].sum()
        found.append(
            ClassFigures(
                rows=int(rows),
                precision=float(right / called) if called else 0.0,
                recall=float(right / rows) if rows else 0.0,
                f1=float(2 * right / (called + rows)) if called + rows else 0.0,
            )
        )
    return found


def macro_f1(predicted: Ints, actual: Ints, classes: int) -> float:
    """Mean F1 of the classes that occur, as a label or as a prediction; 0 without rows."""
    occurring = np.union1d(actual, predicted[predicted != NO_GUESS])
    figures = by_class(predicted, actual, classes)
    return float(np.mean([figures[index].f1 for index in occurring])) if len(occurring) else 0.0


def wilson(right: int, count: int) -> tuple[float, float]:
    """The 95 % interval of a share (E. B. Wilson, "Probable Inference", JASA 22, 1927); (0, 1) of none."""
    if not count:
        return 0.0, 1.0
    share, squared = right / count, NORMAL_95**2
    middle = share + squared / (2 * count)
    half = NORMAL_95 * math.sqrt(share * (1 - share) / count + squared / (4 * count * count))
    whole = 1 + squared / count
    return max(0.0, (middle - half) / whole), min(1.0, (middle + half) / whole)


def reliability(confidence: Floats, right: Bools, bins: int = CALIBRATION_BINS) -> list[Bin]:
    """Confidence beside accuracy in bins of equal width. Pass the guesses only.

    Args:
        confidence: (n,), 0 to 1.
        right: (n,).
        bins: how many.
    """
    edges = np.linspace(0, 1, bins + 1)
    place = np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, bins - 1)
    found = []
    for index in range(bins):
        inside = place == index
        rows = int(inside.sum())
        found.append(
            Bin(
                low=float(edges[index]),
                high=float(edges[index + 1]),
                rows=rows,
                confidence=float(confidence[inside].mean()) if rows else 0.0,
                accuracy=float(right[inside].mean()) if rows else 0.0,
            )
        )
    return found


def expected_calibration_error(confidence: Floats, right: Bools, bins: int = CALIBRATION_BINS) -> float:
    """Mean distance of accuracy from confidence over the bins, weighted by rows; 0 without rows.

    C. Guo and others, "On Calibration of Modern Neural Networks", ICML 2017, equation 5. Of guesses only.
    """
    if not len(confidence):
        return 0.0
    return sum(
        part.rows * abs(part.accuracy - part.confidence) for part in reliability(confidence, right, bins)
    ) / len(confidence)


def accuracy_by_coverage(confidence: Floats, right: Bools) -> Floats:
    """(n,): the accuracy of the 1, 2, … n most confident rows.

    Rows of equal confidence count as if they stood in every order at once, so the order of the file is
    without effect.
    """
    order = np.argsort(-confidence, kind="stable")
    _, first, count = np.unique(-confidence[order], return_index=True, return_counts=True)
    right_in_group = np.add.reduceat(right[order].astype(np.float64), first) if len(first) else np.empty(0)
    smoothed = np.repeat(right_in_group / count, count)
    return np.cumsum(smoothed) / np.arange(1, len(smoothed) + 1)


def accuracy_at(confidence: Floats, right: Bools, coverage: float) -> float:
    """The accuracy of the most confident rows: `coverage` of all, rounded up; 0 without rows."""
    curve = accuracy_by_coverage(confidence, right)
    if not len(curve):
        return 0.0
    # 0.95 · 20 is 19.000000000000004 in some orders of rounding.
    kept = max(1, math.ceil(round(coverage * len(curve), 9)))
    return float(curve[kept - 1])
