"""The breakers: what undoes a cutover within seconds, before the alarm has seen enough votes.

They look at the production legs of the last minute, as routers count them. If the model at home had too few
in it, they look at its last ones instead, of an hour at most: a quiet workload must come back too. No breaker
acts on fewer than `requests` legs, nor on one or two failures: those are bad luck at any rate.

- errors: the share of legs at home that failed is above the cloud's by more than `error_rate_max`. A leg that
  the cloud stepped in for is a failed leg at home. The cloud's share is that of the last minute, else of the
  last hour, else of when it last had requests by plan: at home there may be none any more.
- invalid: more than `invalid_rate_max` of the legs at home broke the schema that was asked for.
- latency: 95 of 100 answers at home take longer than `latency_factor_max` times what 95 of 100 took in the
  cloud. Unless that is known, this breaker does not act.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

US_PER_S = 1_000_000
WINDOW_S = 60
"""How far back a breaker looks where that is legs enough."""
QUIET_S = 3_600
"""How far it looks at most."""
BASELINE_MINUTES = 60
"""Minutes with cloud legs that the baseline remembers."""
MIN_FAILURES = 3
"""Failures from which a breaker acts. Of 20 legs a minute that fail at 2 %, two do so within a minute every
quarter of an hour, three once in two hours."""
_QUANTILE = 0.95
_STEP = math.log(1.02)
"""Latencies are counted in bins 2 % wide: an hour has 1,100 of them, however many legs there are."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a workload's settings allow."""

    error_rate_max: float = 0.05
    """Above the cloud's."""
    invalid_rate_max: float = 0.05
    latency_factor_max: float = 3
    """p95 beside the cloud's."""
    requests: int = 20
    """Legs in the window from which a breaker may act."""


@dataclass(frozen=True, slots=True)
class Trip:
    """A breaker that acts."""

    breaker: str
    """`errors`, `invalid` or `latency`."""
    sentence: str
    figures: Mapping[str, float]
    """What it rests on."""


@dataclass(slots=True)
class Legs:
    """Sums over some legs."""

    legs: int = 0
    failed: int = 0
    invalid: int = 0
    latencies: dict[int, float] = field(default_factory=dict)
    """Answered legs by their latency's bin."""

    def add(self, other: Legs) -> None:
        """Takes the others in."""
        self.legs += other.legs
        self.failed += other.failed
        self.invalid += other.invalid
        for bin_, count in other.latencies.items():
            self.latencies[bin_] = self.latencies.get(bin_, 0) + count

    @property
    def error_rate(self) -> float:
        """Share that gave no whole answer; 0 of none."""
        return self.failed / self.legs if self.legs else 0.0

    @property
    def answered(self) -> float:
        """Legs whose latency is known, up to rounding."""
        return sum(self.latencies.values())

    def p95_us(self) -> float | None:
        """The latency that 95 of 100 answers keep, within 2 %; None without answers."""
        left = self.answered * _QUANTILE
        for bin_ in sorted(self.latencies):
            left -= self.latencies[bin_]
            if left <= 1e-9:
                return math.exp((bin_ + 0.5) * _STEP)
        return None


def counted(legs: int, failed: int, invalid: int, latency_us: Iterable[int]) -> Legs:
    """The sums of a report: its latencies are those of all answered legs, or a uniform sample of them."""
    sample = list(latency_us)
    answered = max(legs - failed, 0)
    weight = answered / len(sample) if len(sample) < answered and sample else 1.0
    latencies: dict[int, float] = {}
    for value in sample:
        bin_ = math.floor(math.log(max(value, 1)) / _STEP)
        latencies[bin_] = latencies.get(bin_, 0) + weight
    return Legs(legs, failed, invalid, latencies)


class Recent:
    """Sums by a step of time, of the last steps that had any; bounded."""

    def __init__(self, step_us: int, steps: int) -> None:
        self._step_us = step_us
        self._steps = steps
        self._sums: dict[int, Legs] = {}

    def add(self, legs: Legs, now_unix_us: int) -> None:
        """Counts legs as of now."""
        self._sums.setdefault(now_unix_us // self._step_us, Legs()).add(legs)
        while len(self._sums) > self._steps:
            del self._sums[min(self._sums)]

    def last(self, legs: int, since_unix_us: int) -> tuple[Legs, int]:
        """The sum of the newest steps that have so many legs together, none of which began before a time;
        and when the oldest of them began."""
        total, start = Legs(), since_unix_us
        for step in sorted(self._sums, reverse=True):
            if total.legs >= legs or step * self._step_us < since_unix_us:
                break
            total.add(self._sums[step])
            start = step * self._step_us
        return total, start

    def total(self, since_unix_us: int = 0) -> Legs:
        """The sum of the steps that began then or later."""
        total = Legs()
        for step, legs in self._sums.items():
            if step * self._step_us >= since_unix_us:
                total.add(legs)
        return total


class Breakers:
    """Those of one workload."""

    def __init__(self, baseline: Legs | None = None) -> None:
        """`baseline` is what `baseline()` gave before a restart."""
        self.begin(0)
        self._cloud = Recent(US_PER_S, WINDOW_S + 1)
        self._baseline = Recent(60 * US_PER_S, BASELINE_MINUTES)
        self._hour = Recent(60 * US_PER_S, BASELINE_MINUTES)
        if baseline is not None and baseline.legs:
            self._baseline.add(baseline, 0)

    def begin(self, now_unix_us: int) -> None:
        """Forgets the legs at home, which were of another model or of none that answered by plan."""
        self._home = Recent(US_PER_S, WINDOW_S + 1)
        self._home_quiet = Recent(60 * US_PER_S, QUIET_S // 60 + 1)
        self._begin_unix_us = now_unix_us

    def add_home(self, legs: Legs, now_unix_us: int) -> None:
        """Counts legs of the sovereign target."""
        self._home.add(legs, now_unix_us)
        self._home_quiet.add(legs, now_unix_us)

    def add_cloud(self, legs: Legs, now_unix_us: int, *, baseline: bool) -> None:
        """Counts legs of the cloud. `baseline`: its share by plan, not what it stepped in for."""
        self._cloud.add(legs, now_unix_us)
        self._hour.add(legs, now_unix_us)
        if baseline:
            self._baseline.add(legs, now_unix_us)

    def baseline(self) -> Legs:
        """What is known of the cloud from when it had requests by plan."""
        return self._baseline.total()

    def trip(self, limits: Limits, now_unix_us: int) -> Trip | None:
        """The breaker that acts, if one does."""
        since = now_unix_us - WINDOW_S * US_PER_S
        home = self._home.total(since)
        if home.legs < limits.requests:
            home, since = self._home_quiet.last(limits.requests, now_unix_us - QUIET_S * US_PER_S)
        if home.legs < limits.requests:
            return None
        within_s = math.ceil((now_unix_us - since) / US_PER_S)
        return (
            _errors(home, self._cloud_errors(limits, since, now_unix_us), limits, within_s)
            or _invalid(home, limits, within_s)
            or _latency(home, self._baseline.total(), limits, within_s)
        )

    def sleeping(self, limits: Limits, now_unix_us: int) -> str:
        """Why a breaker does not act, in a sentence; empty if all do."""
        since = now_unix_us - QUIET_S * US_PER_S
        legs = self._home_quiet.total(since).legs
        # Where nothing ran there is nothing to undo, and what has just begun may yet have its legs.
        if 0 < legs < limits.requests and self._begin_unix_us <= since:
            return (
                f"no breaker acts: the model at home had {legs:,} legs within {QUIET_S // 60} min, and they"
                f" need {limits.requests:,}"
            )
        known = self._baseline.total().answered
        if known >= limits.requests:
            return ""
        return (
            f"the latency breaker does not act: the cloud's latency is known of {known:.0f} answers, and it"
            f" needs {limits.requests}"
        )

    def _cloud_errors(self, limits: Limits, since_unix_us: int, now_unix_us: int) -> float | None:
        for legs in (
            self._cloud.total(since_unix_us),
            self._hour.total(now_unix_us - BASELINE_MINUTES * 60 * US_PER_S),
            self._baseline.total(),
        ):
            if legs.legs >= limits.requests:
                return legs.error_rate
        return None


def _errors(home: Legs, cloud_rate: float | None, limits: Limits, within_s: int) -> Trip | None:
    # Where the cloud's is unknown, nothing excuses the model at home.
    if home.failed < MIN_FAILURES or home.error_rate <= (cloud_rate or 0.0) + limits.error_rate_max:
        return None
    known = {} if cloud_rate is None else {"error_rate_cloud": cloud_rate}
    return Trip(
        "errors",
        f"{home.failed:,} of {home.legs:,} legs at home failed within {within_s:,} s ({home.error_rate:.1%}),"
        f" in the cloud {'unknown' if cloud_rate is None else f'{cloud_rate:.1%}'};"
        f" {limits.error_rate_max:.1%} more is allowed",
        {"legs": home.legs, "within_s": within_s, "error_rate": home.error_rate, **known},
    )


def _invalid(home: Legs, limits: Limits, within_s: int) -> Trip | None:
    rate = home.invalid / home.legs
    if home.invalid < MIN_FAILURES or rate <= limits.invalid_rate_max:
        return None
    return Trip(
        "invalid",
        f"{home.invalid:,} of {home.legs:,} answers at home broke the schema within {within_s:,} s"
        f" ({rate:.1%}); {limits.invalid_rate_max:.1%} is allowed",
        {"legs": home.legs, "within_s": within_s, "invalid_rate": rate},
    )


def _latency(home: Legs, baseline: Legs, limits: Limits, within_s: int) -> Trip | None:
    ours, clouds = home.p95_us(), baseline.p95_us()
    if ours is None or clouds is None or min(home.answered, baseline.answered) < limits.requests:
        return None
    if ours <= clouds * limits.latency_factor_max:
        return None
    return Trip(
        "latency",
        f"within {within_s:,} s, 95 of 100 answers at home came in {ours / US_PER_S:.3g} s, in the cloud in"
        f" {clouds / US_PER_S:.3g} s; {limits.latency_factor_max:g} times that is allowed",
        {"legs": home.legs, "within_s": within_s, "latency_p95_us": ours, "latency_p95_cloud_us": clouds},
    )
