"""What a scorer's numbers say beside people's: correlations, shares of pairs, and how sure they are."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

RESAMPLES = 2_000
SEED = 20_261_129


@dataclass(frozen=True, slots=True)
class Figure:
    """A mean over cases, with its 95 % interval, drawn by groups: the cases of one prompt hang together."""

    mean: float
    low: float
    high: float
    cases: int
    groups: int


@dataclass(frozen=True, slots=True)
class Case:
    """One case of a group: a pair that was told right (1), wrong (0) or not (½), or a correlation."""

    group: Hashable
    value: float


def figure(cases: Sequence[Case]) -> Figure:
    """The mean of cases.

    Raises:
        ValueError: there are none.
    """
    if not cases:
        raise ValueError("no cases")
    sums: dict[Hashable, list[float]] = {}
    for case in cases:
        entry = sums.setdefault(case.group, [0.0, 0.0])
        entry[0] += case.value
        entry[1] += 1
    table = np.array(list(sums.values()))
    drawn = np.random.default_rng(SEED).integers(0, len(table), (RESAMPLES, len(table)))
    totals = table[drawn].sum(axis=1)
    low, high = np.quantile(totals[:, 0] / totals[:, 1], [0.025, 0.975])
    mean = table[:, 0].sum() / table[:, 1].sum()
    return Figure(float(mean), float(low), float(high), len(cases), len(table))


def halves(cases: Sequence[Case]) -> tuple[list[Case], list[Case]]:
    """Every other group from the first on, to choose on; and the rest, to report on."""
    order: dict[Hashable, int] = {}
    for case in cases:
        order.setdefault(case.group, len(order))
    chosen_on = [case for case in cases if order[case.group] % 2 == 0]
    return chosen_on, [case for case in cases if order[case.group] % 2 == 1]


def told(first: float, second: float, *, first_wins: bool) -> float:
    """Whether two scores say what people said: 1, 0, or one half for equal scores."""
    return 0.5 if first == second else float((first > second) == first_wins)


def spearman(scores: ArrayLike, human: ArrayLike) -> float | None:
    """The rank correlation; None where one of both has the same value throughout."""
    a, b = _ranks(np.asarray(scores, np.float64)), _ranks(np.asarray(human, np.float64))
    if a.std() == 0 or b.std() == 0:
        return None
    return float(np.corrcoef(a, b)[0, 1])


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """From 1; equal values share the mean of theirs."""
    inverse, counts = np.unique(values, return_inverse=True, return_counts=True)[1:]
    means: NDArray[np.float64] = np.cumsum(counts) - (counts - 1) / 2
    return means[inverse]
