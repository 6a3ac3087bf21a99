"""The head over the organisation's own few examples: whose a request resembles, or nobody's.

Pure. Two questions are answered from the same two numbers of a request, the best workload's score and its
lead over the second. Is the request any workload's at all? Is it this one's? Both are logistic regressions
(Platt, "Probabilistic outputs for support vector machines", 1999), fitted over all workloads together, for
one has too few examples to be calibrated by itself. They are fitted on scores of examples that were left out.
What a stranger scores is known too: leave a whole workload out, and its examples are strangers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.classifier.core.background import Background
from services.classifier.core.reading import Reading
from services.classifier.core.regression import Floats, LeftOut, Regression, fit, points

STRANGER_SHARES = (0.05, 0.2)
"""Requests that are none of the workloads', for each that is: those that look like a workload that is not
registered, and those that look like anything. They say how careful the head is."""
CONFIDENCE_SHARES = (0.02, 0.02)
"""The same, among the requests that it has not abstained from."""
_PRIOR = (0.0, 1.0, 1.0)
_PRIOR_WEIGHT = 0.003
"""Of the coefficients before anything is seen: a better score never counts against a workload."""
_ROUNDS = 30
_LONGEST_STEP = 3.0
_LEAST_SCORE = 1e-3

Doubles = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Guess:
    """A workload that a request resembles."""

    workload: str
    confidence: float
    """Probability that the request is this workload's."""


@dataclass(frozen=True, slots=True)
class HeldOut:
    """How the head does on its own examples, each named by a head that has not seen it."""

    right: Mapping[str, int]
    """Examples by workload that are given their own workload's name. An abstention is not right."""
    count: Mapping[str, int]
    """Examples by workload."""


@dataclass(frozen=True, slots=True)
class ExampleHead:
    """Names requests by resemblance. Never changed: with a registration another is fitted."""

    names: tuple[str, ...]
    """The workloads that have examples."""
    regression: Regression | None
    """Their scores; None if there are none."""
    accepts: Doubles
    """(3,): weights of the evidence that a request is of some workload."""
    confides: Doubles
    """(3,): weights of the evidence that it is of the best one."""
    own_scores: Mapping[str, Floats]
    """What each workload's examples score for it when they are left out, rising."""
    held_out: HeldOut
    """How the head does on its examples when they are left out."""

    @classmethod
    def fit(cls, groups: Mapping[str, Sequence[Reading]], background: Background) -> ExampleHead:
        """Learns the workloads.

        Args:
            groups: readings of each workload's examples; a workload without any is passed over.
            background: requests that belong to none.
        """
        names = tuple(sorted(name for name in groups if groups[name]))
        if not names:
            return cls((), None, np.array(_PRIOR), np.array(_PRIOR), {}, HeldOut({}, {}))
        regression, left_out = fit([points(groups[name]) for name in names], background.points)
        owners = np.repeat(np.arange(len(names)), [len(groups[name]) for name in names])
        own_scores = left_out.examples[np.arange(len(owners)), owners]
        right = left_out.examples.argmax(-1) == owners
        accepts = _calibrated(left_out, right, STRANGER_SHARES)
        named = right & _accepted(_evidence(left_out.examples), accepts)
        return cls(
            names,
            regression,
            accepts,
            _calibrated(left_out, right, CONFIDENCE_SHARES),
            {name: np.sort(own_scores[owners == column]) for column, name in enumerate(names)},
            HeldOut(
                {name: int(named[owners == column].sum()) for column, name in enumerate(names)},
                {name: len(groups[name]) for name in names},
            ),
        )

    def guess(self, reading: Reading) -> Guess | None:
        """The workload that the request belongs to, or None if it seems to belong to none."""
        if self.regression is None:
            return None
        scores = self.regression.scores(reading)
        evidence = _evidence(scores[None])
        if not _accepted(evidence, self.accepts)[0]:
            return None
        return Guess(self.names[int(scores.argmax())], float(_probability(evidence @ self.confides)[0]))

    def likeness(self, workload: str, reading: Reading) -> float | None:
        """How well a request fits a workload's examples.

        Returns:
            The share of its examples that fit it no better, each scored as if it were new: evenly spread over
            0 to 1 for requests like the examples. None if the workload has no examples.
        """
        own = self.own_scores.get(workload)
        if own is None or self.regression is None:
            return None
        score = self.regression.scores(reading)[self.names.index(workload)]
        return float(np.searchsorted(own, score, side="right") / len(own))


def _evidence(scores: Floats) -> Doubles:
    """(n, workloads) → (n, 3): 1, the best score's logarithm, its lead over the second or over nothing."""
    padded = np.concatenate([scores, np.zeros((len(scores), 2))], axis=1)
    second, best = np.partition(padded, -2, axis=1)[:, -2:].T
    return np.stack([np.ones(len(scores)), np.log(np.maximum(best, _LEAST_SCORE)), best - second], axis=1)


def _probability(logits: Doubles) -> Doubles:
    return np.asarray(1 / (1 + np.exp(-logits)))


def _accepted(evidence: Doubles, weights: Doubles) -> NDArray[np.bool_]:
    """(n,): whether it is rather a workload's than a stranger."""
    return np.asarray(evidence @ weights >= 0)


def _calibrated(left_out: LeftOut, right: NDArray[np.bool_], shares: tuple[float, float]) -> Doubles:
    """(3,): weights that make the evidence a probability, by Newton's method.

    Args:
        right: (examples,): whether the best workload is the example's own.
        shares: of strangers like workloads and of the background, for each example.
    """
    like, unlike = shares
    strangers = left_out.strangers if left_out.strangers.shape[1] > 1 else left_out.strangers[:0]
    evidence = _evidence(np.concatenate([left_out.examples, strangers, left_out.background]))
    truths = np.zeros(len(evidence))
    truths[: len(right)] = right
    counts = np.concatenate(
        [
            np.ones(len(right)),
            np.full(len(strangers), like),
            np.full(len(left_out.background), unlike * len(right) / len(left_out.background)),
        ]
    )
    weights = prior = np.array(_PRIOR)
    for _ in range(_ROUNDS):
        likely = _probability(evidence @ weights)
        slope = evidence.T @ (counts * (likely - truths)) + _PRIOR_WEIGHT * (weights - prior)
        curvature = (evidence * (counts * likely * (1 - likely))[:, None]).T @ evidence
        step = np.linalg.solve(curvature + _PRIOR_WEIGHT * np.eye(len(prior)), slope)
        # Newton's step overshoots where all is right and the curve is flat.
        weights = weights - step / max(1.0, float(np.abs(step).max()) / _LONGEST_STEP)
    weights[1:] = np.maximum(weights[1:], 0)
    return weights
