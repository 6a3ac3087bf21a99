"""The verdict: what the evidence of an epoch says, looked at when windows close and at no other time.

The promise: for a workload whose true difference is at or below −δ, the probability that any window of any
epoch ever says READY is at most α. Epoch k spends α/2^k. Where there are strata, each must pass by itself,
which needs no correction (an intersection–union test); REJECTED needs one stratum, and pays for the choice
with its share of α.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum

from services.shadow.core.eprocess import log_k_above, log_k_below, lower_bound, upper_bound
from services.shadow.core.histogram import Histogram, histogram
from services.shadow.core.triplets import Triplet, votes

MAX_WINDOWS = 100_000
"""Windows of an epoch: 270 years of days. More say that the window is too short for the time."""


class Verdict(StrEnum):
    """What the evidence says of a workload."""

    COLLECTING = "COLLECTING"
    READY = "READY"
    REJECTED = "REJECTED"


@dataclass(frozen=True, slots=True)
class Rules:
    """What an experiment fixed before its first sample."""

    margin: float
    """δ, the largest quality gap that counts as parity; above 0 and below 1."""
    alpha: float
    """The error over all epochs; above 0 and below 0.5."""
    window_us: int
    """Microseconds; windows begin at multiples of it since 1970-01-01 UTC.

    No shorter than the traffic's cycle, or the promise does not hold (docs/verdict.md).
    """
    watermark_us: int
    """Microseconds after a window's end for which late answers are waited for."""
    min_windows: int
    """Closed windows that a verdict needs."""
    strata: tuple[str, ...] = ()
    """Values that must each pass even if no request has them; those that occur must in any case."""

    def __post_init__(self) -> None:
        for name, valid, expected in (
            ("margin", 0 < self.margin < 1, "above 0 and below 1"),
            ("alpha", 0 < self.alpha < 0.5, "above 0 and below 0.5"),
            ("window_us", self.window_us > 0, "above 0"),
            ("watermark_us", self.watermark_us >= 0, "0 or more"),
            ("min_windows", self.min_windows >= 1, "1 or more"),
        ):
            if not valid:
                raise ValueError(f"{name} must be {expected}, got {getattr(self, name)}")

    def epoch_alpha(self, epoch: int) -> float:
        """What an epoch may spend: α/2^k."""
        return float(self.alpha / 2**epoch)


@dataclass(frozen=True, slots=True)
class Window:
    """The state at the close of a window, all windows of its epoch before it included."""

    epoch: int
    start_unix_us: int
    n: int
    """Votes so far, of all strata."""
    log_k: float
    """ln K against "worse than the margin"; of the stratum that is furthest from passing."""
    lower_bound: float
    """Of E[D], of the stratum that is lowest."""
    upper_bound: float
    histogram_sha256: str
    """Of the votes so far, of all strata."""
    verdict: Verdict


class Evidence:
    """What the closed windows of an epoch have shown, one window after the other."""

    def __init__(self, rules: Rules, epoch: int) -> None:
        self.windows: list[Window] = []
        """All that have closed since the first with a vote, oldest first; those without votes too."""
        self.histogram = Histogram()
        """The votes so far, of all strata."""
        self._rules = rules
        self._epoch = epoch
        self._strata = {stratum: Histogram() for stratum in rules.strata}
        self._worst = 0.0
        """ln K against "no worse than the margin", of the stratum that is furthest from it."""

    @property
    def verdict(self) -> Verdict:
        """At the close of the last window."""
        return self.windows[-1].verdict if self.windows else Verdict.COLLECTING

    def close(self, start_unix_us: int, triplets: Iterable[Triplet]) -> None:
        """Closes a window, and those without triplets between the last one and it.

        Args:
            start_unix_us: when it begins; after the last one.
            triplets: all of the window, in any order.

        Raises:
            ValueError: the epoch has more than MAX_WINDOWS.
        """
        rules = self._rules
        if self.windows:
            first, last = self.windows[0].start_unix_us, self.windows[-1].start_unix_us
            if start_unix_us <= last:
                raise ValueError("a window that has closed does not change")
            if (start_unix_us - first) // rules.window_us >= MAX_WINDOWS:
                raise ValueError(
                    f"epoch {self._epoch} lasts for more than {MAX_WINDOWS:,} windows of"
                    f" {rules.window_us / 1e6:g} s; choose a longer window"
                )
            for start in range(last + rules.window_us, start_unix_us, rules.window_us):
                # Time has passed, though nothing was learned.
                self._add(replace(self.windows[-1], start_unix_us=start), self._worst)
        strata: dict[str, list[Triplet]] = {}
        for triplet in triplets:
            strata.setdefault(triplet.stratum, []).append(triplet)
        closes = start_unix_us + rules.window_us + rules.watermark_us
        for stratum, items in strata.items():
            found = histogram(votes(items, closes))
            self._strata[stratum] = self._strata.get(stratum, Histogram()) + found
            self.histogram += found
        self._add(*self._looked_at(start_unix_us))

    def _looked_at(self, start_unix_us: int) -> tuple[Window, float]:
        rules, alpha = self._rules, self._rules.epoch_alpha(self._epoch)
        parts = list(self._strata.values()) or [Histogram()]
        window = Window(
            epoch=self._epoch,
            start_unix_us=start_unix_us,
            n=self.histogram.votes,
            log_k=min(log_k_above(part, -rules.margin) for part in parts),
            lower_bound=min(lower_bound(part, alpha) for part in parts),
            upper_bound=min(upper_bound(part, alpha / self._choices()) for part in parts),
            histogram_sha256=self.histogram.sha256().hex(),
            verdict=self.verdict,
        )
        return window, max(log_k_below(part, -rules.margin) for part in parts)

    def _add(self, window: Window, worst: float) -> None:
        self._worst = worst
        alpha = self._rules.epoch_alpha(self._epoch)
        # A verdict stands for its epoch: what moves it back is a decision, or a rollback, not more looking.
        if window.verdict is Verdict.COLLECTING and len(self.windows) + 1 >= self._rules.min_windows:
            if window.log_k >= math.log(1 / alpha):
                window = replace(window, verdict=Verdict.READY)
            elif worst >= math.log(self._choices() / alpha):
                window = replace(window, verdict=Verdict.REJECTED)
        self.windows.append(window)

    def _choices(self) -> int:
        """Strata of which one may say REJECTED: as many as were registered, and one for all others."""
        registered = len(self._rules.strata)
        return max(len(self._strata), registered + 1 if registered else 1)


def windows(triplets: Iterable[Triplet], rules: Rules, closed_by_unix_us: int | None = None) -> list[Window]:
    """The windows in the order of epochs and time, each with the verdict at its close.

    They reach to the last window with a triplet. Those before it without votes count as closed: time has
    passed, though nothing was learned.

    Args:
        triplets: in any order.
        rules: the experiment's.
        closed_by_unix_us: the time of looking; windows that have not closed by then are left out. None: all.

    Raises:
        ValueError: an epoch has more than MAX_WINDOWS.
    """
    by_epoch: dict[int, dict[int, list[Triplet]]] = {}
    for triplet in triplets:
        start = triplet.request_unix_us // rules.window_us * rules.window_us
        closes = start + rules.window_us + rules.watermark_us
        if closed_by_unix_us is None or closes <= closed_by_unix_us:
            by_epoch.setdefault(triplet.epoch, {}).setdefault(start, []).append(triplet)
    told: list[Window] = []
    for epoch in sorted(by_epoch):
        evidence = Evidence(rules, epoch)
        for start in sorted(by_epoch[epoch]):
            evidence.close(start, by_epoch[epoch][start])
        told += evidence.windows
    return told
