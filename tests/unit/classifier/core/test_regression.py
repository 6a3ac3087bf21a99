"""The regression behind the head: of left-out rows it says what a second fit without them would say."""

from __future__ import annotations

import numpy as np
import pytest

from services.classifier.core import regression
from services.classifier.core.reading import Reading
from services.classifier.core.regression import NGRAM_FOLD, Points, Regression, fit, points

DIMENSIONS = 12


def readings(centre: int, count: int, seed: int, spread: float = 0.6) -> list[Reading]:
    """Requests around a direction of the space, with words of their own."""
    random = np.random.default_rng([seed, centre])
    found = []
    for _ in range(count):
        vector = random.normal(size=DIMENSIONS) * spread / np.sqrt(DIMENSIONS)
        vector[centre % DIMENSIONS] += 1
        indices = np.unique(random.integers(0, 1 << 16, 5) + 7 * centre).astype(np.int32)
        values = np.full(len(indices), 1 / np.sqrt(len(indices)), np.float32)
        embedding = (vector / np.linalg.norm(vector)).astype(np.float32)
        found.append(Reading(embedding, indices, values, np.zeros(10, np.float32), True))
    return found


GROUPS = [readings(centre, 6, seed=1) for centre in range(4)]
BACKGROUND = readings(9, 30, seed=2, spread=2.0)


def scores(learnt: Regression, asked: Reading) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return learnt.scores(asked)


def fitted(groups: list[list[Reading]], background: list[Reading]) -> Regression:
    return fit([points(group) for group in groups], points(background))[0]


def test_an_example_scores_high_for_its_own_workload_and_the_background_low() -> None:
    learnt = fitted(GROUPS, BACKGROUND)
    for column, group in enumerate(GROUPS):
        for one in readings(column, 20, seed=3):
            found = scores(learnt, one)
            assert int(found.argmax()) == column
            assert found[column] > 0.3
        assert len(group) == 6
    assert max(scores(learnt, one).max() for one in readings(9, 20, seed=4, spread=2.0)) < 0.5


def test_a_left_out_example_scores_what_a_fit_without_it_gives() -> None:
    _, left_out = fit([points(group) for group in GROUPS], points(BACKGROUND))
    for row, (column, place) in enumerate((c, p) for c in range(4) for p in range(6)):
        others = [
            group if c != column else group[:place] + group[place + 1 :] for c, group in enumerate(GROUPS)
        ]
        expected = scores(fitted(others, BACKGROUND), GROUPS[column][place])
        assert left_out.examples[row] == pytest.approx(expected, abs=2e-3)


def test_a_left_out_background_row_scores_what_a_fit_without_it_gives() -> None:
    _, left_out = fit([points(group) for group in GROUPS], points(BACKGROUND))
    for place in range(0, len(BACKGROUND), 7):
        expected = scores(fitted(GROUPS, BACKGROUND[:place] + BACKGROUND[place + 1 :]), BACKGROUND[place])
        assert left_out.background[place] == pytest.approx(expected, abs=2e-3)


def test_strangers_score_what_a_fit_without_their_workload_gives() -> None:
    _, left_out = fit([points(group) for group in GROUPS], points(BACKGROUND))
    for column in range(4):
        others = [c for c in range(4) if c != column]
        learnt = fitted([GROUPS[c] for c in others], BACKGROUND)
        for place in range(6):
            found = left_out.strangers[column * 6 + place]
            assert found[others] == pytest.approx(scores(learnt, GROUPS[column][place]), abs=2e-3)
            assert found[column] == -np.inf


def test_with_more_rows_than_anchors_each_workload_keeps_as_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(regression, "MAX_ANCHORS", len(BACKGROUND) + 8)
    learnt, left_out = fit([points(group) for group in GROUPS], points(BACKGROUND))
    assert len(learnt.anchors) == len(BACKGROUND) + 8
    assert left_out.examples.argmax(-1).tolist() == [column for column in range(4) for _ in range(6)]
    assert all(int(scores(learnt, one).argmax()) == 2 for one in readings(2, 20, seed=5))


def test_the_same_example_many_times_is_no_singular_matter() -> None:
    same = [GROUPS[0][0]] * 20
    learnt, left_out = fit([points(same), points(GROUPS[1])], points(BACKGROUND))
    assert np.isfinite(left_out.examples).all()
    assert int(scores(learnt, same[0]).argmax()) == 0


def test_the_words_of_a_request_without_words_are_no_words() -> None:
    empty = Reading(
        GROUPS[0][0].embedding,
        np.empty(0, np.int32),
        np.empty(0, np.float32),
        np.zeros(10, np.float32),
        True,
    )
    rows: Points = points([empty, GROUPS[0][0]])
    assert rows.ngrams.shape == (2, NGRAM_FOLD)
    assert not rows.ngrams[0].any()
    assert np.isfinite(scores(fitted(GROUPS, BACKGROUND), empty)).all()
