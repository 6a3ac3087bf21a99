"""The funnel: what is counted where, and when it raises an alert."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.shadow.core.funnel import (
    HOUR_US,
    SPANS_US,
    Funnel,
    Span,
    alerts,
    counted,
    lost_share,
    may_bias,
    outcome,
    stands_still,
)

PPM = 1_000_000
COUNTS = st.integers(0, 10**6)
FUNNELS = st.builds(
    Funnel,
    *[COUNTS] * 5,
    losses=st.dictionaries(
        st.tuples(st.sampled_from(["ineligible", "shed", "lost", "late", "failed"]), st.sampled_from("abc")),
        st.integers(1, 10**6),
    ),
)


@pytest.mark.parametrize(
    ("arrival", "sovereign", "noise", "expected"),
    [
        (7, 1_000_000, 1_000_000, "scored"),
        (7, 0, 0, "scored"),
        (0, 0, 0, "scored"),
        (7, None, 1_000_000, "failed"),
        (7, 1_000_000, None, "failed"),
        (7, None, None, "failed"),
        (None, 1_000_000, 1_000_000, "late"),
        (None, None, None, "late"),
    ],
)
def test_what_became_of_a_finished_sample(
    arrival: int | None, sovereign: int | None, noise: int | None, expected: str
) -> None:
    assert outcome(arrival, sovereign, noise) == expected


def test_each_step_is_counted_with_its_losses() -> None:
    found = counted(
        [
            ("eligible", "", 900),
            ("eligible", "", 100),
            ("ineligible", "shape", 40),
            ("sampled", "", 100),
            ("shed", "queue", 7),
            ("shed", "away", 3),
            ("sent", "", 90),
            ("lost", "cost_cap", 5),
            ("late", "late", 4),
            ("failed", "timeout", 6),
            ("failed", "invalid", 1),
            ("scored", "", 70),
            ("brand_new", "why", 2),
        ]
    )
    assert found == Funnel(
        eligible=1000,
        sampled=100,
        sent=90,
        answered=77,
        scored=70,
        losses={
            ("ineligible", "shape"): 40,
            ("shed", "queue"): 7,
            ("shed", "away"): 3,
            ("lost", "cost_cap"): 5,
            ("late", "late"): 4,
            ("failed", "timeout"): 6,
            ("failed", "invalid"): 1,
            ("brand_new", "why"): 2,
        },
    )


@given(FUNNELS, FUNNELS)
def test_what_is_added_can_be_taken_away(one: Funnel, other: Funnel) -> None:
    both = one + other
    assert both == other + one
    assert both.eligible == one.eligible + other.eligible
    assert both.lost("shed", "lost") == one.lost("shed", "lost") + other.lost("shed", "lost")
    assert both - other == one
    assert one - one == Funnel()


@pytest.mark.parametrize(
    ("funnel", "share", "biased"),
    [
        (Funnel(), None, False),
        (Funnel(eligible=10**6), None, False),
        (Funnel(sampled=100, sent=100), 0, False),
        # What is late or failed has a vote; what is ineligible was never drawn.
        (
            Funnel(
                sampled=100,
                sent=100,
                losses={("late", "late"): 30, ("failed", "timeout"): 30, ("ineligible", "api"): 30},
            ),
            0,
            False,
        ),
        (Funnel(sampled=100, sent=97, losses={("shed", "queue"): 3, ("lost", "budget"): 2}), 0.05, False),
        (Funnel(sampled=100, sent=97, losses={("shed", "queue"): 3, ("lost", "budget"): 3}), 0.06, True),
        # Samples that a killed router has not counted.
        (Funnel(sampled=0, sent=0, losses={("lost", "late"): 3}), 1, True),
        (Funnel(sampled=2, sent=0, losses={("shed", "away"): 4}), 1, True),
    ],
)
def test_samples_that_are_shed_or_lost_may_bias_the_verdict(
    funnel: Funnel, share: float | None, biased: bool
) -> None:
    assert lost_share(funnel) == share
    assert may_bias(funnel) is biased


@given(FUNNELS)
def test_a_share_is_one(funnel: Funnel) -> None:
    share = lost_share(funnel)
    assert share is None or 0 <= share <= 1


@pytest.mark.parametrize(
    ("hour", "rate_ppm", "still"),
    [
        # 5 samples would have been expected.
        (Funnel(eligible=50), PPM // 10, True),
        (Funnel(eligible=49), PPM // 10, False),
        (Funnel(eligible=5), PPM, True),
        (Funnel(eligible=10**6), 4, False),
        (Funnel(eligible=10**6), 5, True),
        (Funnel(eligible=10**6), 0, False),
        # No traffic is no alarm, and neither is traffic that can't be compared.
        (Funnel(), PPM, False),
        (Funnel(losses={("ineligible", "api"): 1000}), PPM, False),
        # One that was scored shows that it moves, and one that was sent or failed does not.
        (Funnel(eligible=1000, sampled=100, sent=100, answered=1, scored=1), PPM // 10, False),
        (Funnel(eligible=1000, sampled=100, sent=100), PPM // 10, True),
        (
            Funnel(
                eligible=1000, sampled=100, sent=100, answered=100, losses={("failed", "unreachable"): 100}
            ),
            PPM // 10,
            True,
        ),
    ],
)
def test_a_funnel_stands_still_if_traffic_comes_and_nothing_is_scored(
    hour: Funnel, rate_ppm: int, still: bool
) -> None:
    assert stands_still(hour, rate_ppm) is still


def test_alerts_say_what_is_wrong_and_why() -> None:
    well = Funnel(eligible=1000, sampled=100, sent=100, answered=100, scored=100)
    assert alerts(well, Span(well), well, PPM // 10) == {}
    hour = Funnel(eligible=1000, sampled=100, sent=10, losses={("shed", "away"): 90, ("lost", "budget"): 10})
    assert alerts(hour, Span(hour), hour + well, PPM // 10) == {
        "still": "no sample of an hour was scored, of 1,000 requests that could be compared;"
        " most were shed: away (90)",
        "bias": "50.0% of the epoch's samples were shed or lost, which may bias its verdict;"
        " most were shed: away (90)",
    }
    silent = alerts(hour, Span(Funnel(eligible=1000)), well, PPM // 10)["still"]
    assert silent.endswith("no loss was counted")


@pytest.mark.parametrize(
    ("length_us", "words"),
    [
        *zip(SPANS_US, ("an hour", "6 hours", "24 hours", "7 days"), strict=True),
        (HOUR_US * 5 // 2, "3 hours"),
    ],
)
def test_over_how_long_nothing_was_scored_is_said(length_us: int, words: str) -> None:
    told = alerts(Funnel(), Span(Funnel(eligible=1000), length_us), Funnel(), PPM)["still"]
    assert told.startswith(f"no sample of {words} was scored")


@pytest.mark.parametrize(
    ("hour", "rate_ppm", "barred"),
    [
        (Funnel(losses={("ineligible", "shape"): 60, ("ineligible", "api"): 40}), PPM, True),
        (Funnel(losses={("ineligible", "shape"): 99}), PPM, False),
        (Funnel(losses={("shed", "away"): 5_000}), PPM, False),
        (Funnel(eligible=1, losses={("ineligible", "shape"): 5_000}), PPM, False),
        # Nothing is to be compared any more.
        (Funnel(losses={("ineligible", "shape"): 5_000}), 0, False),
    ],
)
def test_traffic_of_which_nothing_can_be_compared_is_told(hour: Funnel, rate_ppm: int, barred: bool) -> None:
    told = alerts(hour, Span(hour), Funnel(), rate_ppm)
    assert list(told) == (["barred"] if barred else [])
    if barred:
        assert told["barred"] == (
            "none of 100 requests of an hour could be compared; most were ineligible: shape (60)"
        )
