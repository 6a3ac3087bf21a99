"""The label sets that the stand-in was taught, and a linear head for each on the encoder's vectors.

`python -m training.stand_in` makes `model/heads.npz`; `model/README.md` says from what, and how good it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from deploy.local.cloud.encoder import Array

FILE = Path(__file__).parent / "model" / "heads.npz"
"""For each head NAME the arrays NAME.labels, NAME.weights, NAME.bias and NAME.prompt."""
SAME_PROMPT = 0.75
"""Cosine from which on a prompt counts as the one that a head was taught with."""


@dataclass(frozen=True, eq=False)
class Head:
    """A multinomial logistic regression."""

    name: str
    """Of the workload: voice-domain, bank-intent."""
    labels: tuple[str, ...]
    weights: Array
    """(labels, 384)."""
    bias: Array
    """(labels,)."""
    prompt: Array
    """(384,): the vector of a prompt that asks for one of the labels without listing them."""

    def scores(self, vector: Array, options: Sequence[str]) -> Array:
        """The logits of some of the labels for a text's vector; shape (options,)."""
        place = {label: row for row, label in enumerate(self.labels)}
        rows = [place[option] for option in options]
        return np.asarray(self.weights[rows] @ vector + self.bias[rows], dtype=np.float32)


def for_options(options: Sequence[str]) -> Head | None:
    """The head that was taught all of these labels, if there is one."""
    return next((head for head in _load() if set(options) <= set(head.labels)), None)


def for_prompt(vector: Array) -> Head | None:
    """The head that was taught with a prompt like the one of this vector, if there is one."""
    best = max(_load(), key=lambda head: float(head.prompt @ vector))
    return best if best.prompt @ vector >= SAME_PROMPT else None


@cache
def _load() -> tuple[Head, ...]:
    with np.load(FILE) as arrays:
        names = sorted({key.partition(".")[0] for key in arrays})
        return tuple(
            Head(
                name,
                tuple(str(label) for label in arrays[f"{name}.labels"]),
                arrays[f"{name}.weights"],
                arrays[f"{name}.bias"],
                arrays[f"{name}.prompt"],
            )
            for name in names
        )
