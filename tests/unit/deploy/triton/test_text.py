"""What of an answer's text may be shown, token by token."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.triton.cpu.serving.text import Text


def pieces(parts: Sequence[str | None]) -> Callable[[int], str | None]:
    """A decoder of tokens 0, 1, 2 … into these."""
    return lambda token: parts[token]


def told(parts: Sequence[str | None], *stop: str) -> tuple[list[str], Text]:
    """What is shown after each token, until the end or a stop word, and the text."""
    text = Text(pieces(parts), stop)
    shown = []
    for token in range(len(parts)):
        stopped = text.add(token)
        shown.append(text.shown)
        if stopped:
            break
    text.end()
    return shown, text


@pytest.mark.parametrize(
    ("parts", "stop", "shown", "whole", "reason"),
    [
        (["a", "b", "c"], [], ["a", "ab", "abc"], "abc", None),
        (["a", None, "é"], [], ["a", "a", "aé"], "aé", None),
        (["ab", "END", "c"], ["END"], ["ab", "ab"], "ab", "END"),
        # Across token borders: what may begin a stop word is held back, and shown if it did not.
        (["aE", "N", "D"], ["END"], ["a", "a", "a"], "a", "END"),
        (["aE", "N", "x"], ["END"], ["a", "a", "aENx"], "aENx", None),
        (["aE", "N"], ["END"], ["a", "a"], "aEN", None),
        (["E", "EN", "D"], ["END"], ["", "E", "E"], "E", "END"),
        # A token that has the word and more.
        (["a END b"], ["END"], ["a "], "a ", "END"),
        # The first word in the text ends it, not the first in the list.
        (["xbya"], ["a", "b"], ["x"], "x", "b"),
        # And the first that is complete, not the first that begins.
        (["xabc"], ["abc", "b"], ["xa"], "xa", "b"),
        (["a", "\n", "\nb"], ["\n\n"], ["a", "a", "a"], "a", "\n\n"),
        (["nn", "\n"], ["n\n", "q"], ["n", "n"], "n", "n\n"),
        (["né"], ["é"], ["n"], "n", "é"),
    ],
)
def test_the_text_is_cut_before_a_stop_word(
    parts: list[str | None], stop: list[str], shown: list[str], whole: str, reason: str | None
) -> None:
    seen, text = told(parts, *stop)
    assert (seen, text.shown, text.stopped_by) == (shown, whole, reason)


@given(
    parts=st.lists(st.text("ab", min_size=1, max_size=3), max_size=12),
    stop=st.lists(st.text("ab", min_size=1, max_size=4), max_size=3),
)
def test_whatever_the_token_borders_are_the_cut_is_the_same(parts: list[str], stop: list[str]) -> None:
    shown, text = told(parts, *stop)
    for earlier, later in pairwise([*shown, text.shown]):
        assert later.startswith(earlier), "what was shown is never taken back"
    # Letter by letter: the answer ends as soon as it ends in a stop word, the longest if in several.
    whole = "".join(parts)
    for end in range(1, len(whole) + 1):
        words = [word for word in stop if whole[:end].endswith(word)]
        if words:
            longest = max(words, key=len)
            assert (text.shown, text.stopped_by) == (whole[: end - len(longest)], longest)
            return
    assert (text.shown, text.stopped_by) == (whole, None)
