"""The background: requests of every kind that belong to nobody's workload.

Pure but for the file. A head that has seen only examples would find every request like one of them.
`python -m training.classifier.background` writes the file; the readings are of one encoder, so with another
encoder it is written anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from services.classifier.core.reading import Reading
from services.classifier.core.regression import Points, points

_TASK_TYPES = 10


@dataclass(frozen=True, slots=True)
class Background:
    """Some hundred readings, as the rows that a head is fitted with."""

    points: Points

    @classmethod
    def of(cls, readings: Sequence[Reading]) -> Background:
        """A background of some readings, at least one."""
        return cls(points(readings))

    @classmethod
    def from_file(cls, path: Path) -> Background:
        """Reads `background.npz`.

        Raises:
            OSError: there is no such file.
            KeyError, ValueError: it is no background.
        """
        with np.load(path, allow_pickle=False) as held:
            embeddings = held["embeddings"].astype(np.float32)
            embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
            ends = np.cumsum(held["ngram_counts"])[:-1]
            indices = np.split(held["ngram_indices"].astype(np.int32), ends)
            values = np.split(held["ngram_values"].astype(np.float32), ends)
        unknown = np.zeros(_TASK_TYPES, np.float32)
        return cls.of(
            [
                Reading(*parts, task_types=unknown, language_known=True)
                for parts in zip(embeddings, indices, values, strict=True)
            ]
        )


def write(path: Path, readings: Sequence[Reading]) -> None:
    """Writes `background.npz`: half precision, for the numbers are of length 1."""
    np.savez_compressed(
        path,
        embeddings=np.stack([reading.embedding for reading in readings]).astype(np.float16),
        ngram_counts=np.array([len(reading.ngram_indices) for reading in readings], np.int32),
        # NGRAM_BUCKETS is 2**16.
        ngram_indices=np.concatenate([reading.ngram_indices for reading in readings]).astype(np.uint16),
        ngram_values=np.concatenate([reading.ngram_values for reading in readings]).astype(np.float16),
    )
