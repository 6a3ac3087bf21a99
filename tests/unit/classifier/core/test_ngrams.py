"""Hashed n-grams: what a text says literally."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.classifier.core.ngrams import MAX_CHARS, NGRAM_BUCKETS, ngrams


def likeness(one: str, other: str) -> float:
    dense = np.zeros((2, NGRAM_BUCKETS))
    for row, text in enumerate((one, other)):
        indices, values = ngrams(text)
        dense[row, indices] = values
    return float(dense[0] @ dense[1])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Translate THIS", "translate this"),
        ("order 4711 of 2024", "order 9023 of 1999"),
        ("two  words\n\there ", "two words here"),
        (" edges ", "edges"),
    ],
)
def test_case_digits_and_blanks_make_no_difference(one: str, other: str) -> None:
    assert likeness(one, other) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(
    ("text", "near", "far"),
    [
        ("translate into German", "translate into French", "summarize the article"),
        ("cancel my order", "cancel the orders", "write a poem on spring"),
        ("не работает вход", "не работает выход", "dónde está mi paquete"),
        ("abc", "abc abc", "cba"),
    ],
)
def test_texts_that_share_words_and_parts_of_words_are_nearer(text: str, near: str, far: str) -> None:
    assert likeness(text, near) > likeness(text, far) + 0.1


def test_the_order_of_words_and_of_letters_counts() -> None:
    assert likeness("dog bites man", "man bites dog") < 0.95
    assert likeness("stressed", "desserts") < 0.2


def test_the_same_text_gives_the_same_numbers_in_every_process() -> None:
    # The shipped weights are by bucket: if this changes, the model must be trained anew.
    indices, values = ngrams("Hello, world")
    assert len(indices) == len(values) == 39
    assert int(indices.astype(np.int64).sum()) == 868_719


def test_what_lies_beyond_the_limit_is_not_read() -> None:
    text = "word " * (MAX_CHARS // 5 + 1)
    for mine, cut in zip(ngrams(text + "unseen"), ngrams(text[:MAX_CHARS]), strict=True):
        assert np.array_equal(mine, cut)


@given(st.text(st.characters(), max_size=300))
def test_any_text_gives_rising_indices_in_range_and_a_vector_of_length_one(text: str) -> None:
    indices, values = ngrams(text)
    assert indices.dtype == np.int32
    assert values.dtype == np.float32
    assert np.all(np.diff(indices) > 0)
    if len(indices):
        assert 0 <= indices[0] <= indices[-1] < NGRAM_BUCKETS
        assert np.linalg.norm(values) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("text", ["", "   ", "\n\t"])
def test_blanks_have_none(text: str) -> None:
    indices, values = ngrams(text)
    assert len(indices) == len(values) == 0
