"""What the model makes of one request: the numbers that everything else is decided on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Reading:
    """One request, read."""

    embedding: NDArray[np.float32]
    """(384,), unit length: the sentence embedding of its window."""
    ngram_indices: NDArray[np.int32]
    """(k,): which hashed n-grams it has."""
    ngram_values: NDArray[np.float32]
    """(k,), unit length: how much of each."""
    task_types: NDArray[np.float32]
    """(10,): calibrated probabilities of TaskType 1 to 10; zeros if its language is not known."""
    language_known: bool
    """False for a language that the model has not learnt."""
