"""Triplets, and the votes that they make.

Nothing is dropped because it is late or failed: a sovereign answer that is missing, or that came after its
window had closed, agrees with nothing and scores 0; a noise answer that is missing leaves D = s − 1, the
least favourable. So whoever fails more often can't look better for it.

Triplets of one cluster (a conversation, a duplicate prompt, a burst of one tenant) are no independent
evidence: in a window they have one vote, their mean.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction

ZERO, ONE = Fraction(0), Fraction(1)
MAX_EPOCH = 1000
"""What α/2^k of a later one would be is no number of a float."""


@dataclass(frozen=True, slots=True)
class Triplet:
    """One sampled request, answered three times and scored."""

    request_unix_us: int
    """When the application asked."""
    arrival_unix_us: int | None
    """When the last of its legs was scored; None if it never was."""
    cluster: str
    """What makes requests one vote; empty for a request that stands for itself."""
    stratum: str
    epoch: int
    """From 1."""
    agreement_sovereign: Fraction | None
    """agree(sovereign, cloud), 0 to 1; None if there was no answer to score."""
    agreement_noise: Fraction | None
    """agree(cloud again, cloud), 0 to 1; None if there was none."""

    def __post_init__(self) -> None:
        for name in ("agreement_sovereign", "agreement_noise"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 1:
                raise ValueError(f"{name} lies in 0 to 1, got {float(value):g}")
        if not 1 <= self.epoch <= MAX_EPOCH:
            raise ValueError(f"epoch counts from 1 to {MAX_EPOCH}, got {self.epoch}")

    def difference(self, closes_unix_us: int) -> Fraction:
        """D, as it is known when its window closes."""
        late = self.arrival_unix_us is None or self.arrival_unix_us > closes_unix_us
        sovereign = ZERO if late or self.agreement_sovereign is None else self.agreement_sovereign
        return sovereign - (ONE if self.agreement_noise is None else self.agreement_noise)


def votes(triplets: Iterable[Triplet], closes_unix_us: int) -> list[Fraction]:
    """The votes of the triplets of one window, epoch and stratum: one a cluster."""
    sums: dict[str, Fraction] = {}
    counts: dict[str, int] = {}
    alone: list[Fraction] = []
    for triplet in triplets:
        difference = triplet.difference(closes_unix_us)
        if not triplet.cluster:
            alone.append(difference)
            continue
        sums[triplet.cluster] = sums.get(triplet.cluster, ZERO) + difference
        counts[triplet.cluster] = counts.get(triplet.cluster, 0) + 1
    return alone + [total / counts[cluster] for cluster, total in sums.items()]
