"""The cut of a request: never more than the contract allows, and the same when it is made again."""

from __future__ import annotations

import pytest

from services.common.seen import MAX_TURNS, MAX_TURNS_BYTES, cut, excerpt


@pytest.mark.parametrize("text", ["a", "ж", "龍", "😀", "\ud800"], ids=ascii)
@pytest.mark.parametrize("length", [1, 3, 1000])
@pytest.mark.parametrize("count", [1, 7, 127, 128, 129, 1023, 1024, 1025, 5000])
def test_a_cut_is_within_the_limit_and_cutting_again_changes_nothing(
    count: int, length: int, text: str
) -> None:
    seen = cut("", [text * length] * count)
    assert len(seen.turns) == min(count, MAX_TURNS)
    assert all(seen.turns)
    assert sum(len(turn.encode()) for turn in seen.turns) <= MAX_TURNS_BYTES
    assert seen.input_chars == count * length
    assert cut("", seen.turns, input_chars=seen.input_chars) == seen


def test_of_too_many_turns_the_first_and_the_last_stay() -> None:
    turns = tuple(map(str, range(1000)))
    assert cut("", turns).turns == (*turns[:64], *turns[-64:])
    assert cut("", turns[:MAX_TURNS]).turns == turns[:MAX_TURNS]


@pytest.mark.parametrize("room", [0, 1, 7, 8, 15, 16, 17, 100])
def test_an_excerpt_fits_whatever_room_there_is(room: int) -> None:
    assert len(excerpt("龍" * 1000, room).encode()) <= room


def test_a_long_text_keeps_its_head_and_its_tail() -> None:
    assert excerpt("abcdefgh" + "x" * 100 + "ijklmnop", 64) == "abcdefghijklmnop"
