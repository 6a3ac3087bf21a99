"""How much a request resembles each workload's examples: one regression for all workloads.

Pure. Kernel ridge regression of "belongs to it" (1) or not (0) on the meaning and the words of the examples.
The background's rows belong to none. With many examples only some are anchors (Williams and Seeger, "Using
the Nyström method to speed up kernel machines", 2001). What a row would score if it had not been learnt from
has a closed form (Allen, "The relationship between variable selection and data augmentation", 1974): no
second fit is needed to judge the first.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest

import numpy as np
from numpy.typing import NDArray

from services.classifier.core.reading import Reading

SHARPNESS = 3.0
"""Of the kernel exp(SHARPNESS · (cosine - 1)) of two embeddings. This and the next two were chosen on
CLINC150's validation split and a third of Banking77's train split."""
NGRAM_SHARE = 0.1
"""What the cosine of two requests' n-grams counts beside it."""
RIDGE = 0.2
"""How much the regression may leave unexplained."""
NGRAM_FOLD = 1024
"""Dimensions that the hashed n-grams are folded into: enough for a cosine."""
MAX_ANCHORS = 1536
"""All of the background and as many examples, the same number of each workload."""
_CHUNK = 512
_JITTER = 1e-5
"""Relative; the same example twice would make the equations singular."""

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Points:
    """Some requests, as rows."""

    embeddings: Floats
    """(n, 384), rows of length 1."""
    ngrams: Floats
    """(n, NGRAM_FOLD)."""

    def __getitem__(self, rows: NDArray[np.int64] | slice) -> Points:
        return Points(self.embeddings[rows], self.ngrams[rows])


def points(readings: Sequence[Reading]) -> Points:
    """The rows of some readings."""
    folded = np.zeros((len(readings), NGRAM_FOLD), np.float32)
    for row, reading in enumerate(readings):
        np.add.at(folded[row], reading.ngram_indices % NGRAM_FOLD, reading.ngram_values)
    if not readings:
        return Points(np.empty((0, 0), np.float32), folded)
    return Points(np.stack([reading.embedding for reading in readings]), folded)


def joined(parts: Sequence[Points]) -> Points:
    """The rows of several, one after another."""
    return Points(
        np.concatenate([part.embeddings for part in parts]), np.concatenate([part.ngrams for part in parts])
    )


@dataclass(frozen=True, slots=True)
class Regression:
    """Scores each workload: about 1 for a request like its examples, about 0 for one like none of them."""

    anchors: Floats
    """(m, 384)."""
    weights: Floats
    """(m, workloads)."""
    ngram_weights: Floats
    """(NGRAM_FOLD, workloads)."""

    def scores(self, reading: Reading) -> Floats:
        """(workloads,): of one request."""
        near = np.exp(SHARPNESS * (self.anchors @ reading.embedding - 1))
        words = reading.ngram_values @ self.ngram_weights[reading.ngram_indices % NGRAM_FOLD]
        return np.asarray(near @ self.weights + words, dtype=np.float32)


@dataclass(frozen=True, slots=True)
class LeftOut:
    """What the rows score that were learnt from, if they had not been."""

    examples: Floats
    """(examples, workloads): each without itself."""
    strangers: Floats
    """(examples, workloads): each without its whole workload, as if nobody had registered that; its own
    workload's score is -inf."""
    background: Floats
    """(background, workloads): each without itself."""


def fit(groups: Sequence[Points], background: Points) -> tuple[Regression, LeftOut]:
    """Learns from the examples of each workload.

    Args:
        groups: the examples of each workload; at least one workload, each with at least one example.
        background: requests of no workload.
    """
    rows = joined([*groups, background])
    spans = list(_spans([len(group.embeddings) for group in groups]))
    examples = spans[-1].stop
    targets = np.zeros((len(rows.embeddings), len(groups)), np.float32)
    for column, span in enumerate(spans):
        targets[span, column] = 1
    chosen = _anchors(spans, range(examples, len(targets)))
    kernel = _kernel(rows, rows[chosen])
    normal = (kernel.T @ kernel).astype(np.float64) + RIDGE * kernel[chosen]
    normal[np.diag_indices_from(normal)] *= 1 + _JITTER
    inverse = np.linalg.inv(normal)
    weights = inverse @ (kernel.T @ targets).astype(np.float64)
    fitted = kernel @ weights
    # The hat matrix, which makes `fitted` of the targets, is solved @ kernel.T.
    solved = np.empty_like(kernel)
    for start in range(0, len(kernel), _CHUNK):
        solved[start : start + _CHUNK] = kernel[start : start + _CHUNK] @ inverse
    leverages = np.einsum("nm,nm->n", solved, kernel)
    left_out = (fitted - leverages[:, None] * targets) / (1 - leverages)[:, None]
    strangers = np.empty((examples, len(groups)), np.float32)
    for column, span in enumerate(spans):
        hat = solved[span] @ kernel[span].T
        strangers[span] = np.linalg.solve(np.eye(len(hat)) - hat, fitted[span] - hat @ targets[span])
        strangers[span, column] = -np.inf
    anchors = rows[chosen]
    regression = Regression(
        anchors.embeddings,
        weights.astype(np.float32),
        (NGRAM_SHARE * anchors.ngrams.T @ weights).astype(np.float32),
    )
    whole = left_out.astype(np.float32)
    return regression, LeftOut(whole[:examples], strangers, whole[examples:])


def _kernel(rows: Points, anchors: Points) -> Floats:
    """(n, m): how near each row is to each anchor."""
    near = np.exp(SHARPNESS * (rows.embeddings @ anchors.embeddings.T - 1))
    return np.asarray(near + NGRAM_SHARE * (rows.ngrams @ anchors.ngrams.T), dtype=np.float32)


def _spans(sizes: Sequence[int]) -> Iterator[slice]:
    start = 0
    for size in sizes:
        yield slice(start, start + size)
        start += size


def _anchors(spans: Sequence[slice], background: range) -> NDArray[np.int64]:
    """Rows: those of the background, then the first of each workload, the second of each, and so on."""
    rounds = zip_longest(*(range(span.start, span.stop) for span in spans))
    examples = [row for turn in rounds for row in turn if row is not None]
    return np.array([*background, *examples][:MAX_ANCHORS], np.int64)
