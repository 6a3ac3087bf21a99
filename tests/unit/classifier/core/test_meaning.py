"""Groups by meaning: clouds of points whose number is known."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from services.classifier.core.meaning import LEAST_SAMPLED, NOBODY, SAMPLE_ROWS, groups

Floats = NDArray[np.float32]


def clouds(sizes: list[int], spread: float, strangers: int = 0, seed: int = 0) -> tuple[Floats, list[int]]:
    """Unit vectors around random directions, and strangers in all directions; the cloud of each, or -1."""
    rng = np.random.default_rng(seed)
    rows = [rng.normal(size=384)[None] * np.ones((size, 1)) for size in sizes]
    points = [row + rng.normal(size=row.shape) * spread for row in rows] + [rng.normal(size=(strangers, 384))]
    truth = [number for number, size in enumerate(sizes) for _ in range(size)] + [NOBODY] * strangers
    order = rng.permutation(len(truth))
    everything = np.concatenate(points)[order].astype(np.float32)
    everything /= np.linalg.norm(everything, axis=1, keepdims=True)
    return everything, [truth[at] for at in order]


@pytest.mark.parametrize("spread", [0.1, 0.5, 0.9])
@pytest.mark.parametrize(
    ("sizes", "strangers"),
    [([40, 40], 0), ([200, 10, 30], 0), ([30, 30, 30, 30], 100), ([900, 2600, 40], 100)],
)
def test_each_cloud_is_a_group_and_strangers_are_in_none(
    sizes: list[int], strangers: int, spread: float
) -> None:
    rows, truth = clouds(sizes, spread, strangers)
    labels = groups(rows)
    for number, size in enumerate(sizes):
        own = labels[[at for at, cloud in enumerate(truth) if cloud == number]]
        (group,) = set(own.tolist()) - {NOBODY}
        assert (own == group).sum() >= 0.9 * size
    assert len(set(labels.tolist()) - {NOBODY}) == len(sizes)
    assert (labels[[at for at, cloud in enumerate(truth) if cloud == NOBODY]] == NOBODY).all()


def test_rows_beyond_the_sample_join_their_group() -> None:
    rows, truth = clouds([SAMPLE_ROWS, SAMPLE_ROWS, 200], 0.5, strangers=200)
    labels = groups(rows)
    pairs = {(cloud, int(label)) for cloud, label in zip(truth, labels, strict=True) if label != NOBODY}
    assert len(pairs) == 3
    assert (labels != NOBODY).mean() > 0.9


def test_strangers_alone_are_no_group() -> None:
    rows, _ = clouds([], 0.5, strangers=300)
    assert (groups(rows) == NOBODY).all()


def test_what_all_rows_have_in_common_makes_no_group() -> None:
    rows, truth = clouds([30, 40], 0.5, strangers=200)
    # Now any two have a cosine of a third, as the sentences of one language have.
    rows[:, 0] += 0.7
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    labels = groups(rows)
    assert set(labels.tolist()) == {NOBODY, 0, 1}
    assert (labels[[at for at, cloud in enumerate(truth) if cloud == NOBODY]] == NOBODY).all()


@pytest.mark.parametrize("count", [0, 1, LEAST_SAMPLED - 1])
def test_of_too_few_there_is_no_group(count: int) -> None:
    rows, _ = clouds([count], 0.1)
    assert groups(rows).tolist() == [NOBODY] * count


def test_the_same_rows_again_and_again_are_one_group() -> None:
    rows, _ = clouds([1], 0.0)
    labels = groups(np.repeat(rows, 20, axis=0))
    assert set(labels.tolist()) == {0}


def test_the_same_rows_give_the_same_groups() -> None:
    rows, _ = clouds([50, 60, 70], 0.8, strangers=50)
    assert groups(rows).tolist() == groups(rows.copy()).tolist()
