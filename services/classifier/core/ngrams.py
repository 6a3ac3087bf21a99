"""Hashed n-grams of words and characters: what a text says literally, where the encoder has what it means.

Pure, and numpy all the way: no loop over words or characters, no vocabulary, no state.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

NGRAM_BUCKETS = 1 << 16
"""Dimensions: half of the buckets are for n-grams of words, half for those of characters."""
MAX_CHARS = 8192
"""Of a text that are read."""
CHAR_LENGTHS = (3, 4, 5)
"""Of n-grams of characters."""
WORD_LENGTHS = (1, 2, 3)
"""Of n-grams of words."""

_HALF = NGRAM_BUCKETS // 2
# Odd multipliers of 64 bits: from Knuth's multiplicative hashing, and MurmurHash3's finaliser.
_STEP = np.uint64(0x9E3779B97F4A7C15)
_MIX = np.uint64(0xFF51AFD7ED558CCD)
_BLANK = np.uint32(32)


def ngrams(text: str) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """The hashed n-grams of a text, upper and lower case alike.

    Returns:
        indices: (k,) rising, each under NGRAM_BUCKETS.
        values: (k,) of 1 + log(count) for each, scaled to length 1. Both are empty for a text of blanks.
    """
    codes = _folded(text[:MAX_CHARS])
    if not len(codes):
        return np.empty(0, np.int32), np.empty(0, np.float32)
    hashes = np.concatenate([*_of_characters(codes), *_of_words(codes)])
    indices, counts = np.unique(hashes, return_counts=True)
    values = 1 + np.log(counts)
    return indices.astype(np.int32), (values / np.linalg.norm(values)).astype(np.float32)


def _folded(text: str) -> NDArray[np.uint32]:
    """Code points in lower case; digits as one digit, a run of blanks as one blank, a blank at both ends."""
    lowered = text.lower().encode("utf-32-le", "replace")
    codes = np.frombuffer(lowered, np.uint32)
    codes = np.where(codes <= _BLANK, _BLANK, codes)
    codes = np.where((codes >= ord("0")) & (codes <= ord("9")), np.uint32(ord("0")), codes)
    codes = np.concatenate([[_BLANK], codes, [_BLANK]]).astype(np.uint32)
    kept = np.ones(len(codes), bool)
    kept[1:] = (codes[1:] != _BLANK) | (codes[:-1] != _BLANK)
    codes = codes[kept]
    return codes if len(codes) > 1 else codes[:0]


def _mixed(hashes: NDArray[np.uint64]) -> NDArray[np.uint64]:
    hashes = (hashes ^ (hashes >> np.uint64(33))) * _MIX
    return hashes ^ (hashes >> np.uint64(33))


def _chained(parts: NDArray[np.uint64], length: int) -> NDArray[np.uint64]:
    """Hashes of each `length` neighbours."""
    count = len(parts) - length + 1
    if count <= 0:
        return parts[:0]
    hashes = np.full(count, length, np.uint64)
    for place in range(length):
        hashes = _mixed((hashes + parts[place : place + count]) * _STEP)
    return hashes


def _of_characters(codes: NDArray[np.uint32]) -> list[NDArray[np.int64]]:
    wide = codes.astype(np.uint64)
    return [_bucket(_chained(wide, length)) for length in CHAR_LENGTHS]


def _of_words(codes: NDArray[np.uint32]) -> list[NDArray[np.int64]]:
    """A word is what stands between blanks or ASCII marks; each mark is a word of its own."""
    ascii_mark = (codes < 128) & ~(
        ((codes >= ord("a")) & (codes <= ord("z"))) | (codes == ord("0")) | (codes == ord("_"))
    )
    starts = np.flatnonzero((codes != _BLANK) & (ascii_mark | np.concatenate([[True], ascii_mark[:-1]])))
    ends = np.flatnonzero((codes != _BLANK) & (ascii_mark | np.concatenate([ascii_mark[1:], [True]]))) + 1
    # A word's hash is the sum over its letters, each mixed with the letter before it, so that their order
    # counts: a difference of running sums, which is exact though they wrap around.
    letters = _mixed(codes.astype(np.uint64) * _STEP)
    before = np.zeros_like(letters)
    before[1:] = letters[:-1]
    before[starts] = 0
    sums = np.concatenate([[np.uint64(0)], np.cumsum(_mixed(letters + before * _STEP), dtype=np.uint64)])
    words = _mixed(sums[ends] - sums[starts])
    return [_bucket(_chained(words, length)) + _HALF for length in WORD_LENGTHS]


def _bucket(hashes: NDArray[np.uint64]) -> NDArray[np.int64]:
    return (hashes % np.uint64(_HALF)).astype(np.int64)
