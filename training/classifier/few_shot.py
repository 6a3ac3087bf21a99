"""How good the sentence embedding is for heads with few examples: CLINC150, ten examples an intent."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.public_rows import clinc150

EXAMPLES = 10
TESTS = 20
"""Texts of an intent that are named."""
DRAWS = 60
"""Of ten intents out of the 150."""


@dataclass(frozen=True, slots=True)
class Benchmark:
    """The texts, and which intent each has."""

    texts: list[str]
    intents: NDArray[np.int64]
    given: NDArray[np.bool_]
    """True for an example, false for a text to name."""


@dataclass(frozen=True, slots=True)
class Result:
    """Shares of the texts that the nearest centroid names right."""

    of_150: float
    of_10: float
    """The mean over draws of ten intents."""


def benchmark() -> Benchmark:
    """The first ten texts of each intent's train split, the first twenty of its test split."""
    texts: list[str] = []
    intents: list[int] = []
    given: list[bool] = []
    splits: dict[bool, dict[str, list[str]]] = {True: defaultdict(list), False: defaultdict(list)}
    for row in clinc150("train"):
        splits[True][row.intent].append(row.text)
    for row in clinc150("test"):
        splits[False][row.intent].append(row.text)
    for number, intent in enumerate(sorted(splits[True])):
        for split, count in ((True, EXAMPLES), (False, TESTS)):
            chosen = splits[split][intent][:count]
            texts += chosen
            intents += [number] * len(chosen)
            given += [split] * len(chosen)
    return Benchmark(texts, np.array(intents), np.array(given))


def measure(rows: Benchmark, embeddings: NDArray[np.floating], seed: int) -> Result:
    """Names each text by the nearest centroid of the examples' embeddings, (n, 384)."""
    count = int(rows.intents.max()) + 1
    centroids = np.stack([embeddings[(rows.intents == one) & rows.given].mean(0) for one in range(count)])
    centroids /= np.linalg.norm(centroids, axis=1, keepdims=True)
    near = embeddings[~rows.given] @ centroids.T
    truth = rows.intents[~rows.given]
    random = np.random.default_rng(seed)
    shares = []
    for _ in range(DRAWS):
        chosen = random.choice(count, 10, replace=False)
        asked = np.isin(truth, chosen)
        shares.append((chosen[near[asked][:, chosen].argmax(1)] == truth[asked]).mean())
    return Result(float((near.argmax(1) == truth).mean()), float(np.mean(shares)))
