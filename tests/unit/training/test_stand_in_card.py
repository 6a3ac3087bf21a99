"""The interval on the stand-in's card, and the rows that its heads are taught and tested with."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.stand_in.card import wilson
from training.stand_in.tasks import Task, read


def test_the_interval_is_wilsons() -> None:
    # As R. G. Newcombe has them: "Two-sided confidence intervals", Statistics in Medicine 17, 1998, method 3.
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson(15, 148) == pytest.approx((0.0624, 0.1605), abs=5e-5)


@given(st.integers(1, 10_000).flatmap(lambda count: st.tuples(st.integers(0, count), st.just(count))))
def test_the_share_lies_within_its_interval(pair: tuple[int, int]) -> None:
    right, count = pair
    low, high = wilson(right, count)
    assert -1e-12 <= low <= right / count + 1e-12
    assert right / count - 1e-12 <= high <= 1 + 1e-12


@pytest.mark.parametrize("task", read(), ids=lambda task: task.name)
def test_hardly_a_row_is_in_two_splits_and_every_label_is_taught(task: Task) -> None:
    train, held_out, test = ({text for text, _ in rows} for rows in (task.train, task.held_out, task.test))
    assert len(test & (train | held_out)) < 0.01 * len(test)
    assert len(train & held_out) < 0.01 * len(held_out)
    assert {label for _, label in task.test} == {label for _, label in task.train}
