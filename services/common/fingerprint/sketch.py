"""How alike two masked system prompts are, from a few numbers of each.

Pure. MinHash (Broder, "On the resemblance and containment of documents", 1997): of a set, the least value
under each of some hash functions. Two sets agree in a value with a probability that is their Jaccard
similarity.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from services.common.fingerprint.vocabulary import KEPT_CAPITALS

HASHES = 64
"""Values of a sketch. The standard error of a similarity of 0.9 is 0.04."""


TELLING = 8
"""How many more times a language or a format counts: one for another is another work, not an edit."""


def _coefficients(what: str) -> NDArray[np.uint64]:
    # From a digest, so that they are the same in every version of numpy.
    drawn = b"".join(hashlib.sha256(f"homeward {what} {i}".encode()).digest()[:8] for i in range(HASHES))
    return np.frombuffer(drawn, "<u8").astype(np.uint64)[:, None]


_FACTORS = _coefficients("factor") | np.uint64(1)
_SUMMANDS = _coefficients("summand")


def sketch_of(words: Sequence[str]) -> tuple[int, ...]:
    """The sketch of a text's words and pairs of neighbours: 64 numbers of 32 bits, none of no words."""
    if not words:
        return ()
    shingles = {*words, *map(" ".join, pairwise(words))}
    shingles |= {f"{word} {i}" for word in KEPT_CAPITALS.intersection(words) for i in range(TELLING)}
    hashed = np.fromiter(
        (zlib.crc32(item.encode("utf-8", "replace")) for item in shingles), np.uint64, len(shingles)
    )
    # Multiply-shift (Dietzfelbinger 1996): 2-independent for keys of 32 bits; uint64 wraps as it should.
    values = (_FACTORS * hashed + _SUMMANDS) >> np.uint64(32)
    return tuple(values.min(axis=1).tolist())
