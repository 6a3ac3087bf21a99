"""Gold answers beside the verdict: where a right answer is known, which model comes nearer to it. Pure.

D says whether the sovereign model is as near to the cloud as the cloud to itself, and can flatter a model
that says the same more often. What is said here tells of quality, of a part of the sample, and decides
nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from services.shadow.core.eprocess import lower_bound, upper_bound
from services.shadow.core.histogram import histogram
from services.shadow.core.triplets import Triplet, votes
from services.shadow.core.verdict import Rules

NEVER_LATE_US = 2**63
"""When a window of gold answers closes."""


@dataclass(frozen=True, slots=True)
class Gold:
    """How far both agree with gold answers, in the last epoch that has any."""

    epoch: int
    triplets: int
    """Those with a gold answer."""
    votes: int
    """Of their clusters."""
    difference: float
    """The mean of the votes: agreement of the sovereign answer with gold less that of the cloud's."""
    lower_bound: float
    """Of its true mean; with the upper one at error α together, whenever it is looked at."""
    upper_bound: float
    mean_sovereign: float
    """Of the triplets."""
    mean_cloud: float


def gold_of(found: Sequence[Triplet], rules: Rules) -> Gold | None:
    """What gold answers say.

    Args:
        found: a triplet for each gold answer, with the agreements of the sovereign and of the cloud's answer
            with it in place of those with the cloud's.
        rules: of the experiment: α, and windows, in each of which a cluster has one vote.

    Returns:
        None if there is no gold answer.
    """
    if not found:
        return None
    epoch = max(item.epoch for item in found)
    items = [item for item in found if item.epoch == epoch]
    windows: dict[int, list[Triplet]] = {}
    for item in items:
        windows.setdefault(item.request_unix_us // rules.window_us, []).append(item)
    told = [vote for window in windows.values() for vote in votes(window, NEVER_LATE_US)]
    counted, sides = histogram(told), rules.alpha / 2
    return Gold(
        epoch=epoch,
        triplets=len(items),
        votes=len(told),
        difference=float(sum(told) / len(told)),
        lower_bound=lower_bound(counted, sides),
        upper_bound=upper_bound(counted, sides),
        mean_sovereign=float(sum(item.agreement_sovereign or 0 for item in items) / len(items)),
        mean_cloud=float(sum(item.agreement_noise or 0 for item in items) / len(items)),
    )


def words(found: Gold, rules: Rules) -> str:
    """For people."""
    return (
        f"Gold answers, no part of the verdict: of {found.triplets:,} triplets of epoch {found.epoch} that"
        f" have one, home agrees {found.mean_sovereign:.3f} with it and the cloud {found.mean_cloud:.3f}; the"
        f" difference is {found.difference:+.3f}, between {found.lower_bound:+.3f} and"
        f" {found.upper_bound:+.3f} at α = {rules.alpha:g}."
    )
