"""Correlations and shares by hand."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from playbook.scorers.figures import Case, figure, halves, spearman, told


@pytest.mark.parametrize(
    ("scores", "human", "expected"),
    [
        ([1, 2, 3], [10, 20, 90], 1.0),
        ([1, 2, 3], [3, 2, 1], -1.0),
        ([1, 2, 3, 4], [1, 3, 2, 4], 0.8),
        ([1, 1, 2], [1, 2, 3], 0.866),
        ([1, 1, 1], [1, 2, 3], None),
    ],
)
def test_spearman(scores: Sequence[float], human: Sequence[float], expected: float | None) -> None:
    found = spearman(scores, human)
    assert found == (None if expected is None else pytest.approx(expected, abs=1e-3))


@pytest.mark.parametrize(
    ("first", "second", "wins", "value"), [(2, 1, True, 1), (2, 1, False, 0), (1, 1, True, 0.5)]
)
def test_a_pair_is_right_wrong_or_not_told(first: float, second: float, wins: bool, value: float) -> None:
    assert told(first, second, first_wins=wins) == value


def test_the_interval_is_of_groups_since_their_cases_hang_together() -> None:
    apart = [Case(number, number % 2) for number in range(200)]
    together = [Case(number % 4, number % 2) for number in range(200)]
    assert figure(apart).mean == figure(together).mean == 0.5
    assert figure(apart).high - figure(apart).low < 0.2
    assert figure(together).high - figure(together).low == 1
    with pytest.raises(ValueError, match="no cases"):
        figure([])


def test_halves_share_no_group() -> None:
    cases = [Case(name, 1) for name in "aabbbc"]
    assert [[case.group for case in half] for half in halves(cases)] == [["a", "a", "c"], ["b", "b", "b"]]
