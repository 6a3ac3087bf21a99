"""Nearness of meaning: the cosine between the embeddings of two texts, as far as it says something."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

Embed = Callable[[Sequence[str]], NDArray[np.float32]]
"""Texts to their embeddings: (n, d), rows of length 1."""

NEAR_FROM = 0.5
"""The cosine that counts as 0. Unrelated sentences have .05 in English, but .4 to .5 in most other languages
of Europe (the median, with the shipped encoder)."""
PIECE_CHARS = 400
"""Characters that are embedded at once: about the 128 tokens that the encoder reads."""
MAX_PIECES = 32
"""Of a text, about 12,000 characters; what is beyond is not embedded. Each piece takes some milliseconds."""

_SENTENCE_END = re.compile(r"(?<=[.!?。！？])\s+|\n+")
_LATIN = re.compile("[A-Za-z\u00aa\u00ba\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u024f\u1e00-\u1eff]")
_LETTER = re.compile(r"[^\W\d_]")


def nearness(text: str, reference: str, embed: Embed, *, near_from: float = NEAR_FROM) -> float | None:
    """How near two texts are in meaning, from 0 to 1; None if the encoder can't read one of them. Symmetric.

    A text's embedding is the mean of its pieces', weighted by their lengths.
    """
    if not readable(text) or not readable(reference):
        return None
    mine, other = pieces(text), pieces(reference)
    rows = embed([*mine, *other]).astype(np.float64)
    a, b = _mean(rows[: len(mine)], mine), _mean(rows[len(mine) :], other)
    length = float(np.sqrt((a @ a) * (b @ b)))
    cosine = float(a @ b) / length if length > 0 else 0.0
    return min(1.0, max(0.0, (cosine - near_from) / (1 - near_from)))


def readable(text: str) -> bool:
    """Whether at least half of the letters are Latin; without letters nothing is.

    The encoder learned English. To it any two sentences in Thai are the same (cosine 1.0), in Bengali nearly
    (.86), in Greek, Hindi, Arabic or Russian more than half.
    """
    return 2 * len(_LATIN.findall(text)) >= max(1, len(_LETTER.findall(text)))


def pieces(text: str) -> list[str]:
    """A text in pieces of PIECE_CHARS at most, cut between sentences where that can be; at least one."""
    found: list[str] = []
    for sentence in _SENTENCE_END.split(text):
        rest = sentence.strip()
        while rest:
            if found and len(found[-1]) + 1 + len(rest) <= PIECE_CHARS:
                found[-1] += " " + rest
                break
            found.append(rest[:PIECE_CHARS])
            rest = rest[PIECE_CHARS:].strip()
        if len(found) > MAX_PIECES:
            break
    return found[:MAX_PIECES] or [""]


def _mean(rows: NDArray[np.float64], texts: Sequence[str]) -> NDArray[np.float64]:
    weights = np.array([[len(text)] for text in texts], np.float64)
    mean: NDArray[np.float64] = (rows * weights).sum(axis=0)
    return mean
