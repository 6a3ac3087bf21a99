"""Whether a registration makes a registered workload worse, judged by held-out examples.

The other workloads are tried on the same examples before and after, so what they lose is the new one's
doing. With 5 to 50 examples no test could prove it in time (three lost of ten have p = .125 by McNemar's
exact test). So what may be lost is limited, whether chance could do it or not: a refusal costs another try
with better examples, a wrong name costs money or quality at each request. A new version of a workload has
other examples than the one before; there only a drop that chance would hardly bring about is refused.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from services.classifier.core.examples import HeldOut
from services.common.errors import DomainError, Reason

MAX_LOST_SHARE = 0.05
"""Share of its held-out examples that a workload may lose."""
MIN_LOST_ALLOWED = 1
"""Examples that it may lose in any case: of fewer than 20, one is already more than that share, and every new
class moves the edge on which some example stands."""
CHANCE = 0.05
"""Probability below which a new version's drop is not put down to its other examples."""


@dataclass(frozen=True, slots=True)
class Trial:
    """What the caller is told of a registration that is no harm."""

    held_out_count: int
    """Held-out examples that the new table was tried on, of all workloads."""
    right_before: int
    """Those that the table named rightly before; the registered workload's are not in it."""
    right_after: int
    """Those that it names rightly with the registration, the registered workload's included."""


def trial(name: str, before: HeldOut, after: HeldOut) -> Trial:
    """Compares the tables before and after a registration of `name`.

    Args:
        name: the workload that is registered, or registered anew.
        before: what the head without the registration does on the held-out examples.
        after: the same with it. Of the other workloads the examples are the same.

    Raises:
        DomainError: WORKLOAD_WORSENS.
    """
    others = [other for other in before.count if other != name and other in after.count]
    lost = {other: before.right[other] - after.right[other] for other in others}
    worsened = [other for other in others if lost[other] > lost_allowed(after.count[other])]
    if worsened:
        raise _worsens(name, sorted(worsened, key=lambda other: (-lost[other], other)), before, after)
    if name in before.count and name in after.count:
        chance = chance_of_drop(before.right[name], before.count[name], after.right[name], after.count[name])
        if chance < CHANCE:
            raise _worse_itself(name, before, after)
    return Trial(
        held_out_count=sum(after.count.values()),
        right_before=sum(before.right[other] for other in before.count if other != name),
        right_after=sum(after.right[other] for other in after.count),
    )


def lost_allowed(count: int) -> int:
    """How many of `count` held-out examples a workload may lose."""
    return max(MIN_LOST_ALLOWED, math.floor(MAX_LOST_SHARE * count))


def chance_of_drop(right_before: int, count_before: int, right_after: int, count_after: int) -> float:
    """Probability that the second sample does as badly as it does, or worse, if nothing has changed.

    Fisher's exact test, one-sided (R. A. Fisher, "The Design of Experiments", 1935): the hypergeometric
    distribution of the right ones over the two samples.
    """
    right = right_before + right_after
    least = max(0, right - count_before)
    ways = sum(
        math.comb(count_after, k) * math.comb(count_before, right - k) for k in range(least, right_after + 1)
    )
    return ways / math.comb(count_before + count_after, right)


def _worsens(name: str, worsened: list[str], before: HeldOut, after: HeldOut) -> DomainError:
    worst = worsened[0]
    told = ", ".join(
        f"{other!r} ({after.right[other]} of {after.count[other]} named rightly,"
        f" {before.right[other]} before)"
        for other in worsened
    )
    return DomainError(
        Reason.WORKLOAD_WORSENS,
        f"{name!r} would take held-out examples away from {told}; leave out of its examples what is"
        f" {worst!r}'s work, give {worst!r} more examples that tell it apart, or make one workload of both",
        workload=name,
        worsened=worst,
        right_before=before.right[worst],
        right_after=after.right[worst],
    )


def _worse_itself(name: str, before: HeldOut, after: HeldOut) -> DomainError:
    return DomainError(
        Reason.WORKLOAD_WORSENS,
        f"the new version of {name!r} would be named worse than the one before: {after.right[name]} of its"
        f" {after.count[name]} held-out examples, {before.right[name]} of {before.count[name]} before; its"
        " examples must resemble each other, and may not be another workload's",
        workload=name,
        worsened=name,
        right_before=before.right[name],
        right_after=after.right[name],
    )
