"""The breakers: what trips them, what must not, and that they stay small."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.shadow.core.breakers import (
    BASELINE_MINUTES,
    MIN_FAILURES,
    Breakers,
    Legs,
    Limits,
    Recent,
    counted,
)

S = 1_000_000
NOW = 1_800_000_000 * S
LIMITS = Limits(error_rate_max=0.05, invalid_rate_max=0.05, latency_factor_max=3, requests=20)


def breakers(
    home: Legs, cloud: Legs | None = None, *, cloud_age_s: int = 0, baseline: bool = False
) -> Breakers:
    """With some legs at home just now, and some in the cloud."""
    made = Breakers()
    if cloud is not None:
        made.add_cloud(cloud, NOW - cloud_age_s * S, baseline=baseline)
    made.add_home(home, NOW)
    return made


@pytest.mark.parametrize(
    ("home", "cloud", "cloud_age_s", "tripped"),
    [
        # legs, failed, invalid at home; legs and failed in the cloud; how long ago
        ((20, 0, 0), None, 0, ""),
        ((20, 3, 0), None, 0, "errors"),
        # One or two failures are bad luck, at whatever rate.
        ((20, 2, 0), None, 0, ""),
        ((2, 2, 0), None, 0, ""),
        # Too few legs to act on.
        ((19, 19, 19), None, 0, ""),
        # 5 % above the cloud's is allowed, and not a leg more.
        ((100, 5, 0), None, 0, ""),
        ((100, 6, 0), None, 0, "errors"),
        ((100, 6, 0), (100, 1), 0, ""),
        ((100, 7, 0), (100, 1), 0, "errors"),
        # A cloud that fails as often excuses the model at home.
        ((100, 30, 0), (100, 30), 0, ""),
        # Of the last hour, if the last minute has no cloud legs; not of yesterday.
        ((100, 30, 0), (100, 30), 1800, ""),
        ((100, 30, 0), (100, 30), 86_400, "errors"),
        # Too few cloud legs say nothing, so nothing excuses it.
        ((100, 30, 0), (19, 19), 0, "errors"),
        # Broken schemas have a limit of their own, whatever the cloud does.
        ((100, 6, 6), (100, 6), 0, "invalid"),
        ((100, 5, 5), (100, 5), 0, ""),
    ],
)
def test_failures(
    home: tuple[int, int, int], cloud: tuple[int, int] | None, cloud_age_s: int, tripped: str
) -> None:
    made = breakers(Legs(*home), Legs(*cloud) if cloud else None, cloud_age_s=cloud_age_s)
    found = made.trip(LIMITS, NOW)
    assert (found.breaker if found else "") == tripped


@pytest.mark.parametrize(
    ("home_us", "cloud_us", "tripped"),
    [
        ([290_000] * 20, [100_000] * 20, ""),
        ([310_000] * 20, [100_000] * 20, "latency"),
        # A slow answer in twenty is within 95 of 100; two are not.
        ([100_000] * 19 + [9_000_000], [100_000] * 20, ""),
        ([100_000] * 18 + [9_000_000] * 2, [100_000] * 20, "latency"),
        # What is not known is no reason to act.
        ([9_000_000] * 20, [], ""),
        ([9_000_000] * 20, [1_000] * 19, ""),
        ([9_000_000] * 19, [1_000] * 20, ""),
    ],
)
def test_latency(home_us: Sequence[int], cloud_us: Sequence[int], tripped: str) -> None:
    made = breakers(
        counted(len(home_us), 0, 0, home_us), counted(len(cloud_us), 0, 0, cloud_us), baseline=True
    )
    found = made.trip(LIMITS, NOW)
    assert (found.breaker if found else "") == tripped


def test_an_unknown_latency_is_said() -> None:
    assert (
        breakers(Legs(20))
        .sleeping(LIMITS, NOW)
        .startswith("the latency breaker does not act: the cloud's latency")
    )
    known = breakers(Legs(20), counted(20, 0, 0, [5] * 20), baseline=True)
    assert known.sleeping(LIMITS, NOW) == ""


def test_what_the_cloud_stepped_in_for_is_no_baseline() -> None:
    made = breakers(counted(20, 0, 0, [9_000_000] * 20), counted(20, 0, 0, [100_000] * 20), baseline=True)
    assert made.trip(LIMITS, NOW) is not None
    for minute in range(2 * BASELINE_MINUTES):
        made.add_cloud(counted(50, 0, 0, [60_000_000] * 50), NOW + minute * 60 * S, baseline=False)
    assert made.baseline().p95_us() == pytest.approx(100_000, rel=0.02)


def test_a_baseline_outlives_a_restart() -> None:
    before = breakers(Legs(), counted(20, 0, 0, [100_000] * 20), baseline=True)
    after = Breakers(before.baseline())
    after.add_home(counted(20, 0, 0, [9_000_000] * 20), NOW)
    assert (found := after.trip(LIMITS, NOW)) is not None
    assert found.breaker == "latency"


@pytest.mark.parametrize(
    ("legs", "every_s", "later_s", "tripped"),
    [
        # Where the last minute has legs enough it alone is looked at.
        ("x" * 30 + "." * 70, 1, 0, False),
        ("." * 70 + "x" * 30, 1, 0, True),
        # Ten a minute: the last twenty, whatever came before them.
        ("." * 17 + "xxx", 6, 0, True),
        ("." * 18 + "xx", 6, 0, False),
        ("x" * 19, 6, 0, False),
        ("x" * 20 + "." * 40, 6, 0, False),
        # Of an hour at most.
        ("x" * 20, 170, 0, True),
        ("x" * 20, 200, 0, False),
        ("x" * 100, 1, 1_800, True),
        ("x" * 100, 1, 3_700, False),
    ],
)
def test_a_quiet_workload_is_looked_at_for_as_long_as_its_legs_take(
    legs: str, every_s: int, later_s: int, tripped: bool
) -> None:
    made = Breakers()
    now = NOW
    for leg in legs:
        now += every_s * S
        made.add_home(Legs(1, int(leg == "x")), now)
    assert (made.trip(LIMITS, now + later_s * S) is not None) is tripped


def test_it_is_said_over_how_long_a_breaker_looked() -> None:
    made = Breakers()
    for minute in range(20):
        made.add_home(Legs(1, 1), NOW + minute * 60 * S)
    found = made.trip(LIMITS, NOW + 20 * 60 * S)
    assert found is not None
    assert found.sentence.startswith("20 of 20 legs at home failed within 1,200 s (100.0%)")
    assert found.figures["within_s"] == 1_200


def test_what_home_did_before_a_cutover_is_forgotten() -> None:
    made = breakers(Legs(100, 100))
    made.begin(NOW)
    assert made.trip(LIMITS, NOW) is None
    made.add_home(Legs(20, 20), NOW + S)
    assert made.trip(LIMITS, NOW + S) is not None


@pytest.mark.parametrize(
    ("legs", "begun_s_ago", "said"),
    [
        (19, 3_600, True),
        (1, 7_200, True),
        (20, 3_600, False),
        # What has just begun may yet have its legs, and where nothing ran there is nothing to undo.
        (19, 3_500, False),
        (0, 7_200, False),
    ],
)
def test_too_few_legs_for_any_breaker_are_said(legs: int, begun_s_ago: int, said: bool) -> None:
    made = breakers(Legs(), counted(20, 0, 0, [5] * 20), baseline=True)
    made.begin(NOW - begun_s_ago * S)
    made.add_home(Legs(legs), NOW - 60 * S)
    told = made.sleeping(LIMITS, NOW)
    assert told.startswith(f"no breaker acts: the model at home had {legs} legs within 60 min") is said
    assert bool(told) is said


def test_reports_of_several_routers_add_up() -> None:
    made = Breakers()
    for second in range(10):
        made.add_home(Legs(2, 1), NOW + second * S)
    found = made.trip(LIMITS, NOW + 10 * S)
    assert found is not None
    assert found.sentence == (
        "10 of 20 legs at home failed within 60 s (50.0%), in the cloud unknown; 5.0% more is allowed"
    )

    assert "error_rate_cloud" not in found.figures


@pytest.mark.parametrize("restarted", [False, True])
@pytest.mark.parametrize(
    ("cloud", "tripped"),
    [
        # Requests that fail everywhere fail at home too.
        ((1000, 60), ""),
        ((1000, 9), "errors"),
        # Too few legs say nothing.
        ((19, 19), "errors"),
    ],
)
def test_at_home_the_cloud_is_as_it_was_when_it_had_requests(
    cloud: tuple[int, int], tripped: str, restarted: bool
) -> None:
    made = Breakers()
    made.add_cloud(Legs(*cloud), NOW - 2 * 3600 * S, baseline=True)
    # What the cloud stepped in for long ago is not what it answers by plan.
    made.add_cloud(Legs(1000, 1000), NOW - 2 * 3600 * S, baseline=False)
    if restarted:
        made = Breakers(made.baseline())
    made.add_home(Legs(100, 6), NOW)
    found = made.trip(LIMITS, NOW)
    assert (found.breaker if found else "") == tripped


@given(st.integers(0, 400), st.integers(0, MIN_FAILURES - 1))
def test_fewer_than_three_failures_never_trip(legs: int, failed: int) -> None:
    failed = min(failed, legs)
    assert breakers(Legs(legs, failed, failed)).trip(LIMITS, NOW) is None


@given(st.lists(st.integers(1, 10**9), min_size=1, max_size=200))
def test_p95_is_within_a_bin_of_the_exact_one(latency_us: list[int]) -> None:
    exact = sorted(latency_us)[-(-len(latency_us) * 95 // 100) - 1]
    found = counted(len(latency_us), 0, 0, latency_us).p95_us()
    assert found == pytest.approx(exact, rel=0.02)


def test_a_sample_of_latencies_stands_for_all() -> None:
    legs = counted(10_000, 0, 0, [100_000] * 256)
    assert legs.answered == pytest.approx(10_000)


def test_it_stays_small() -> None:
    recent = Recent(S, 61)
    for second in range(10_000):
        recent.add(counted(1, 0, 0, [second + 1]), NOW + second * S)
    assert recent.total().legs == 61
    assert recent.last(10, NOW) == (recent.total(NOW + 9_990 * S), NOW + 9_990 * S)
