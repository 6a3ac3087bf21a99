"""The pieces that texts are embedded in, and what becomes of the parts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from services.shadow.core.scorers.meaning import (
    MAX_PIECES,
    NEAR_FROM,
    PIECE_CHARS,
    nearness,
    pieces,
    readable,
)


@given(st.text(st.sampled_from("a. \n"), max_size=2000))
def test_pieces_are_short_and_lose_nothing_but_spaces(text: str) -> None:
    found = pieces(text)
    assert 1 <= len(found) <= MAX_PIECES
    assert all(len(piece) <= PIECE_CHARS for piece in found)
    assert "".join("".join(found).split()) == "".join(text.split())


def test_sentences_stay_whole_where_they_can() -> None:
    sentence = "x" * 150 + "."
    assert pieces(" ".join([sentence] * 5)) == [f"{sentence} {sentence}"] * 2 + [sentence]
    assert len(pieces("word " * 100_000)) == MAX_PIECES


def test_a_tail_that_differs_is_seen_and_opposites_are_0() -> None:
    def embed(texts: Sequence[str]) -> NDArray[np.float32]:
        return np.array(
            [[1, 0] if text.startswith("a") else [-1, 0] if text[:1] == "b" else [0, 1] for text in texts],
            np.float32,
        )

    head = "a" * PIECE_CHARS
    assert nearness(head, head, embed) == 1
    assert nearness("a", "b", embed) == 0
    found = nearness(head + "c" * PIECE_CHARS, head, embed)
    assert found == pytest.approx((0.5**0.5 - NEAR_FROM) / (1 - NEAR_FROM))
    assert nearness(head + "b" * PIECE_CHARS, head, embed) == 0


@pytest.mark.parametrize(
    ("text", "can"),
    [
        ("Plain English.", True),
        ("Größe, où, łódź, Việt Nam", True),
        ("API für 星期五", True),
        ("星期五之前付款 ok", False),
        ("ราคาเท่าไร", False),
        ("Сколько стоит?", False),
        ("42", False),
        ("🦆", False),
    ],
)
def test_what_the_encoder_can_not_read_has_no_nearness(text: str, can: bool) -> None:
    def embed(texts: Sequence[str]) -> NDArray[np.float32]:
        return np.ones((len(texts), 2), np.float32)

    assert readable(text) is can
    assert nearness(text, "English", embed) == nearness("English", text, embed) == (1 if can else None)
