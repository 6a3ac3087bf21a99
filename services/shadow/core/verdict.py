"""The verdict: what the evidence of an epoch says, looked at when windows close and at no other time.

The promise: for a workload whose true difference is at or below −δ, the probability that any window of any
epoch ever says READY is at most α. Epoch k spends α/2^k. Where there are strata, each must pass by itself,
which needs no correction (an intersection–union test); REJECTED needs one stratum, and pays for the choice
with its share of α.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
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


def windows(triplets: Iterable[Triplet], rules: Rules, closed_by_unix_us: int | None = None) -> list[Window]:
    """The windows in the order of epochs and time, each with the verdict at its close.

    Windows without votes count as closed: time has passed, though nothing was learned.

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
        by_epoch.setdefault(triplet.epoch, {}).setdefault(start, []).append(triplet)
    told: list[Window] = []
    for epoch in sorted(by_epoch):
        told += _epoch(epoch, by_epoch[epoch], rules, closed_by_unix_us)
    return told


def _epoch(
    epoch: int, by_start: Mapping[int, Sequence[Triplet]], rules: Rules, closed_by_unix_us: int | None
) -> list[Window]:
    evidence: dict[str, Histogram] = {stratum: Histogram() for stratum in rules.strata}
    verdict = Verdict.COLLECTING
    told: list[Window] = []
    first, last = min(by_start), max(by_start)
    if (last - first) // rules.window_us >= MAX_WINDOWS:
        raise ValueError(
            f"epoch {epoch} lasts for more than {MAX_WINDOWS:,} windows of {rules.window_us / 1e6:g} s;"
            " choose a longer window"
        )
    for start in range(first, last + 1, rules.window_us):
        closes = start + rules.window_us + rules.watermark_us
        if closed_by_unix_us is not None and closes > closed_by_unix_us:
            break
        strata: dict[str, list[Triplet]] = {}
        for triplet in by_start.get(start, ()):
            strata.setdefault(triplet.stratum, []).append(triplet)
        for stratum, items in strata.items():
            found = histogram(votes(items, closes))
            evidence[stratum] = evidence.get(stratum, Histogram()) + found
        enough = len(told) + 1 >= rules.min_windows
        window = _judge(epoch, start, evidence, rules, verdict, enough=enough)
        verdict = window.verdict
        told.append(window)
    return told


def _judge(
    epoch: int,
    start_unix_us: int,
    evidence: Mapping[str, Histogram],
    rules: Rules,
    before: Verdict,
    *,
    enough: bool,
) -> Window:
    alpha = rules.epoch_alpha(epoch)
    everything = sum(evidence.values(), Histogram())
    parts = list(evidence.values()) or [Histogram()]
    log_k = min(log_k_above(part, -rules.margin) for part in parts)
    worst = max(log_k_below(part, -rules.margin) for part in parts)
    verdict = before
    # A verdict stands for its epoch: what moves it back is a decision, or a rollback, not more looking.
    if before is Verdict.COLLECTING and enough:
        if log_k >= math.log(1 / alpha):
            verdict = Verdict.READY
        elif worst >= math.log(len(parts) / alpha):
            verdict = Verdict.REJECTED
    return Window(
        epoch=epoch,
        start_unix_us=start_unix_us,
        n=everything.votes,
        log_k=log_k,
        lower_bound=min(lower_bound(part, alpha) for part in parts),
        upper_bound=min(upper_bound(part, alpha / len(parts)) for part in parts),
        histogram_sha256=everything.sha256().hex(),
        verdict=verdict,
    )
