"""Sketches agree as often as the words of two prompts do."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest

from services.common.fingerprint.sketch import HASHES, sketch_of

WORDS = [f"w{i}" for i in range(200)]


def alike(one: list[str], two: list[str]) -> float:
    return sum(a == b for a, b in zip(sketch_of(one), sketch_of(two), strict=True)) / HASHES


def test_it_is_made_of_64_numbers_of_32_bits_and_never_changes() -> None:
    sketch = sketch_of(["you", "route", "messages", "of", "a", "bank's", "customers"])
    assert len(sketch) == HASHES
    assert all(0 <= value < 2**32 for value in sketch)
    # Registered sketches are compared with those of later versions.
    assert sketch[:3] == (429474189, 318460085, 362137330)


def test_no_words_have_no_sketch() -> None:
    assert sketch_of([]) == ()


@pytest.mark.parametrize("replaced", [0, 10, 40, 100, 200])
def test_the_share_of_equal_numbers_is_the_similarity(replaced: int) -> None:
    rng = random.Random(replaced)
    other = WORDS.copy()
    for at in rng.sample(range(200), replaced):
        other[at] = f"x{at}"
    pairs = [{*words, *pairwise(words)} for words in (WORDS, other)]
    jaccard = len(pairs[0] & pairs[1]) / len(pairs[0] | pairs[1])
    # Four standard errors of a share of 64.
    assert abs(alike(WORDS, other) - jaccard) <= 4 * (jaccard * (1 - jaccard) / HASHES) ** 0.5 + 1e-9


def test_another_language_is_less_alike_than_another_word() -> None:
    german, french, verse, prose = ([*WORDS[:30], word] for word in ("german", "french", "verse", "prose"))
    assert alike(german, french) < alike(verse, prose)
