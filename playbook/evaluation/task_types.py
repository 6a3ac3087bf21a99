"""How well the general model tells the kind of work, and the target that follows from it.

Each request goes through the code that serves it, alone and on one thread, so the figures are those of
production, and so is the time. Abstentions: a request in a language that the model does not know has no
guess, and counts as wrong. One whose best probability is under the threshold is abstained from in production
too, but its guess counts here: what a threshold is worth is what the risk-coverage table tells.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from playbook.evaluation import metrics
from playbook.evaluation.metrics import NO_GUESS, Bools, Floats, Ints
from playbook.evaluation.rows import TASK_TYPES, LabelledRow
from services.classifier.core.general import target_probability
from services.classifier.core.reading import Reading
from services.common.seen import Seen
from services.common.words import Target, label

CLASSES = len(TASK_TYPES)
WARM_UP_ROWS = 16
"""Requests that are read before the clock counts."""
CURVE_COVERAGES = tuple(share / 50 for share in range(5, 51))
"""10 to 100 %: fewer rows than that are noise."""
DIGITS = 4
"""After the point, of shares in reports."""


class Reads(Protocol):
    """What reads requests: `services.classifier.adapters.reader.Reader`."""

    def read(self, requests: Sequence[Seen], /) -> list[Reading]:
        """One reading for each request."""


@dataclass(frozen=True, slots=True)
class Outcomes:
    """What was said of each row, and what is true; all arrays are of shape (n,)."""

    sources: tuple[str, ...]
    actual: Ints
    """Index into `TASK_TYPES`."""
    predicted: Ints
    confidence: Floats
    """Probability of the predicted task type."""
    target_actual: Ints
    """1 for sovereign, 0 for cloud."""
    target_predicted: Ints
    target_confidence: Floats
    """Probability of the predicted target: the sum over its task types."""
    abstained: Bools
    """In production nothing is said of it."""
    latency_ms: Floats


def outcomes(
    rows: Sequence[LabelledRow],
    reader: Reads,
    abstain_below: float,
    progress: Callable[[], object] = lambda: None,
) -> Outcomes:
    """Reads each row by itself.

    Args:
        rows: at least one.
        reader: with one thread.
        abstain_below: the general model's threshold.
        progress: called after each row.
    """
    for row in rows[:WARM_UP_ROWS]:
        reader.read([row.seen])
    probabilities = np.zeros((len(rows), CLASSES), np.float32)
    latency_ms = np.empty(len(rows))
    for index, row in enumerate(rows):
        began_ns = time.perf_counter_ns()
        reading = reader.read([row.seen])[0]
        latency_ms[index] = (time.perf_counter_ns() - began_ns) / 1e6
        probabilities[index] = reading.task_types
        progress()
    guessed = probabilities.any(axis=1)
    sovereign = target_probability(probabilities).astype(np.float64)
    confidence = probabilities.max(axis=1).astype(np.float64)
    return Outcomes(
        sources=tuple(row.source for row in rows),
        actual=np.array([TASK_TYPES.index(row.task_type) for row in rows]),
        predicted=np.where(guessed, probabilities.argmax(axis=1), NO_GUESS),
        confidence=confidence,
        target_actual=np.array([int(row.target is Target.SOVEREIGN) for row in rows]),
        target_predicted=np.where(guessed, (sovereign > 0.5).astype(np.int64), NO_GUESS),
        target_confidence=np.where(guessed, np.maximum(sovereign, 1 - sovereign), 0.0),
        abstained=~guessed | (confidence < abstain_below),
        latency_ms=latency_ms,
    )


def report(found: Outcomes) -> dict[str, Any]:
    """The figures, as `homeward classifier evaluate --json` prints them."""
    guessed = found.predicted != NO_GUESS
    right, target_right = _right(found)
    counts = metrics.confusion(found.predicted, found.actual, CLASSES)
    return {
        "n": len(right),
        **_shares(right, target_right),
        "macro_f1": _rounded(metrics.macro_f1(found.predicted, found.actual, CLASSES)),
        "ece": _rounded(metrics.expected_calibration_error(found.confidence[guessed], right[guessed])),
        "tier_ece": _rounded(
            metrics.expected_calibration_error(found.target_confidence[guessed], target_right[guessed])
        ),
        "abstained": _rounded(float(found.abstained.mean())),
        "risk_coverage": [
            {
                "coverage": coverage,
                "accuracy": _rounded(metrics.accuracy_at(found.confidence, right, coverage)),
                "tier_accuracy": _rounded(
                    metrics.accuracy_at(found.target_confidence, target_right, coverage)
                ),
            }
            for coverage in metrics.COVERAGES
        ],
        "by_class": {
            label(task_type): {
                "n": figures.rows,
                "precision": _rounded(figures.precision),
                "recall": _rounded(figures.recall),
                "f1": _rounded(figures.f1),
            }
            for task_type, figures in zip(
                TASK_TYPES, metrics.by_class(found.predicted, found.actual, CLASSES), strict=True
            )
        },
        "by_source": _by_group(found, found.sources),
        "confusion": {
            "labels": [label(task_type) for task_type in TASK_TYPES],
            "matrix": counts[:, :CLASSES].tolist(),
            "no_guess": counts[:, CLASSES].tolist(),
        },
        "latency_ms": {
            "p50": round(float(np.percentile(found.latency_ms, 50)), 2),
            "p99": round(float(np.percentile(found.latency_ms, 99)), 2),
        },
    }


def curves(found: Outcomes) -> dict[str, Any]:
    """What pictures need beside the report: the whole risk-coverage curves, and the reliability bins."""
    guessed = found.predicted != NO_GUESS
    right, target_right = _right(found)
    return {
        "coverage": list(CURVE_COVERAGES),
        "accuracy": [_rounded(metrics.accuracy_at(found.confidence, right, at)) for at in CURVE_COVERAGES],
        "tier_accuracy": [
            _rounded(metrics.accuracy_at(found.target_confidence, target_right, at)) for at in CURVE_COVERAGES
        ],
        "reliability": _bins(found.confidence[guessed], right[guessed]),
        "tier_reliability": _bins(found.target_confidence[guessed], target_right[guessed]),
    }


def by_kind(found: Outcomes, kinds: Mapping[str, str]) -> dict[str, Any]:
    """The figures by kind of source.

    Args:
        found: of a file all of whose sources have a kind.
        kinds: the kind of each source.
    """
    return _by_group(found, [kinds[source] for source in found.sources])


def _bins(confidence: Floats, right: Bools) -> list[dict[str, Any]]:
    return [
        {"rows": part.rows, "confidence": _rounded(part.confidence), "accuracy": _rounded(part.accuracy)}
        for part in metrics.reliability(confidence, right)
        if part.rows
    ]


def _by_group(found: Outcomes, groups: Sequence[str]) -> dict[str, Any]:
    right, target_right = _right(found)
    figures = {}
    for name in sorted(set(groups)):
        inside = np.array([group == name for group in groups])
        figures[name] = {
            "n": int(inside.sum()),
            **_shares(right[inside], target_right[inside]),
            "abstained": _rounded(float(found.abstained[inside].mean())),
        }
    return figures


def _shares(right: Bools, target_right: Bools) -> dict[str, Any]:
    return {
        "accuracy": _rounded(float(right.mean())),
        "accuracy_wilson_95": _interval(right),
        "tier_accuracy": _rounded(float(target_right.mean())),
        "tier_accuracy_wilson_95": _interval(target_right),
    }


def _right(found: Outcomes) -> tuple[Bools, Bools]:
    return found.predicted == found.actual, found.target_predicted == found.target_actual


def _interval(right: Bools) -> list[float]:
    return [_rounded(bound) for bound in metrics.wilson(int(right.sum()), len(right))]


def _rounded(share: float) -> float:
    return round(share, DIGITS)
