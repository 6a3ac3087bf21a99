"""The alarm after cutover: has the sovereign model become worse than the margin?

An e-detector of Shiryaev–Roberts type (Shin, Ramdas and Rinaldo, "E-detectors", 2024), one for each bet:

    M_t = L_t · (M_{t−1} + 1)        L_t = 1 + λ (−d_t − δ), d_t the upper end of the vote's bin

The alarm is on the mean over the bets. While E[D | past] ≥ −δ, the expected number of votes until M reaches
1e5 is at least 1e5. Unlike the verdict it depends on the order of the votes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from services.shadow.core.eprocess import BETS, mixed
from services.shadow.core.histogram import BINS_PER_UNIT, bin_of

ALARM = 1e5
"""M at which a workload is rolled back."""


@dataclass(frozen=True, slots=True)
class Detector:
    """The state after some votes."""

    margin: float
    """δ, above 0 and below 1."""
    log_parts: tuple[float, ...] = ()
    """ln M of each bet; empty before the first vote."""
    votes: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.margin < 1:
            raise ValueError(f"margin must be above 0 and below 1, got {self.margin}")

    @property
    def log_m(self) -> float:
        """ln M; −∞ before the first vote."""
        return float(mixed(np.array(self.log_parts))) if self.log_parts else -math.inf

    @property
    def alarmed(self) -> bool:
        """Whether the last vote left M at the alarm or beyond."""
        return self.log_m >= math.log(ALARM)

    def after(self, votes: Iterable[Fraction | float]) -> Detector:
        """The state after more votes, in their order; it stops at the vote that raises the alarm.

        Raises:
            ValueError: a vote is not in [−1, 1].
        """
        parts = np.array(self.log_parts) if self.log_parts else np.full(len(BETS), -np.inf)
        # −d lies in [−1, 1], so these bets keep every factor above zero.
        bets = BETS / (1 + self.margin)
        number = self.votes
        if not self.alarmed:
            for vote in votes:
                upper = min((bin_of(vote) + 1) / BINS_PER_UNIT, 1.0)
                parts = np.logaddexp(parts, 0.0) + np.log1p(bets * (-upper - self.margin))
                number += 1
                if float(mixed(parts)) >= math.log(ALARM):
                    break
        return Detector(self.margin, tuple(float(part) for part in parts) if number else (), number)
