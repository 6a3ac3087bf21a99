"""The funnel of an experiment: how far requests get, why others do not, and when that needs somebody's eyes.

    eligible → sampled → sent → answered → scored

Routers count the first three; what shadow finishes or loses gives the others. A request that is not drawn is
no loss. Losses are counted by step and reason:

- `ineligible`: it could not be compared, so it is not among the eligible; but for `before_start`, which was
  sent, and came before the experiment's first window began;
- `shed`: sampled, and not sent;
- `lost`: sent, and never asked. No vote;
- `late`: asked, and not finished when its window closed. A vote: it counts as a failure;
- `failed`: answered, and a leg has no answer to score. A vote, likewise.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

PPM = 1_000_000
INELIGIBLE, SHED, LOST, LATE, FAILED = "ineligible", "shed", "lost", "late", "failed"
SCORED = "scored"
BEFORE_START = "before_start"
MAX_LOST_SHARE = 0.05
"""Of the samples. Lost ones are rarely like the others (long ones, those at the daily peak), so more may bias
the verdict by as much as the usual margin."""
MIN_EXPECTED = 5
"""Samples. Of so many or more, chance alone draws none in less than one hour of a hundred."""
HOUR_US = 3_600 * 1_000_000
SPANS_US = (HOUR_US, 6 * HOUR_US, 24 * HOUR_US, 7 * 24 * HOUR_US)
"""In which a funnel may stand still: an hour, and longer where few samples are to be expected. The first in
which there should be enough counts."""
SCORED_WITHIN_US = 300 * 1_000_000
"""How long before the time of looking such a span ends: younger samples may still wait for their legs."""
MIN_INELIGIBLE = 100
"""Requests within an hour, none of which could be compared, from which that is told."""
STILL, BARRED, BIAS = "still", "barred", "bias"
"""The alerts' names."""


@dataclass(frozen=True, slots=True)
class Funnel:
    """Counts of requests, by how far they got."""

    eligible: int = 0
    """Could have been sampled."""
    sampled: int = 0
    """Were drawn."""
    sent: int = 0
    """Shadow took."""
    answered: int = 0
    """Have answers of all legs, or final failures, in time."""
    scored: int = 0
    """Have both agreements."""
    losses: Mapping[tuple[str, str], int] = field(default_factory=dict)
    """By step and reason."""

    def __add__(self, other: Funnel) -> Funnel:
        """The requests of both."""
        return self._with(other, 1)

    def __sub__(self, other: Funnel) -> Funnel:
        """The requests without those of the other, as with counts since two times."""
        return self._with(other, -1)

    def lost(self, *steps: str) -> int:
        """How many were lost at these steps, for whatever reason."""
        return sum(count for (step, _), count in self.losses.items() if step in steps)

    def _with(self, other: Funnel, sign: int) -> Funnel:
        losses = dict(self.losses)
        for key, count in other.losses.items():
            losses[key] = losses.get(key, 0) + sign * count
        return Funnel(
            self.eligible + sign * other.eligible,
            self.sampled + sign * other.sampled,
            self.sent + sign * other.sent,
            self.answered + sign * other.answered,
            self.scored + sign * other.scored,
            {key: count for key, count in losses.items() if count},
        )


def outcome(
    arrival_unix_us: int | None, sovereign_millionths: int | None, noise_millionths: int | None
) -> str:
    """What became of a finished sample: `scored`, `late` or `failed`. The last two are steps of losses."""
    if arrival_unix_us is None:
        return LATE
    return FAILED if sovereign_millionths is None or noise_millionths is None else SCORED


def counted(counts: Iterable[tuple[str, str, int]]) -> Funnel:
    """The funnel of (step, reason, count), as routers report them and `outcome` names finished samples.

    A step that is none of the funnel's counts as a loss.
    """
    reached = dict.fromkeys(("eligible", "sampled", "sent", "answered", SCORED), 0)
    losses: dict[tuple[str, str], int] = {}
    for step, reason, count in counts:
        if step in (SCORED, FAILED):
            reached["answered"] += count
        if step in reached:
            reached[step] += count
        else:
            losses[step, reason] = losses.get((step, reason), 0) + count
    return Funnel(**reached, losses=losses)


def lost_share(funnel: Funnel) -> float | None:
    """The share of samples that were shed or lost, which give no vote; None if there is no sample."""
    lost = funnel.lost(SHED, LOST)
    # A router that was killed has not counted the samples of its last half second.
    samples = max(funnel.sampled, funnel.sent + funnel.lost(SHED), lost)
    return lost / samples if samples else None


def may_bias(funnel: Funnel) -> bool:
    """Whether more of an epoch's samples were shed or lost than a verdict can bear."""
    share = lost_share(funnel)
    return share is not None and share > MAX_LOST_SHARE


@dataclass(frozen=True, slots=True)
class Span:
    """The requests of a stretch of time."""

    funnel: Funnel = field(default_factory=Funnel)
    length_us: int = HOUR_US


def is_enough(funnel: Funnel, rate_ppm: int) -> bool:
    """Whether chance alone hardly leaves such a part of the traffic without a sample.

    Args:
        funnel: of the part.
        rate_ppm: the share of requests that is sampled, in parts per million.
    """
    return funnel.eligible * rate_ppm >= MIN_EXPECTED * PPM


def stands_still(funnel: Funnel, rate_ppm: int) -> bool:
    """Whether traffic came that should have been compared, and none was; the arguments are `is_enough`'s."""
    return is_enough(funnel, rate_ppm) and funnel.scored == 0


def alerts(hour: Funnel, span: Span, epoch: Funnel, rate_ppm: int) -> dict[str, str]:
    """What needs somebody's eyes: a sentence by the alert's name.

    Args:
        hour: of the hour that ended SCORED_WITHIN_US ago.
        span: of the first of SPANS_US that `is_enough`, if there is one.
        epoch: of the whole epoch.
        rate_ppm: as in `is_enough`.
    """
    told = {}
    if stands_still(span.funnel, rate_ppm):
        told[STILL] = (
            f"no sample of {_words(span.length_us)} was scored, of {span.funnel.eligible:,} requests that"
            f" could be compared; {_commonest(span.funnel) or 'no loss was counted'}"
        )
    if rate_ppm and not hour.eligible and hour.lost(INELIGIBLE) >= MIN_INELIGIBLE:
        told[BARRED] = (
            f"none of {hour.lost(INELIGIBLE):,} requests of an hour could be compared;"
            f" {_commonest(hour, INELIGIBLE)}"
        )
    if may_bias(epoch):
        told[BIAS] = (
            f"{lost_share(epoch):.1%} of the epoch's samples were shed or lost, which may bias its verdict;"
            f" {_commonest(epoch, SHED, LOST)}"
        )
    return told


def _words(length_us: int) -> str:
    hours = -(-length_us // HOUR_US)
    return "an hour" if hours == 1 else f"{hours} hours" if hours <= 48 else f"{-(-hours // 24)} days"


def _commonest(funnel: Funnel, *steps: str) -> str:
    losses = {key: count for key, count in funnel.losses.items() if not steps or key[0] in steps}
    if not losses:
        return ""
    (step, reason), count = max(losses.items(), key=lambda item: (item[1], item[0]))
    return f"most were {step}: {reason or 'no reason given'} ({count:,})"
