"""How long an answer takes.

At scale 1 the first token comes after a time that is log-normal with a median of 500 ms, and the others
follow at 80 tokens a second. Both are of the order of the medians that Artificial Analysis publishes for
gpt-4o-mini (artificialanalysis.ai), which move from week to week; they are not measured here. The spread
is an assumption.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

FIRST_TOKEN_S = 0.5
"""Median time to the first token, in seconds."""
SPREAD = 0.35
"""Standard deviation of its logarithm: the slowest 5 % take 1.8 times the median."""
TOKENS_PER_S = 80.0
"""Pace after the first token."""
DEFAULT_SCALE = 0.05
"""Scale unless told otherwise: a demonstration should not make people wait."""


@dataclass(frozen=True, slots=True)
class Pace:
    """The timing of answers."""

    scale: float = DEFAULT_SCALE
    """Factor on all times; 0 answers at once."""

    def first_token_s(self) -> float:
        """Time to the first token, drawn anew, in seconds."""
        return self.scale * random.lognormvariate(math.log(FIRST_TOKEN_S), SPREAD)

    def tokens_s(self, count: int) -> float:
        """Time for a number of further tokens, in seconds."""
        return self.scale * count / TOKENS_PER_S
