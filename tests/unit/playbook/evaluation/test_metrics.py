"""The measures: hand-made cases, and what must hold of any."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from playbook.evaluation import metrics
from playbook.evaluation.metrics import NO_GUESS

CLASSES = 4


@st.composite
def guesses(draw: st.DrawFn) -> tuple[metrics.Ints, metrics.Ints]:
    """Predictions, some of them abstentions, and labels."""
    rows = draw(st.integers(1, 60))
    predicted = draw(arrays(np.int64, rows, elements=st.integers(NO_GUESS, CLASSES - 1)))
    return predicted, draw(arrays(np.int64, rows, elements=st.integers(0, CLASSES - 1)))


@st.composite
def confident(draw: st.DrawFn) -> tuple[metrics.Floats, metrics.Bools]:
    """Confidences with many ties, and whether each was right."""
    rows = draw(st.integers(1, 60))
    confidence = draw(arrays(np.float64, rows, elements=st.sampled_from([0.0, 0.2, 0.5, 0.51, 0.9, 1.0])))
    return confidence, draw(arrays(np.bool_, rows))


@given(guesses())
def test_the_confusion_matrix_counts_each_row_once_and_its_diagonal_is_the_accuracy(
    case: tuple[metrics.Ints, metrics.Ints],
) -> None:
    predicted, actual = case
    counts = metrics.confusion(predicted, actual, CLASSES)
    assert counts.shape == (CLASSES, CLASSES + 1)
    assert counts.sum() == len(actual)
    assert np.trace(counts[:, :CLASSES]) / len(actual) == pytest.approx(metrics.accuracy(predicted, actual))
    assert counts[:, CLASSES].sum() == (predicted == NO_GUESS).sum()


@given(guesses())
def test_precision_and_recall_are_the_shares_that_they_say(case: tuple[metrics.Ints, metrics.Ints]) -> None:
    predicted, actual = case
    for index, figures in enumerate(metrics.by_class(predicted, actual, CLASSES)):
        hits = np.sum((predicted == index) & (actual == index))
        assert figures.rows == np.sum(actual == index)
        assert figures.precision == pytest.approx(hits / max(1, np.sum(predicted == index)))
        assert figures.recall == pytest.approx(hits / max(1, figures.rows))
        total = figures.precision + figures.recall
        assert figures.f1 == pytest.approx(2 * figures.precision * figures.recall / total if total else 0)


@pytest.mark.parametrize(
    ("predicted", "actual", "expected"),
    [
        ([0, 1, 2], [0, 1, 2], 1.0),
        ([0, 0, 0], [0, 0, 1], (0.8 + 0) / 2),  # the class that is never predicted counts
        ([0, 3], [0, 0], (2 / 3 + 0) / 2),  # so does the one that is never right
        ([0, NO_GUESS], [0, 0], 2 / 3),  # an abstention is a miss, and no class of its own
    ],
)
def test_macro_f1_is_over_the_classes_that_occur(
    predicted: list[int], actual: list[int], expected: float
) -> None:
    assert metrics.macro_f1(np.array(predicted), np.array(actual), CLASSES) == pytest.approx(expected)


@given(confident())
def test_full_coverage_is_the_accuracy(case: tuple[metrics.Floats, metrics.Bools]) -> None:
    confidence, right = case
    assert metrics.accuracy_at(confidence, right, 1.0) == pytest.approx(right.mean())


@given(confident(), st.randoms(use_true_random=False), st.sampled_from(metrics.COVERAGES))
def test_the_order_of_the_rows_is_without_effect(
    case: tuple[metrics.Floats, metrics.Bools], random: st.Random, coverage: float
) -> None:
    confidence, right = case
    order = list(range(len(right)))
    random.shuffle(order)
    assert metrics.accuracy_at(confidence[order], right[order], coverage) == pytest.approx(
        metrics.accuracy_at(confidence, right, coverage)
    )
    assert metrics.expected_calibration_error(confidence[order], right[order]) == pytest.approx(
        metrics.expected_calibration_error(confidence, right)
    )


@given(confident(), st.sampled_from(metrics.COVERAGES))
def test_only_the_order_of_the_confidences_decides_the_risk_coverage_table(
    case: tuple[metrics.Floats, metrics.Bools], coverage: float
) -> None:
    confidence, right = case
    assert metrics.accuracy_at(confidence**3, right, coverage) == pytest.approx(
        metrics.accuracy_at(confidence, right, coverage)
    )


@pytest.mark.parametrize(
    ("confidence", "right", "coverage", "expected"),
    [
        ([0.9, 0.8, 0.7, 0.6, 0.5], [1, 1, 1, 0, 0], 0.6, 1.0),
        ([0.5, 0.6, 0.7, 0.8, 0.9], [0, 0, 1, 1, 1], 0.8, 0.75),
        ([0.5, 0.5, 0.5, 0.5], [1, 0, 0, 1], 0.6, 0.5),  # a tie is cut as its mean
        ([0.9, 0.5, 0.5, 0.1], [1, 1, 0, 0], 0.5, 0.75),
        ([0.9] * 19 + [0.1], [1] * 19 + [0], 0.95, 1.0),  # 19 of 20, whatever 0.95 · 20 rounds to
        ([0.9, 0.1], [1, 0], 0.6, 0.5),  # rounded up: two of two
    ],
)
def test_coverage_keeps_the_most_confident(
    confidence: list[float], right: list[int], coverage: float, expected: float
) -> None:
    found = metrics.accuracy_at(np.array(confidence), np.array(right, dtype=bool), coverage)
    assert found == pytest.approx(expected)


@given(st.integers(1, 40), st.integers(1, 40))
def test_a_set_whose_accuracy_is_its_confidence_has_no_calibration_error(right: int, wrong: int) -> None:
    rows = right + wrong
    confidence = np.full(rows, right / rows)
    hits = np.arange(rows) < right
    assert metrics.expected_calibration_error(confidence, hits) == pytest.approx(0, abs=1e-12)


@given(st.floats(0, 1))
def test_a_set_that_is_always_wrong_is_off_by_its_confidence(confidence: float) -> None:
    found = metrics.expected_calibration_error(np.full(7, confidence), np.zeros(7, dtype=bool))
    assert found == pytest.approx(confidence)


@given(confident())
def test_each_row_stands_in_the_one_bin_that_has_its_confidence(
    case: tuple[metrics.Floats, metrics.Bools],
) -> None:
    confidence, right = case
    bins = metrics.reliability(confidence, right)
    assert sum(part.rows for part in bins) == len(right)
    for part in bins:
        if part.rows:
            assert part.low - 1e-12 <= part.confidence <= part.high + 1e-12


@given(st.integers(0, 300), st.integers(1, 300))
def test_wilsons_interval_has_the_share_in_it_and_narrows_with_more_rows(right: int, count: int) -> None:
    assume(right <= count)
    low, high = metrics.wilson(right, count)
    assert 0 <= low <= right / count + 1e-12
    assert right / count - 1e-12 <= high <= 1
    wide = high - low
    low, high = metrics.wilson(right * 10, count * 10)
    assert high - low < wide


def test_wilsons_interval_is_the_published_one() -> None:
    # R. G. Newcombe, Statistics in Medicine 17 (1998), table I, method 3: 81 of 263.
    assert metrics.wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)


def test_of_nothing_nothing_is_known() -> None:
    none, bools = np.empty(0), np.empty(0, dtype=bool)
    labels = np.empty(0, dtype=np.int64)
    assert metrics.accuracy(labels, labels) == 0
    assert metrics.macro_f1(labels, labels, CLASSES) == 0
    assert metrics.accuracy_at(none, bools, 0.9) == 0
    assert metrics.expected_calibration_error(none, bools) == 0
    assert metrics.wilson(0, 0) == (0, 1)
