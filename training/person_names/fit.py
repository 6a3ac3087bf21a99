"""Fits the weights: a chain of two states, name or not, over the words that have clues (a linear-chain CRF).

The likelihood is exact (forward and backward), its maximum is sought by L-BFGS, and a penalty on the squares
keeps weights small. What comes out small is dropped.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.sparse import csr_matrix

from services.router.core.identifiers.name_clues import AROUND_ROLES, BONDS, WORD_ROLES

Floats = NDArray[np.float64]

LEAST = 2
"""Times that a clue must have been seen."""
PENALTY = 0.5
DROPPED = 0.1
"""Weights below it are left out."""


@dataclass(frozen=True, slots=True)
class Chain:
    """Words with clues, one after another."""

    clues: Sequence[tuple[str, ...]]
    bonds: Sequence[int]
    """Places in BONDS; the first is that of the chain's start."""
    labels: Sequence[int]
    weight: float = 1.0


def fit(chains: Sequence[Chain], turns: int = 80) -> tuple[list[dict[str, float]], Floats]:
    """The weights of the clues, a table for each role; and those of the bonds: [bond, before, state]."""
    counts: list[Counter[str]] = [Counter() for _ in (*WORD_ROLES, *AROUND_ROLES)]
    for chain in chains:
        for clues in chain.clues:
            for role, clue in enumerate(clues):
                counts[role][clue] += 1
    places: list[dict[str, int]] = []
    size = 0
    for counted in counts:
        kept = sorted(clue for clue, count in counted.items() if count >= LEAST)
        places.append({clue: size + place for place, clue in enumerate(kept)})
        size += len(kept)
    matrix = _matrix(chains, places, size)
    batches = _batches(chains)
    bond_count = len(BONDS)

    def loss(values: Floats) -> tuple[float, Floats]:
        weights, pairs = values[:size], values[size:].reshape(bond_count, 2, 2)
        scores = matrix @ weights
        gradient = np.zeros_like(scores)
        pair_gradient = np.zeros_like(pairs)
        total = 0.0
        for batch in batches:
            total += batch.learn(scores, pairs, gradient, pair_gradient)
        whole = np.concatenate([matrix.T @ gradient, pair_gradient.ravel()])
        return total + PENALTY / 2 * float(values @ values), whole + PENALTY * values

    found = minimize(
        loss, np.zeros(size + bond_count * 4), jac=True, method="L-BFGS-B", options={"maxiter": turns}
    )
    print(f"{size:,} clues, {matrix.shape[0]:,} words, loss {found.fun:,.0f} after {found.nit} turns")
    weights = found.x[:size]
    tables = [
        {clue: float(weights[place]) for clue, place in held.items() if abs(weights[place]) >= DROPPED}
        for held in places
    ]
    return tables, found.x[size:].reshape(bond_count, 2, 2)


def _matrix(chains: Sequence[Chain], places: Sequence[dict[str, int]], size: int) -> csr_matrix:
    columns: list[int] = []
    ends = [0]
    for chain in chains:
        for clues in chain.clues:
            for held, clue in zip(places, clues, strict=True):
                place = held.get(clue)
                if place is not None:
                    columns.append(place)
            ends.append(len(columns))
    return csr_matrix((np.ones(len(columns)), columns, ends), shape=(len(ends) - 1, size))


@dataclass(frozen=True, slots=True)
class _Batch:
    rows: NDArray[np.int64]
    """[chain, step]: rows of the matrix."""
    bonds: NDArray[np.int64]
    labels: NDArray[np.int64]
    weights: Floats

    def learn(self, scores: Floats, pairs: Floats, gradient: Floats, pair_gradient: Floats) -> float:
        """Adds to the gradients, and gives the loss."""
        count, length = self.rows.shape
        unary = scores[self.rows]
        steps = pairs[self.bonds]  # chain, step, before, state
        each = np.arange(count)
        forward = np.zeros((count, length, 2))
        local = np.stack([np.zeros_like(unary), unary], axis=2)
        forward[:, 0] = steps[:, 0, 0] + local[:, 0]
        for step in range(1, length):
            forward[:, step] = (
                np.logaddexp(
                    forward[:, step - 1, 0, None] + steps[:, step, 0],
                    forward[:, step - 1, 1, None] + steps[:, step, 1],
                )
                + local[:, step]
            )
        whole = np.logaddexp(forward[:, -1, 0], forward[:, -1, 1])
        backward = np.zeros((count, length, 2))
        for step in range(length - 2, -1, -1):
            after = (local[:, step + 1] + backward[:, step + 1])[:, None] + steps[:, step + 1]
            backward[:, step] = np.logaddexp(after[:, :, 0], after[:, :, 1])
        state = np.exp(forward + backward - whole[:, None, None])
        gold = np.zeros(count)
        before = np.zeros(count, dtype=np.int64)
        for step in range(length):
            now = self.labels[:, step]
            gold += steps[each, step, before, now] + local[each, step, now]
            if step:
                joint = np.exp(
                    forward[:, step - 1, :, None] + steps[:, step]
                    + (local[:, step] + backward[:, step])[:, None] - whole[:, None, None]
                )  # fmt: skip
            else:
                joint = np.zeros((count, 2, 2))
                joint[:, 0] = state[:, 0]
            joint[each, before, now] -= 1
            np.add.at(pair_gradient, self.bonds[:, step], joint * self.weights[:, None, None])
            before = now
        np.add.at(gradient, self.rows, (state[:, :, 1] - self.labels) * self.weights[:, None])
        return float(((whole - gold) * self.weights).sum())


def _batches(chains: Sequence[Chain]) -> list[_Batch]:
    by_length: dict[int, list[tuple[int, Chain]]] = {}
    row = 0
    for chain in chains:
        by_length.setdefault(len(chain.labels), []).append((row, chain))
        row += len(chain.labels)
    return [
        _Batch(
            np.array([np.arange(start, start + length) for start, _ in held]),
            np.array([chain.bonds for _, chain in held]),
            np.array([chain.labels for _, chain in held]),
            np.array([chain.weight for _, chain in held]),
        )
        for length, held in sorted(by_length.items())
    ]
