"""How long an answer takes: the latency of a small cloud model, from published measurements.

For gpt-4o-mini, as read on 2026-11-25:

- The first token comes after 645 ms in the median and 1,094 ms at the 95th percentile: 10,080 probes of 20
  tokens in a week, through OpenRouter. J. Wrede, "I monitored 6 LLM APIs for 7 days",
  jonathanwrede.de/en/blog/i-monitored-6-llm-apis-for-7-days.
- Then 59.0 tokens come a second, 46.1 at the least and 69.9 at the most: answers of 500 tokens, from OpenAI
  itself. "Inference speed of different models", community.openai.com/t/1307310.

Others have other levels of a like shape: 536 and 844 ms at modelstats.ai ("LLM API Latency Spikes"), 105
tokens a second in Wrede's short answers. Nothing here was measured by us. Both times are drawn as log-normal:
the first through its two percentiles, the second with its range as two standard deviations to each side. The
rare answer that takes seconds to begin is not stood in for.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field

FIRST_TOKEN_S = 0.645
"""Median time to the first token, in seconds."""
FIRST_TOKEN_SPREAD = math.log(1.094 / 0.645) / 1.645
"""Standard deviation of its logarithm; 1.645 of them above the median is the 95th percentile."""
TOKENS_PER_S = 59.0
"""Median pace after the first token."""
PACE_SPREAD = math.log(69.9 / 46.1) / 4
"""Standard deviation of its logarithm, from one answer to another."""


@dataclass(frozen=True, slots=True)
class Timing:
    """The times of one answer."""

    first_token_s: float
    token_s: float
    """Between one token and the next."""


@dataclass(frozen=True, slots=True)
class Pace:
    """The timing of answers."""

    scale: float = 0.0
    """Factor on all times: 1 is as published, 0 answers at once."""
    rng: random.Random = field(default_factory=random.Random)
    """Where the draws come from; one with a seed gives the same times again."""

    def draw(self) -> Timing:
        """The times of the next answer."""
        if not self.scale:
            return Timing(0.0, 0.0)
        first = self.rng.lognormvariate(math.log(FIRST_TOKEN_S), FIRST_TOKEN_SPREAD)
        pace = self.rng.lognormvariate(math.log(TOKENS_PER_S), PACE_SPREAD)
        return Timing(self.scale * first, self.scale / pace)
