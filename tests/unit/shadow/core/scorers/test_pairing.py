"""The best pairing beside the best of all pairings, tried one by one."""

from __future__ import annotations

from itertools import permutations

from hypothesis import given
from hypothesis import strategies as st

from services.shadow.core.scorers.pairing import most

tables = st.integers(1, 5).flatmap(
    lambda width: st.lists(st.lists(st.integers(0, 9), min_size=width, max_size=width), max_size=5)
)


@given(tables)
def test_no_pairing_is_worth_more(worth: list[list[int]]) -> None:
    width, height = (len(worth[0]) if worth else 0), len(worth)
    padded = [[*row, *[0] * height] for row in worth]
    best = (
        max(
            sum(padded[row][column] for row, column in enumerate(columns))
            for columns in permutations(range(width + height), height)
        )
        if worth and height <= 3
        else None
    )
    if best is not None:
        assert most(worth) == best
    assert most(worth) == most([list(column) for column in zip(*worth, strict=True)])
