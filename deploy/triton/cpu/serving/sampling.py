"""Picks the next token from the model's logits, the way TensorRT-LLM's parameters say."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Logits = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Sampling:
    """How to pick. A field that is None was not given."""

    temperature: float | None = None
    """0 is greedy."""
    top_k: int | None = None
    """Only the k likeliest tokens; 0 is all, 1 is greedy."""
    top_p: float | None = None
    """Only the likeliest tokens whose shares add up to this; 0 is greedy, 1 is all."""
    frequency_penalty: float = 0.0
    """Taken off a token's logit for each time that it stands in prompt or answer."""
    presence_penalty: float = 0.0
    """Taken off once if it stands there at all."""
    seed: int | None = None
    """The same seed picks the same tokens; None picks anew each time."""

    @property
    def greedy(self) -> bool:
        """True if the likeliest token is always taken, as without any of the first three."""
        if self.temperature == 0 or self.top_k == 1 or self.top_p == 0:
            return True
        return self.temperature is None and self.top_k is None and self.top_p is None


class Sampler:
    """The state of one answer: its random numbers and what was said."""

    def __init__(self, sampling: Sampling, prompt: Iterable[int], vocabulary_tokens: int) -> None:
        """The penalties count the prompt's tokens too, as TensorRT-LLM does by default."""
        self._sampling = sampling
        self._random = np.random.default_rng(sampling.seed)
        self._seen: npt.NDArray[np.float32] | None = None
        if sampling.frequency_penalty or sampling.presence_penalty:
            self._seen = np.zeros(vocabulary_tokens, dtype=np.float32)
            np.add.at(self._seen, np.fromiter(prompt, dtype=np.int64), 1)

    def pick(self, logits: Logits) -> int:
        """The next token.

        Args:
            logits: one number for each token of the vocabulary.
        """
        if self._seen is not None:
            penalty = self._sampling.frequency_penalty * self._seen
            penalty += self._sampling.presence_penalty * (self._seen > 0)
            logits = logits - penalty
        token = int(logits.argmax()) if self._sampling.greedy else self._draw(logits)
        if self._seen is not None:
            self._seen[token] += 1
        return token

    def _draw(self, logits: Logits) -> int:
        temperature = 1.0 if self._sampling.temperature is None else self._sampling.temperature
        order = np.argsort(-logits, kind="stable")
        if self._sampling.top_k:
            order = order[: self._sampling.top_k]
        # In 64 bits: a temperature near 0 must make one share 1, and not overflow.
        scaled = logits[order].astype(np.float64)
        shares = np.exp((scaled - scaled[0]) / temperature)
        shares /= shares.sum()
        if self._sampling.top_p is not None:
            # The token that reaches top_p still counts.
            keep = int(np.searchsorted(np.cumsum(shares), self._sampling.top_p)) + 1
            shares = shares[:keep] / shares[:keep].sum()
        drawn = int(np.searchsorted(np.cumsum(shares), self._random.random(), side="right"))
        return int(order[min(drawn, len(shares) - 1)])


def logprob(logits: npt.NDArray[Any], token: int) -> float:
    """The natural logarithm of the model's own share of a token, before penalties and temperature."""
    wide = logits.astype(np.float64)
    top = wide.max()
    return float(wide[token] - top - np.log(np.exp(wide - top).sum()))
