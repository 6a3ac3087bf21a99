"""How long an experiment will take: experiments like it, drawn before the first sample."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from services.shadow.core.simulate import Plan, days_to_ready

SEED = 1
RUNS = 2_000
"""So many that a median day is off by less than a day in most plans."""
MAX_S = 365 * 86_400
"""A year: what takes longer is told as that."""
MAX_WINDOWS = 365
"""Windows that are drawn at most, however short they are."""
SHARES: Mapping[str, float] = {"median": 0.5, "p80": 0.8, "p95": 0.95}
GUESS = 0.1
"""The mean square of votes before there are samples. Of labels it is one vote in ten that is −1 or 1; of free
text, answers of different models to one prompt of PandaLM and LLMFAO have .07 to .09."""
GUESSES: Mapping[str, float] = {"judge": 0.25}
"""By scorer. A judge says 0, ½ or 1, of each pair by itself: of two such, half of them ties."""


@dataclass(frozen=True, slots=True)
class Forecast:
    """When an experiment says READY if the sovereign model is as good."""

    votes_per_window: int
    windows: Mapping[str, int | None]
    """Windows until then, by SHARES of the experiments; None: more than were drawn."""
    drawn: Sequence[int]
    """Windows of each experiment, ascending."""

    def share_within(self, windows: int) -> float:
        """Share of the experiments that need no more windows."""
        return sum(count <= windows for count in self.drawn) / len(self.drawn)

    def seconds(self, name: str, window_s: float) -> float | None:
        """The same as a length of time."""
        count = self.windows[name]
        return None if count is None else count * window_s


@lru_cache(maxsize=64)
def forecast(
    votes_per_window: int,
    discordance: float,
    *,
    margin: float,
    alpha: float,
    epoch: int,
    min_windows: int,
    window_s: float = 86_400,
) -> Forecast:
    """Draws experiments; the same gives the same, and is drawn once.

    Args:
        votes_per_window: at least 1.
        discordance: the mean square of votes; above 0, at most 1.
        margin: δ.
        alpha: the error over all epochs.
        epoch: from 1; it has α/2^epoch.
        min_windows: what a verdict needs.
        window_s: length of a window, seconds.
    """
    count = max(min_windows, min(MAX_WINDOWS, int(MAX_S // window_s)))
    # A plan is of epoch 1, which has half of its α.
    plan = Plan(margin, alpha / 2 ** (epoch - 1), count, votes_per_window, min_windows)
    drawn = days_to_ready(discordance, plan, RUNS, np.random.default_rng(SEED))
    found = {name: int(drawn[int(share * len(drawn))]) for name, share in SHARES.items()}
    windows = {name: at if at <= count else None for name, at in found.items()}
    return Forecast(votes_per_window, windows, drawn.tolist())


def guess(scorer: str) -> float:
    """The mean square of votes, before anything is measured."""
    return GUESSES.get(scorer.partition("@")[0], GUESS)
