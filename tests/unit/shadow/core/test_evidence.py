"""Evidence that is kept window by window is what a replay of all triplets finds."""

from __future__ import annotations

import random
from collections import defaultdict
from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.shadow.core.triplets import Triplet
from services.shadow.core.verdict import Evidence, Rules, Verdict, windows

SECOND = 10**6
RULES = Rules(margin=0.3, alpha=0.2, window_us=10 * SECOND, watermark_us=5 * SECOND, min_windows=2)

agreements = st.none() | st.integers(0, 10).map(lambda tenths: Fraction(tenths, 10))
triplets = st.builds(
    lambda request, delay, cluster, stratum, sovereign, noise: Triplet(
        request, None if delay is None else request + delay, cluster, stratum, 1, sovereign, noise
    ),
    st.integers(0, 99 * SECOND),
    st.none() | st.integers(0, 30 * SECOND),
    st.sampled_from(["", "a", "b"]),
    st.sampled_from(["", "de", "en"]),
    agreements,
    agreements,
)


def live(items: list[Triplet], rules: Rules, closed_by: int) -> Evidence:
    """As shadow does it: a window at a time, when it has closed."""
    by_start = defaultdict(list)
    for item in items:
        by_start[item.request_unix_us // rules.window_us * rules.window_us].append(item)
    evidence = Evidence(rules, 1)
    for start in sorted(by_start):
        if start + rules.window_us + rules.watermark_us <= closed_by:
            evidence.close(start, by_start[start])
    return evidence


@given(
    st.lists(triplets, max_size=60),
    st.integers(0, 120 * SECOND),
    st.sampled_from([(), ("de",), ("de", "en")]),
    st.randoms(use_true_random=False),
)
def test_live_evidence_is_that_of_replay_in_any_order(
    items: list[Triplet], closed_by: int, strata: tuple[str, ...], rng: random.Random
) -> None:
    rules = replace(RULES, strata=strata)
    expected = windows(items, rules, closed_by)
    rng.shuffle(items)
    found = live(items, rules, closed_by)
    assert found.windows == expected
    assert found.histogram.votes == (expected[-1].n if expected else 0)
    closed = [
        item
        for item in items
        if item.request_unix_us // rules.window_us * rules.window_us + 15 * SECOND <= closed_by
    ]
    assert windows(closed, rules) == expected


@given(st.lists(triplets, min_size=1, max_size=40), st.integers(0, 60 * SECOND), st.integers(0, 60 * SECOND))
def test_what_has_closed_stays_as_it_is(items: list[Triplet], first: int, more: int) -> None:
    before, after = windows(items, RULES, first), windows(items, RULES, first + more)
    assert after[: len(before)] == before


def test_a_window_that_has_closed_takes_no_more() -> None:
    evidence = Evidence(RULES, 1)
    evidence.close(10 * SECOND, [])
    for start in (0, 10 * SECOND):
        with pytest.raises(ValueError, match="does not change"):
            evidence.close(start, [])


def test_the_strata_that_were_registered_pay_for_rejected_from_the_first_window() -> None:
    """Votes of −1 in one stratum: ln K passes ln(1/α) before it passes ln(3/α)."""
    items = [
        Triplet(window * 10 * SECOND, window * 10 * SECOND, "", "de", 1, Fraction(0), Fraction(1))
        for window in range(60)
    ]

    def first(strata: tuple[str, ...]) -> int:
        found = windows(items, replace(RULES, strata=strata))
        return next(place for place, item in enumerate(found) if item.verdict is Verdict.REJECTED)

    assert first(()) < first(("de", "en"))
