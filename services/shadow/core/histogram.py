"""The evidence of an experiment: how many votes had which difference, as integers.

A vote is D = agree(sovereign, cloud) − agree(cloud again, cloud), in [−1, 1]. It is counted in the bin
⌊1000·D⌋, so that evidence is order-free, merges over shards by addition, and replays bit for bit. Flooring
understates D by less than 0.001, which can't make a worse model look ready; the process that rejects
takes the bin's upper end for the same reason.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

BINS_PER_UNIT = 1000


@dataclass(frozen=True, slots=True)
class Histogram:
    """Votes by bin; bins without votes are left out."""

    counts: Mapping[int, int] = field(default_factory=dict)

    @property
    def votes(self) -> int:
        """How many there are."""
        return sum(self.counts.values())

    def mean_square(self) -> float | None:
        """Of the votes; the share of those that are not zero where all are -1, 0 or 1. None without votes."""
        if not self.counts:
            return None
        return sum(count * (bin_ / BINS_PER_UNIT) ** 2 for bin_, count in self.counts.items()) / self.votes

    def __add__(self, other: Histogram) -> Histogram:
        """The votes of both."""
        counts = dict(self.counts)
        for bin_, count in other.counts.items():
            counts[bin_] = counts.get(bin_, 0) + count
        return Histogram(counts)

    def lower_values(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The bins' lower ends, shape (k,), ascending, and their counts, shape (k,)."""
        bins = np.array(sorted(self.counts), dtype=np.float64)
        return bins / BINS_PER_UNIT, np.array([self.counts[int(bin_)] for bin_ in bins], dtype=np.float64)

    def upper_values(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The bins' upper ends, at most 1, and their counts."""
        values, counts = self.lower_values()
        return np.minimum(values + 1 / BINS_PER_UNIT, 1.0), counts

    def sha256(self) -> bytes:
        """The hash of the counts, 32 bytes: of lines `BIN COUNT`, ascending."""
        text = "".join(f"{bin_} {self.counts[bin_]}\n" for bin_ in sorted(self.counts))
        return hashlib.sha256(text.encode()).digest()


def histogram(votes: Iterable[Fraction | float]) -> Histogram:
    """Counts votes.

    Raises:
        ValueError: one is not in [−1, 1].
    """
    counts: dict[int, int] = {}
    for vote in votes:
        bin_ = bin_of(vote)
        counts[bin_] = counts.get(bin_, 0) + 1
    return Histogram(counts)


def bin_of(vote: Fraction | float) -> int:
    """⌊1000·D⌋, exactly: a float stands for the decimal that it prints as.

    Raises:
        ValueError: it is not in [−1, 1].
    """
    exact = vote if isinstance(vote, Fraction) else Fraction(repr(vote))
    if not -1 <= exact <= 1:
        raise ValueError(f"a difference of agreements lies in -1 to 1, got {vote}")
    return (exact * BINS_PER_UNIT).__floor__()
