"""Groups requests by what they mean, and leaves out those that mean what nobody else does.

Pure and deterministic. A tree of a sample by average link (Sokal and Michener 1958), made with chains of
nearest neighbours (Murtagh 1983). Of the tree those branches are taken that hold together longest before they
break up or are swallowed: the excess of mass of HDBSCAN (Campello, Moulavi and Sander 2013), so that each
group is cut where its own gap is. Every other request joins the group that it is nearest to, or none.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]

SAMPLE_ROWS = 3_000
"""Rows that the tree is made of: its matrix takes 36 MB and half a second."""
CHANCE_ROWS = 600
"""Rows from whose pairs it is seen how near two are by chance."""
LEAST_SAMPLED = 8
"""Sampled rows that make a group. Of a bank's 77 intents and CLINC150's, 5 found more and smaller ones."""
CORE = 0.75
"""Share of the median nearness to its group that a member must have; what has less is left out."""
DEVIATIONS = 3.0
"""Robust standard deviations (1.4826 times the median absolute deviation) by which a group's members must be
nearer to each other than rows of different groups: the usual rule for outliers. The cosine of two random
directions has the standard deviation 1 / √d."""
NOBODY = -1

_ABSENT = np.float32(-2)
"""Less than any cosine."""
_FINEST = 1e-3
"""Distance below which rows are the same."""


@dataclass(slots=True)
class _Tree:
    """A binary tree. Its first nodes are the rows, each other joins two before it, the last is the root."""

    children: list[tuple[int, int]]
    """Of node n + k."""
    level: list[float]
    """Average cosine at which a node came about; 1 for a row."""
    size: list[int]

    @property
    def rows(self) -> int:
        return len(self.size) - len(self.children)

    def leaves(self, node: int) -> list[int]:
        """The rows under a node, ascending."""
        stack, found = [node], []
        while stack:
            item = stack.pop()
            if item < self.rows:
                found.append(item)
            else:
                stack += self.children[item - self.rows]
        return sorted(found)


def groups(rows: Floats) -> Integers:
    """The group of each row, from 0; -1 if it is in none.

    Args:
        rows: (n, d), each of unit length.
    """
    labels = np.full(len(rows), NOBODY, np.int64)
    sampled = np.unique(np.linspace(0, len(rows) - 1, min(len(rows), SAMPLE_ROWS)).astype(np.int64))
    if len(sampled) < LEAST_SAMPLED:
        return labels
    sample = rows[sampled]
    cosines = sample @ sample.T
    few = np.arange(0, len(sample), max(1, len(sample) // CHANCE_ROWS))
    pairs = cosines[np.ix_(few, few)]
    branches = _branches(sample, _tree(cosines))
    own = np.full(len(sample), NOBODY)
    for number, members in enumerate(branches):
        own[members] = number
    least = _by_chance(pairs, own[few], rows.shape[1])
    means: list[Floats] = []
    floors: list[float] = []
    for members in branches:
        mean = sample[members].mean(axis=0)
        if _nearness(mean, len(members)) >= least:
            labels[sampled[members]] = len(means)
            means.append(mean)
            floors.append(float((sample[members] @ mean).min()))
    others = np.setdiff1d(np.arange(len(rows)), sampled)
    if means and len(others):
        near = rows[others] @ np.stack(means).T
        best = near.argmax(axis=1)
        fits = near[np.arange(len(others)), best] >= np.array(floors)[best]
        labels[others[fits]] = best[fits]
    return labels


def _branches(sample: Floats, tree: _Tree) -> list[Integers]:
    """The rows of each steady branch, without those at its edge."""
    found = []
    # Born at 0, where two have nothing in common: so all rows together may be one group too.
    for node in _steady(tree, len(tree.size) - 1, 0.0)[1]:
        members = np.array(tree.leaves(node), np.int64)
        near = sample[members] @ sample[members].mean(axis=0)
        members = members[near >= CORE * np.median(near)]
        if len(members) >= LEAST_SAMPLED:
            found.append(members)
    return found


def _by_chance(pairs: Floats, own: Integers, dimensions: int) -> float:
    """Cosine that rows of different groups have hardly ever.

    Args:
        pairs: (n, n), cosines of some rows.
        own: (n,), the branch of each; -1 if it is in none.
    """
    least = DEVIATIONS / math.sqrt(dimensions)
    apart = np.triu(own[:, None] != own[None], 1)
    if not apart.any():
        return least
    strange = pairs[apart]
    median = float(np.median(strange))
    return max(least, median + DEVIATIONS * 1.4826 * float(np.median(np.abs(strange - median))))


def _nearness(mean: Floats, count: int) -> float:
    """Average cosine of two different rows of a group, from their mean."""
    return (count * float(mean @ mean) - 1) / (count - 1)


def _tree(cosines: Floats) -> _Tree:
    """Average link, in the place of `cosines`.

    Two that are each other's nearest can be joined at once, whatever else is still open.
    """
    count = len(cosines)
    near = cosines
    np.fill_diagonal(near, _ABSENT)
    size = np.ones(count, np.float32)
    alive = np.ones(count, bool)
    joins: list[tuple[float, int, int]] = []
    chain: list[int] = []
    while len(joins) < count - 1:
        if not chain:
            chain = [int(alive.argmax())]
        row = near[chain[-1]]
        best = int(row.argmax())
        if len(chain) < 2 or row[chain[-2]] < row[best]:
            chain.append(best)
            continue
        first, second = sorted((chain.pop(), chain.pop()))
        joins.append((float(near[first, second]), first, second))
        both = (size[first] * near[first] + size[second] * near[second]) / (size[first] + size[second])
        alive[second] = False
        both[~alive] = _ABSENT
        both[first] = _ABSENT
        near[first] = near[:, first] = both
        near[second] = near[:, second] = _ABSENT
        size[first] += size[second]
    # Chains find the joins in another order than that of their levels.
    tree = _Tree([], [1.0] * count, [1] * count)
    top = list(range(count))
    for level, first, second in sorted(joins, key=lambda join: -join[0]):
        pair = (top[first], top[second])
        tree.children.append(pair)
        tree.level.append(min(level, tree.level[pair[0]], tree.level[pair[1]]))
        tree.size.append(tree.size[pair[0]] + tree.size[pair[1]])
        top[first] = len(tree.size) - 1
    return tree


def _split(tree: _Tree, node: int) -> tuple[int, tuple[int, ...]]:
    """The first node from here downwards that breaks into two large branches, and these."""
    while node >= tree.rows:
        pair = tree.children[node - tree.rows]
        small, large = sorted(pair, key=lambda item: tree.size[item])
        if tree.size[small] >= LEAST_SAMPLED:
            return node, pair
        if tree.size[large] < LEAST_SAMPLED:
            break
        node = large
    return node, ()


def _steady(tree: _Tree, node: int, born: float) -> tuple[float, list[int]]:
    """The mass of the best branches from a node downwards, and these branches.

    A branch's mass is, summed over its rows, how long each stays in it: from where the branch parts from its
    sibling to where the row, or the branch, falls off.
    """
    end, branches = _split(tree, node)
    mass, item = 0.0, node
    while item != end:
        small, large = sorted(tree.children[item - tree.rows], key=lambda child: tree.size[child])
        mass += tree.size[small] * (_age(tree.level[item]) - _age(born))
        item = large
    mass += tree.size[end] * (_age(tree.level[end]) - _age(born))
    inner = [_steady(tree, branch, tree.level[end]) for branch in branches]
    if sum(found for found, _ in inner) > mass:
        return sum(found for found, _ in inner), [item for _, found in inner for item in found]
    return mass, [node]


def _age(cosine: float) -> float:
    # Halving the distance is as long a time anywhere on the scale.
    return -math.log(max(_FINEST, 1 - cosine))
