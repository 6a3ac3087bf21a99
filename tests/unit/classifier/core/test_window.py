"""The window: what the encoder reads of a request."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.classifier.core.window import GAP, SYSTEM_TOKENS, WINDOW_TOKENS, window
from services.common.seen import Seen, cut

MATERIAL = "the quick brown fox jumps over the lazy dog " * 900


def test_a_short_request_is_read_whole() -> None:
    seen = cut("Answer in French.", ["What is a duck?", "Tell me."])
    assert window(seen) == "Answer in French.\nWhat is a duck?\nTell me."


@pytest.mark.parametrize(
    ("system", "turns"),
    [
        ("SUMMARIZE what you are given.", [MATERIAL]),
        ("", ["SUMMARIZE this: " + MATERIAL]),
        ("", [MATERIAL + "\n\nNow SUMMARIZE it."]),
        ("", ["Hello!", MATERIAL + "\n\nNow SUMMARIZE it."]),
        ("You are an editor. " + MATERIAL, [MATERIAL + "\n\nSUMMARIZE it."]),
        ("SUMMARIZE. " + MATERIAL, [MATERIAL]),
    ],
)
def test_an_instruction_at_either_end_is_read_however_long_the_material_is(
    system: str, turns: list[str]
) -> None:
    text = window(cut(system, turns))
    assert "SUMMARIZE" in text
    assert GAP in text
    assert len(text) < 1000


def test_the_turns_get_what_a_short_system_prompt_leaves() -> None:
    alone = window(cut("", [MATERIAL]))
    beside = window(cut("Be kind.", [MATERIAL]))
    assert len(alone) - 30 < len(beside) <= len(alone)


def test_a_long_system_prompt_leaves_the_turns_most_of_the_room() -> None:
    words = window(cut("alpha " * 1000, ["beta " * 1000])).split()
    assert words.count("alpha") == SYSTEM_TOKENS
    assert words.count("beta") == WINDOW_TOKENS - SYSTEM_TOKENS


def test_a_long_system_prompt_takes_what_a_short_question_leaves() -> None:
    words = window(cut("alpha " * 1000, ["beta"])).split()
    assert words.count("alpha") == WINDOW_TOKENS - 1


@given(st.text(max_size=400), st.lists(st.text(max_size=3000), max_size=4))
def test_any_request_gives_a_window_of_bounded_length_made_of_its_own_text(
    system: str, turns: list[str]
) -> None:
    text = window(Seen(system_prompt=system, turns=tuple(turns)))
    # 12 characters a token, two gaps, one line break.
    assert len(text) <= 12 * (WINDOW_TOKENS + 2) + 2 * len(GAP) + 1
    whole = system + "\n" + "\n".join(turns)
    for line in text.replace(GAP, "\n").split("\n"):
        assert line.strip() in whole
