"""Turns text into vectors by hashing its n-grams.

The hashing trick (K. Weinberger et al., "Feature Hashing for Large Scale Multitask Learning", ICML 2009):
every word and every three letters of the text add to or subtract from a place that their hash names. Texts
that share words and parts of words have near vectors; meaning is not known.
"""

from __future__ import annotations

import math
import zlib
from collections import Counter

from deploy.local.cloud import extract

DIMENSIONS = 256
"""Length of a vector."""


def embed(text: str, dimensions: int = DIMENSIONS) -> list[float]:
    """The vector of a text, cut to its first dimensions, of length 1."""
    vector = [0.0] * DIMENSIONS
    for gram, times in _grams(text).items():
        code = zlib.crc32(gram.encode("utf-8", "surrogatepass"))
        # Frequent grams count less than proportionally, as in tf-idf with a logarithm.
        vector[code % DIMENSIONS] += (1 + math.log(times)) * (1 if code & 0x8000_0000 else -1)
    return _unit(vector[:dimensions])


def _grams(text: str) -> Counter[str]:
    lower = " ".join(text.lower().split())
    padded = f" {lower} "
    grams = Counter(padded[i : i + 3] for i in range(len(padded) - 2))
    for word in extract.words(lower):
        grams[f"\0{word}"] += 2
    return grams


def _unit(vector: list[float]) -> list[float]:
    length = math.sqrt(sum(value * value for value in vector))
    if not length:
        return [1.0, *vector[1:]]
    return [value / length for value in vector]
