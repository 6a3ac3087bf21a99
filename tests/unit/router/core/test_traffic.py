"""What is counted is bounded and exact: by minute while it can be, by hour or day when nobody takes it."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest

from services.common.errors import Reason
from services.common.sampling import Sampling
from services.common.words import Outcome, Target
from services.router.core.sampling import Bar, Origin, Step
from services.router.core.traffic import DAY_S, GIVEN_UP_US, MAX_COUNTS, NANOS, Counted, Reservoir, Traffic
from tests.support.router_leg import LEG

SAMPLING = Sampling(b"e" * 16, 2, 10_000, bytes(16))


def traffic() -> Traffic:
    return Traffic(random.Random(7))


def origin(unix_s: int, workload: str = "triage") -> Origin:
    return Origin(workload, SAMPLING, unix_s * NANOS + 5)


def test_requests_are_counted_by_minute_step_and_reason() -> None:
    counts = traffic()
    assert not counts
    for second in (0, 59, 60):
        counts.count(origin(second), Step.ELIGIBLE)
    counts.count(origin(61), Step.INELIGIBLE, Bar.SHAPE)
    assert counts
    key = ("triage", b"e" * 16, 2)
    assert counts.samplings == {
        Counted(*key, 0, "eligible", ""): 2,
        Counted(*key, 60, "eligible", ""): 1,
        Counted(*key, 60, "ineligible", "shape"): 1,
    }


def test_counts_that_nobody_takes_stay_bounded_and_exact_by_day() -> None:
    counts = traffic()
    minutes = 20_000
    for minute in range(minutes):
        counts.count(origin(60 * minute), Step.ELIGIBLE)
        assert len(counts.samplings) <= MAX_COUNTS
    assert counts.samplings.total() == minutes
    by_day: dict[int, int] = {}
    for key, count in counts.samplings.items():
        by_day[key.minute_unix_s // DAY_S] = by_day.get(key.minute_unix_s // DAY_S, 0) + count
    assert by_day == {day: min(1440, minutes - 1440 * day) for day in range(14)}


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, (1, 0, 0, [1000], [])),
        ({"streamed": True}, (1, 0, 0, [1000], [100])),
        ({"streamed": True, "ttft_us": None}, (1, 0, 0, [1000], [])),
        ({"outcome": Outcome.TIMEOUT, "error_reason": Reason.UPSTREAM_TIMEOUT}, (1, 1, 0, [], [])),
        ({"outcome": Outcome.REJECTED, "error_reason": Reason.UPSTREAM_REJECTED}, (1, 1, 0, [], [])),
        ({"outcome": Outcome.BROKEN, "error_reason": Reason.ANSWER_INVALID}, (1, 1, 1, [], [])),
    ],
)
def test_a_leg_is_counted_by_how_it_ended(fields: dict[str, Any], expected: tuple[Any, ...]) -> None:
    counts = traffic()
    counts.leg(replace(LEG, **fields))
    tally = counts.legs["triage", Target.CLOUD]
    found = (tally.legs, tally.failed, tally.invalid, tally.latencies_us.values, tally.ttfts_us.values)
    assert found == expected


@pytest.mark.parametrize("target", Target)
@pytest.mark.parametrize(
    ("latency_us", "ttft_us", "failed"),
    [
        (1_000_000, None, False),
        (1_000_000, 100, False),
        (GIVEN_UP_US - 1, None, False),
        # Nobody waits that long for nothing and has only changed their mind.
        (GIVEN_UP_US, None, True),
        (30_000_000, None, True),
        # It answered.
        (30_000_000, 100, False),
    ],
)
def test_a_leg_that_its_application_gave_up_counts_only_if_nothing_came_for_long(
    latency_us: int, ttft_us: int | None, failed: bool, target: Target
) -> None:
    counts = traffic()
    counts.leg(
        replace(
            LEG,
            target=target,
            outcome=Outcome.CANCELLED,
            error_reason=Reason.CANCELLED,
            latency_us=latency_us,
            ttft_us=ttft_us,
        )
    )
    assert bool(counts) == failed
    if failed:
        tally = counts.legs["triage", target]
        assert (tally.legs, tally.failed, tally.invalid, tally.latencies_us.values) == (1, 1, 0, [])


def test_legs_are_counted_by_workload_and_target() -> None:
    counts = traffic()
    for fields in ({}, {}, {"target": Target.SOVEREIGN}, {"workload": "letters"}):
        counts.leg(replace(LEG, **fields))
    assert {key: tally.legs for key, tally in counts.legs.items()} == {
        ("triage", Target.CLOUD): 2,
        ("triage", Target.SOVEREIGN): 1,
        ("letters", Target.CLOUD): 1,
    }


def test_a_reservoir_keeps_all_while_it_can_and_then_a_uniform_sample() -> None:
    size, numbers, runs = 10, 40, 4000
    kept = [0] * numbers
    rng = random.Random(11)
    for _ in range(runs):
        reservoir = Reservoir(size, rng)
        for number in range(numbers):
            reservoir.add(number)
            assert len(reservoir.values) == min(number + 1, size)
        for number in reservoir.values:
            kept[number] += 1
    expected = runs * size / numbers
    # Five standard errors of a count.
    spread = 5 * (runs * (size / numbers) * (1 - size / numbers)) ** 0.5
    assert all(abs(count - expected) < spread for count in kept)
