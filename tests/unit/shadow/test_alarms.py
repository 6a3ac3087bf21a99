"""The alerts, on a real store: over how long the funnel is looked at, and from when on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import pytest
from homeward.common.v1 import policy_pb2

from services.common.stages import HOME, Place
from services.common.words import Target
from services.shadow.adapters.ledger import LedgerAdapter, Row
from services.shadow.adapters.store import Count, Store
from services.shadow.alarms import MINUTE_US, Alarms
from services.shadow.core.experiment import Experiment, registered
from services.shadow.core.funnel import HOUR_US
from services.shadow.course import Course
from tests.support.experiments import wanted

WORKLOAD = "ticket-triage"
START = 1_800_000_000_000_000 // HOUR_US * HOUR_US
RATE_PPM = 10_000


@dataclass
class Connected:
    """A ledger that is there."""

    connected: bool = True


@dataclass
class Desk:
    """A workload that is compared since START."""

    store: Store
    experiment: Experiment

    def hour(self, number: int, **steps: int) -> None:
        """Counts the requests of an hour."""
        counts = [
            Count(
                self.experiment.experiment_id, 1, START + number * HOUR_US + MINUTE_US, step, "shape", count
            )
            for step, count in steps.items()
        ]
        self.store.add_traffic(bytes(16), number + 1_000, counts, START)

    async def alerts(self, now: int, since: int = START, place: Place = HOME) -> dict[str, str]:
        """What is told of the workload then, which is at its place since a time."""
        sampling = self.experiment.sampling(reversed=True, rate_ppm=RATE_PPM)
        proto = policy_pb2.WorkloadPolicy(workload=WORKLOAD)
        row = Row(place, sampling, frozenset(Target), proto)
        course = Course(WORKLOAD, self.store, None)
        course.arrive(row, since)
        course.look = course.see(row, self.experiment, {}, None, now)
        await Alarms(self.store, cast(LedgerAdapter, Connected()), lambda: now).look([course])
        return {name: said for name, said in course.alerts.items() if name in ("still", "barred")}


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    store = Store(tmp_path / "shadow.sqlite", 1_000)
    asked = wanted(WORKLOAD, window_us=HOUR_US)
    made = registered(asked, None, experiment_id=b"e" * 16, salt=b"s" * 16, now_unix_us=START)
    yield Desk(store, store.add_experiment(made, bytes(16)))
    store.close()


@pytest.mark.parametrize(
    ("per_hour", "hours", "said"),
    [
        # One in a hundred is sampled, so 500 requests are needed to expect five.
        (500, 1, "no sample of an hour was scored, of 500 requests"),
        (400, 1, ""),
        (400, 2, "no sample of 2 hours was scored, of 800 requests"),
        (100, 6, "no sample of 6 hours was scored, of 600 requests"),
        (40, 24, "no sample of 24 hours was scored, of 960 requests"),
        (4, 168, "no sample of 7 days was scored, of 672 requests"),
        (2, 168, ""),
    ],
)
async def test_the_fewer_samples_are_to_be_expected_the_longer_it_looks(
    desk: Desk, per_hour: int, hours: int, said: str
) -> None:
    for number in range(hours):
        desk.hour(number, eligible=per_hour)
    told = await desk.alerts(START + hours * HOUR_US + 5 * MINUTE_US)
    assert list(told) == (["still"] if said else [])
    assert told.get("still", "").startswith(said)


async def test_what_came_before_the_first_window_or_at_another_place_is_not_missed(desk: Desk) -> None:
    for number in range(-3, 3):
        desk.hour(number, eligible=400)
    now = START + 3 * HOUR_US + 5 * MINUTE_US
    assert (await desk.alerts(now))["still"].startswith("no sample of 3 hours was scored, of 1,200")
    assert await desk.alerts(now, since=START + 2 * HOUR_US) == {}
    assert await desk.alerts(START + HOUR_US + 5 * MINUTE_US, since=START - 3 * HOUR_US) == {}


async def test_an_hour_of_which_nothing_can_be_compared_is_told(desk: Desk) -> None:
    desk.hour(0, eligible=10, ineligible=5_000)
    desk.hour(1, ineligible=5_000)
    assert await desk.alerts(START + HOUR_US + 5 * MINUTE_US) == {}
    assert await desk.alerts(START + 2 * HOUR_US + 5 * MINUTE_US) == {
        "barred": "none of 5,000 requests of an hour could be compared; most were ineligible: shape (5,000)"
    }
