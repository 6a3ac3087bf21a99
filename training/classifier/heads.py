"""The head beside the encoder's own, how the two are weighed, and how sure their sum may be.

All is linear, so what is served is a matrix for each view of a request: services/classifier/core/general.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax
from sklearn.linear_model import LogisticRegression

from services.classifier.core.ngrams import NGRAM_BUCKETS, ngrams
from services.classifier.core.structure import structure
from services.classifier.core.window import window
from services.common.seen import Seen
from training.classifier.network import TASKS

STRUCTURE_SCALE = 0.3
"""Of the structure features beside n-grams of length 1, so that the penalty weighs them alike."""
PENALTY = 10.0
"""scikit-learn's C: the inverse of the penalty."""
SHARES = (0.0, 0.1, 0.2, 0.3, 0.5, 0.8)
"""Of the second head's scores in the sum, that are tried."""
SURE_TARGET = 0.94
"""Of the targets of what is told, that should be right."""

Floats = NDArray[np.floating]


@dataclass(frozen=True, slots=True)
class Head:
    """A linear head over n-grams and structure."""

    ngram_weights: Floats
    """(NGRAM_BUCKETS, 10)."""
    structure_weights: Floats
    """(features, 10)."""
    bias: Floats
    """(10,)."""

    def scores(self, seen: Sequence[Seen]) -> Floats:
        """(n, 10)."""
        words, form = views(seen)
        return np.asarray(words @ self.ngram_weights + form @ self.structure_weights + self.bias)


def views(seen: Sequence[Seen]) -> tuple[scipy.sparse.csr_matrix, Floats]:
    """The hashed n-grams and the structure features of requests."""
    pairs = [ngrams(window(one)) for one in seen]
    starts = np.concatenate([[0], np.cumsum([len(indices) for indices, _ in pairs])])
    words = scipy.sparse.csr_matrix(
        (np.concatenate([v for _, v in pairs]), np.concatenate([i for i, _ in pairs]), starts),
        shape=(len(pairs), NGRAM_BUCKETS),
    )
    return words, np.stack([structure(one) for one in seen])


def fit(seen: Sequence[Seen], labels: NDArray[np.int64], weights: Floats) -> Head:
    """Fits the second head."""
    words, form = views(seen)
    joined = scipy.sparse.hstack([words, form * STRUCTURE_SCALE]).tocsr()
    model = LogisticRegression(C=PENALTY, max_iter=80, tol=1e-3)
    model.fit(joined, labels, sample_weight=weights)
    if len(model.classes_) != TASKS:
        raise ValueError("the rows lack a task type")
    return Head(
        model.coef_.T[:NGRAM_BUCKETS], model.coef_.T[NGRAM_BUCKETS:] * STRUCTURE_SCALE, model.intercept_
    )


def sharpness(scores: Floats, labels: NDArray[np.int64]) -> tuple[float, float]:
    """What to multiply scores with so that their probabilities are calibrated, and the log loss then.

    Guo et al., "On Calibration of Modern Neural Networks", ICML 2017: one temperature.
    """

    def loss(log_factor: float) -> float:
        likely = log_softmax(scores * np.exp(log_factor), axis=1)
        return -float(likely[np.arange(len(labels)), labels].mean())

    found = minimize_scalar(loss, bounds=(-3, 2), method="bounded")
    return float(np.exp(found.x)), float(found.fun)


def shared(first: Floats, second: Floats, labels: NDArray[np.int64]) -> tuple[float, float]:
    """The second head's share and the sharpness of the sum that give the least log loss."""
    tried = [(sharpness(first + share * second, labels), share) for share in SHARES]
    (factor, _), share = min(tried, key=lambda one: one[0][1])
    return share, factor
