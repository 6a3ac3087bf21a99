"""A registration may cost the others an example on the edge, and no more."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.classifier.core.examples import HeldOut
from services.classifier.core.worsening import Trial, chance_of_drop, lost_allowed, trial
from services.common.errors import DomainError, Reason

counts = st.integers(min_value=5, max_value=50)
Scores = dict[str, tuple[int, int]]


def held(scores: Scores) -> HeldOut:
    """From right and count of each workload."""
    return HeldOut(
        right={name: right for name, (right, _) in scores.items()},
        count={name: count for name, (_, count) in scores.items()},
    )


def tried(name: str, before: Scores, after: Scores) -> Trial:
    return trial(name, held(before), held(after))


@pytest.mark.parametrize(
    ("count", "allowed"), [(5, 1), (12, 1), (19, 1), (20, 1), (39, 1), (40, 2), (50, 2), (59, 2), (60, 3)]
)
def test_a_workload_may_lose_a_twentieth_or_one(count: int, allowed: int) -> None:
    assert lost_allowed(count) == allowed
    tried("new", {"old": (count, count)}, {"old": (count - allowed, count)})
    with pytest.raises(DomainError):
        tried("new", {"old": (count, count)}, {"old": (count - allowed - 1, count)})


def test_the_refusal_names_the_worst_and_all_with_their_figures() -> None:
    before = {"a": (10, 10), "b": (11, 12), "c": (9, 10)}
    after = {"a": (8, 10), "b": (6, 12), "c": (9, 10), "new": (9, 10)}
    with pytest.raises(DomainError) as caught:
        tried("new", before, after)
    assert caught.value.reason is Reason.WORKLOAD_WORSENS
    assert caught.value.metadata == {
        "workload": "new",
        "worsened": "b",
        "right_before": "11",
        "right_after": "6",
    }
    assert "'b' (6 of 12 named rightly, 11 before), 'a' (8 of 10 named rightly, 10 before)" in (
        caught.value.message
    )
    assert "'c'" not in caught.value.message


def test_the_counts_leave_the_new_workload_out_before_and_count_it_after() -> None:
    before = {"a": (10, 10), "new": (5, 6)}
    after = {"a": (9, 10), "new": (7, 8)}
    assert tried("new", before, after) == Trial(held_out_count=18, right_before=10, right_after=16)
    assert tried("new", {}, {"new": (0, 5)}) == Trial(held_out_count=5, right_before=0, right_after=0)
    assert tried("new", {}, {}) == Trial(0, 0, 0)


@pytest.mark.parametrize(
    ("before", "after", "refused"),
    [
        ((10, 10), (6, 10), True),
        ((10, 10), (7, 10), False),
        ((10, 10), (0, 5), True),
        ((5, 5), (3, 5), False),
        ((48, 50), (42, 50), True),
        ((48, 50), (43, 50), False),
        ((2, 10), (20, 20), False),
    ],
)
def test_a_new_version_may_be_worse_by_as_much_as_chance_would_bring_about(
    before: tuple[int, int], after: tuple[int, int], refused: bool
) -> None:
    if not refused:
        tried("w", {"w": before}, {"w": after})
        return
    with pytest.raises(DomainError) as caught:
        tried("w", {"w": before}, {"w": after})
    assert caught.value.metadata["worsened"] == caught.value.metadata["workload"] == "w"


def test_the_chance_is_that_of_fishers_exact_test() -> None:
    # scipy.stats.fisher_exact([[6, 4], [10, 0]], "less").pvalue, and of [[3, 7], [8, 2]].
    assert chance_of_drop(10, 10, 6, 10) == pytest.approx(0.04334365325077399)
    assert chance_of_drop(8, 10, 3, 10) == pytest.approx(0.03488925934746368)


@given(counts, counts, st.data())
def test_the_chance_is_a_probability_that_grows_with_what_is_right(
    n: int, m: int, data: st.DataObject
) -> None:
    right = data.draw(st.integers(min_value=0, max_value=n))
    chances = [chance_of_drop(right, n, k, m) for k in range(m + 1)]
    assert all(0 < chance <= 1 + 1e-12 for chance in chances)
    assert chances[-1] == pytest.approx(1)


@given(st.dictionaries(st.sampled_from("abcdef"), st.tuples(counts, st.data()), max_size=6))
def test_a_registration_that_costs_nobody_anything_is_never_refused(
    drawn: dict[str, tuple[int, st.DataObject]],
) -> None:
    before: Scores = {}
    after: Scores = {}
    for name, (count, data) in drawn.items():
        right = data.draw(st.integers(min_value=0, max_value=count))
        before[name] = (right, count)
        after[name] = (data.draw(st.integers(min_value=right, max_value=count)), count)
    found = tried("new", before, after)
    assert found.right_after >= found.right_before
    assert found.held_out_count == sum(count for _, count in before.values())
