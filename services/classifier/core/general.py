"""The general model: how likely each kind of work is, for traffic that nobody has registered.

Pure. One linear layer over three views of a request (what the fine-tuned encoder makes of it, its hashed
n-grams, its form), scaled so that its probabilities are as right as they say. A request that carries tools is
TOOL_USE by rule: no text tells that better.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from services.classifier.core.ngrams import NGRAM_BUCKETS
from services.classifier.core.structure import FEATURES, structure
from services.common.seen import Seen
from services.common.words import TaskType

TASK_TYPES = 10
SOVEREIGN_TASK_TYPES = 6
"""Task types 1 to 6 are routine work, which may come home; the others ask for a frontier model."""
_TOOL_USE = TaskType.TOOL_USE - 1

Floats = NDArray[np.float32]
Ngrams = tuple[NDArray[np.int32], Floats]
"""Indices and values, as `ngrams` gives them."""


@dataclass(frozen=True, slots=True)
class GeneralModel:
    """The weights. The rows of each matrix are what it reads, the columns the task types."""

    state_weights: Floats
    """(d, 10): of the encoder's states."""
    ngram_weights: Floats
    """(NGRAM_BUCKETS, 10): of hashed n-grams."""
    structure_weights: Floats
    """(features, 10): of the request's form."""
    bias: Floats
    """(10,)."""
    tool_use_with_tools: float
    """Probability that a request which carries tools is TOOL_USE."""
    abstain_below: float
    """Probability under which the kind of work is not told."""

    @classmethod
    def from_file(cls, path: Path) -> GeneralModel:
        """Reads `heads.npz`.

        Raises:
            OSError: there is no such file.
            ValueError: its matrices are not of the shapes that this code computes.
        """
        with np.load(path, allow_pickle=False) as held:
            names = tuple(str(name) for name in held["features"])
            model = cls(
                state_weights=held["state_weights"].astype(np.float32),
                ngram_weights=held["ngram_weights"].astype(np.float32),
                structure_weights=held["structure_weights"].astype(np.float32),
                bias=held["bias"].astype(np.float32),
                tool_use_with_tools=float(held["tool_use_with_tools"]),
                abstain_below=float(held["abstain_below"]),
            )
        rows = (len(model.ngram_weights), len(model.structure_weights), *model.bias.shape)
        if names != FEATURES or rows != (NGRAM_BUCKETS, len(FEATURES), TASK_TYPES):
            raise ValueError(f"{path} was made by other code; `make train-classifier` makes it anew")
        return model

    def task_types(self, seen: Sequence[Seen], states: Floats, ngrams: Sequence[Ngrams]) -> Floats:
        """How likely each task type is.

        Args:
            seen: n requests.
            states: (n, d), of their windows.
            ngrams: n, of their windows.

        Returns:
            (n, 10): calibrated probabilities of TaskType 1 to 10.
        """
        if not seen:
            return np.empty((0, TASK_TYPES), np.float32)
        scores = states @ self.state_weights + self.bias
        scores += np.stack([structure(one) for one in seen]) @ self.structure_weights
        for row, (indices, values) in enumerate(ngrams):
            scores[row] += values @ self.ngram_weights[indices]
        raised = np.exp(scores - scores.max(-1, keepdims=True))
        likely = raised / raised.sum(-1, keepdims=True)
        for row, one in enumerate(seen):
            if one.tool_names:
                likely[row] = (1 - self.tool_use_with_tools) / (TASK_TYPES - 1)
                likely[row, _TOOL_USE] = self.tool_use_with_tools
        return np.asarray(likely, dtype=np.float32)


def target_probability(task_types: Floats) -> Floats:
    """(n, 10) → (n,): how likely each request is routine work, which may come home."""
    return np.asarray(task_types[..., :SOVEREIGN_TASK_TYPES].sum(-1), dtype=np.float32)
