"""Counts of what became of requests and legs, until a report takes them. Pure.

All of it is bounded however long nobody takes a report: latencies by a uniform sample, and minutes by being
put together to hours and days.
"""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field

from services.common.errors import Reason
from services.common.words import Outcome, Target
from services.router.core.leg import Leg
from services.router.core.sampling import Origin, Step

MAX_LATENCIES = 256
"""Latencies of a workload at a target in a report: enough for a p95 within a few per cent."""
MAX_COUNTS = 5_000
"""Different counts in a report: above it, older minutes become hours, then days. About 400 KB."""
GIVEN_UP_US = 10_000_000
"""Without a first byte for so long, it is the server that failed, not the application that changed its
mind."""
MINUTE_S, HOUR_S, DAY_S = 60, 3_600, 86_400
NANOS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Counted:
    """What is counted together."""

    workload: str
    experiment_id: bytes
    epoch: int
    minute_unix_s: int
    step: str
    reason: str


class Reservoir:
    """A uniform sample of numbers that come one by one (algorithm R)."""

    def __init__(self, size: int, rng: random.Random) -> None:
        self.values: list[int] = []
        self._size = size
        self._rng = rng
        self._seen = 0

    def add(self, value: int) -> None:
        """Takes a number, in the place of another if there are enough."""
        self._seen += 1
        if len(self.values) < self._size:
            self.values.append(value)
        elif (place := self._rng.randrange(self._seen)) < self._size:
            self.values[place] = value


@dataclass(slots=True)
class LegTally:
    """Legs of a workload at a target."""

    latencies_us: Reservoir
    ttfts_us: Reservoir
    legs: int = 0
    failed: int = 0
    invalid: int = 0


@dataclass(slots=True)
class Traffic:
    """What has been counted since the last report."""

    rng: random.Random
    samplings: Counter[Counted] = field(default_factory=Counter)
    legs: dict[tuple[str, Target], LegTally] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.samplings or self.legs)

    def count(self, origin: Origin, step: Step, reason: str = "") -> None:
        """Counts a request at a step."""
        sampling = origin.sampling
        second = origin.request_unix_ns // NANOS
        minute = second - second % MINUTE_S
        self.samplings[
            Counted(origin.workload, sampling.experiment_id, sampling.epoch, minute, step.value, reason)
        ] += 1
        for width in (HOUR_S, DAY_S):
            if len(self.samplings) > MAX_COUNTS:
                self.samplings = _coarser(self.samplings, width)

    def leg(self, leg: Leg) -> None:
        """Counts a leg. One that its application gave up says nothing about its target, unless it had waited
        long for a first byte: a server that hangs must not go unseen."""
        begun = leg.ttft_us is not None or leg.latency_us < GIVEN_UP_US
        if leg.outcome is Outcome.CANCELLED and begun:
            return
        tally = self.legs.get((leg.workload, leg.target))
        if tally is None:
            tally = LegTally(Reservoir(MAX_LATENCIES, self.rng), Reservoir(MAX_LATENCIES, self.rng))
            self.legs[leg.workload, leg.target] = tally
        tally.legs += 1
        if leg.outcome is not Outcome.OK:
            tally.failed += 1
            tally.invalid += leg.error_reason == Reason.ANSWER_INVALID
            return
        tally.latencies_us.add(leg.latency_us)
        if leg.streamed and leg.ttft_us is not None:
            tally.ttfts_us.add(leg.ttft_us)


def _coarser(samplings: Counter[Counted], width_s: int) -> Counter[Counted]:
    coarse: Counter[Counted] = Counter()
    for key, count in samplings.items():
        start = key.minute_unix_s - key.minute_unix_s % width_s
        coarse[Counted(key.workload, key.experiment_id, key.epoch, start, key.step, key.reason)] += count
    return coarse
