"""Windows, clusters, late answers, epochs and strata, on small experiments."""

from __future__ import annotations

import random
from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.shadow.core.triplets import Triplet, votes
from services.shadow.core.verdict import MAX_WINDOWS, Rules, Verdict, windows

SECOND, DAY = 10**6, 86_400 * 10**6
RULES = Rules(margin=0.05, alpha=0.05, window_us=DAY, watermark_us=3600 * SECOND, min_windows=3)
ONE, ZERO = Fraction(1), Fraction(0)


def triplet(
    day: float = 0.5,
    sovereign: Fraction | None = ONE,
    noise: Fraction | None = ONE,
    *,
    after_s: float | None = 1,
    cluster: str = "",
    stratum: str = "",
    epoch: int = 1,
) -> Triplet:
    request = int(day * DAY)
    arrival = None if after_s is None else request + int(after_s * SECOND)
    return Triplet(request, arrival, cluster, stratum, epoch, sovereign, noise)


def days(count: int, per_day: int, **fields: Any) -> list[Triplet]:
    return [
        triplet(day + (number + 0.5) / per_day, **fields) for day in range(count) for number in range(per_day)
    ]


@pytest.mark.parametrize(
    ("item", "vote"),
    [
        (triplet(), 0),
        (triplet(sovereign=Fraction(9, 10)), Fraction(-1, 10)),
        (triplet(noise=Fraction(8, 10)), Fraction(1, 5)),
        (triplet(sovereign=None), -1),
        (triplet(noise=None), 0),
        (triplet(sovereign=Fraction(1, 2), noise=None), Fraction(-1, 2)),
        (triplet(after_s=None), -1),
        (triplet(day=0.99, after_s=4000), 0),
        (triplet(day=0.99, after_s=5000), -1),
        (triplet(day=0.99, after_s=5000, noise=Fraction(1, 4)), Fraction(-1, 4)),
    ],
)
def test_what_failed_or_came_late_counts_against_the_sovereign_model(item: Triplet, vote: Fraction) -> None:
    """The window closes an hour after its day; at 0.99 of the day that is 4,464 seconds later."""
    assert votes([item], DAY + 3600 * SECOND) == [vote]


def test_a_cluster_has_one_vote_its_mean() -> None:
    items = [triplet(sovereign=value, cluster="c") for value in (ONE, ONE, ZERO)]
    assert votes([*items, triplet(cluster="d"), triplet()], 2 * DAY) == [0, Fraction(-1, 3), 0]


def test_parity_becomes_ready_and_not_before_the_windows_that_it_needs() -> None:
    found = windows(days(5, 200), RULES)
    assert [item.verdict for item in found] == [Verdict.COLLECTING] * 2 + [Verdict.READY] * 3
    assert [item.n for item in found] == [200, 400, 600, 800, 1000]
    assert found[0].log_k > 3.7  # α/2 would have been reached on the first day
    assert found[-1].lower_bound > -0.05


def test_a_gap_beyond_the_margin_is_rejected() -> None:
    items = [*days(4, 80), *days(4, 20, sovereign=ZERO)]
    assert windows(items, RULES)[-1].verdict is Verdict.REJECTED


def test_a_verdict_stands_in_its_epoch_and_the_next_begins_anew() -> None:
    worse = [replace(item, epoch=2) for item in days(4, 200, sovereign=ZERO)]
    found = windows([*days(4, 200), *worse], RULES)
    assert [item.verdict for item in found if item.epoch == 1][-1] is Verdict.READY
    assert [item.n for item in found if item.epoch == 2] == [200, 400, 600, 800]
    assert found[-1].verdict is Verdict.REJECTED


@pytest.mark.parametrize(("epoch", "alpha"), [(1, 0.025), (2, 0.0125), (3, 0.00625)])
def test_the_kth_epoch_may_spend_alpha_over_two_to_the_k(epoch: int, alpha: float) -> None:
    assert RULES.epoch_alpha(epoch) == alpha


def test_each_stratum_must_pass_by_itself() -> None:
    good, bad = days(4, 200, stratum="en"), days(4, 20, stratum="de", sovereign=Fraction(9, 10))
    assert windows(good, RULES)[-1].verdict is Verdict.READY
    found = windows([*good, *bad], RULES)[-1]
    assert found.verdict is not Verdict.READY
    assert found.n == 880
    assert windows(good, replace(RULES, strata=("en", "fr")))[-1].verdict is Verdict.COLLECTING


def test_days_without_samples_are_closed_windows_too() -> None:
    found = windows([triplet(0.5), triplet(3.5)], RULES)
    assert [item.start_unix_us // DAY for item in found] == [0, 1, 2, 3]
    assert [item.n for item in found] == [1, 1, 1, 2]


def test_what_has_not_closed_is_not_looked_at() -> None:
    items = days(3, 10)
    assert len(windows(items, RULES, closed_by_unix_us=2 * DAY + 3600 * SECOND)) == 2
    assert len(windows(items, RULES, closed_by_unix_us=2 * DAY + 3599 * SECOND)) == 1


@given(st.randoms(use_true_random=False))
def test_the_order_of_the_triplets_changes_nothing(rng: random.Random) -> None:
    items = [
        triplet(
            rng.random() * 4,
            Fraction(rng.randint(0, 10), 10),
            Fraction(rng.randint(0, 10), 10),
            cluster=rng.choice(["", "a", "b"]),
        )
        for _ in range(30)
    ]
    expected = windows(items, RULES)
    rng.shuffle(items)
    assert windows(items, RULES) == expected


@pytest.mark.parametrize(
    ("field", "value"),
    [("margin", 0.0), ("margin", 1.0), ("alpha", 0.0), ("alpha", 0.5), ("window_us", 0), ("min_windows", 0)],
)
def test_rules_that_promise_nothing_are_refused(field: str, value: Any) -> None:
    with pytest.raises(ValueError, match=field):
        replace(RULES, **{field: value})


def test_a_window_that_is_too_short_for_the_time_is_refused() -> None:
    items = [triplet(0), triplet(MAX_WINDOWS + 1)]
    with pytest.raises(ValueError, match="longer window"):
        windows(items, RULES)


@pytest.mark.parametrize("field", ["agreement_sovereign", "agreement_noise"])
def test_an_agreement_beyond_one_is_refused(field: str) -> None:
    beyond: dict[str, Any] = {field: Fraction(11, 10)}
    with pytest.raises(ValueError, match=field):
        replace(triplet(), **beyond)
