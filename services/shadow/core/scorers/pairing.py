"""The pairing of rows with columns that is worth most: the Hungarian method, with potentials."""

from __future__ import annotations

from collections.abc import Sequence

_FAR = 1 << 62


def most(worth: Sequence[Sequence[int]]) -> int:
    """The largest sum of entries of which no two share a row or a column; entries are 0 or more."""
    if not worth or not worth[0]:
        return 0
    if len(worth) > len(worth[0]):
        worth = list(zip(*worth, strict=True))
    rows, columns = len(worth), len(worth[0])
    row_potential, column_potential = [0] * (rows + 1), [0] * (columns + 1)
    row_of = [0] * (columns + 1)  # counted from 1; 0 is none
    for row in range(1, rows + 1):
        row_of[0] = row
        at = 0
        nearest, came_from, done = [_FAR] * (columns + 1), [0] * (columns + 1), [False] * (columns + 1)
        while row_of[at]:
            done[at] = True
            current, step, following = row_of[at], _FAR, 0
            for column in range(1, columns + 1):
                if done[column]:
                    continue
                slack = -worth[current - 1][column - 1] - row_potential[current] - column_potential[column]
                if slack < nearest[column]:
                    nearest[column], came_from[column] = slack, at
                if nearest[column] < step:
                    step, following = nearest[column], column
            for column in range(columns + 1):
                if done[column]:
                    row_potential[row_of[column]] += step
                    column_potential[column] -= step
                else:
                    nearest[column] -= step
            at = following
        while at:
            row_of[at] = row_of[came_from[at]]
            at = came_from[at]
    return sum(worth[row_of[column] - 1][column - 1] for column in range(1, columns + 1) if row_of[column])
