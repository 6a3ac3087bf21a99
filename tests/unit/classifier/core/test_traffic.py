"""What is remembered of an unnamed request, and which of them a later registration makes known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from services.classifier.core.classify import Answer
from services.classifier.core.reading import Reading
from services.classifier.core.traffic import (
    HEAD_WORDS,
    Sighting,
    Unnamed,
    packed,
    remembered,
    rounded,
    still_unnamed,
    unit_rows,
    unnamed,
    unpacked,
)
from services.common.fingerprint import Shape, ShapeTable, shape_of_system_prompt, shapes_of_examples
from services.common.fingerprint.shape import says_nothing
from services.common.seen import Seen, cut
from services.common.words import Evidence, TaskType

PROMPT = "Sort the tickets of our customers by what they ask for."
TEMPLATE = "Rewrite this message so that it is polite, and keep every fact of it: {}"


def direction(at: int, noise: int = 0) -> NDArray[np.float32]:
    """A unit vector that points in a direction, and a little in others."""
    vector = np.random.default_rng([at, noise]).normal(size=384).astype(np.float32) * 0.01
    vector[at] += 1
    return vector / np.float32(np.linalg.norm(vector))


def kept(seen: Seen, embedding: NDArray[np.float32] | None = None, *, keep_prompts: bool = True) -> Unnamed:
    sighting = Sighting(
        b"", 1, "crm", seen, direction(0) if embedding is None else embedding, TaskType.CODE, 0.9
    )
    return remembered(sighting, keep_prompts=keep_prompts)


def test_a_sighting_has_what_the_classifier_made_of_the_request() -> None:
    nothing = np.zeros(0, np.float32)
    reading = Reading(direction(3), np.zeros(0, np.int32), nothing, nothing, language_known=True)
    answer = Answer("", Evidence.TASK_TYPE, 0.8, TaskType.CODE, 0.8)
    found = unnamed(cut(PROMPT, ["hello"]), reading, answer, b"i" * 16, "crm", 17)
    assert (found.request_id, found.time_unix_us, found.key_name) == (b"i" * 16, 17, "crm")
    assert (found.task_type, found.task_type_confidence) == (TaskType.CODE, 0.8)
    assert found.embedding is reading.embedding


@given(
    st.builds(
        Seen,
        st.text(max_size=200),
        st.lists(st.text(max_size=200), max_size=3).map(tuple),
        st.lists(st.text(max_size=20), max_size=3).map(tuple),
        st.text(max_size=50),
        st.integers(0, 2**40),
    )
)
def test_an_opening_is_the_same_after_packing(seen: Seen) -> None:
    assert unpacked(packed(seen)) == seen
    assert (
        remembered(Sighting(b"", 1, "", seen, direction(0), TaskType.CODE, 0.5), keep_prompts=False).seen
        is None
    )


@given(st.integers(0, 383), st.integers(0, 1000))
def test_an_embedding_of_one_byte_a_number_points_where_the_whole_one_does(at: int, noise: int) -> None:
    mixed = direction(at) + direction((at + 7) % 384, noise)
    whole = (mixed / np.linalg.norm(mixed)).astype(np.float32)
    (again,) = unit_rows([rounded(whole)])
    assert float(again @ whole) > 0.999
    assert np.linalg.norm(again) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(
    ("system_prompt", "nothing"),
    [
        ("You are a helpful assistant.", True),
        ("you are a  HELPFUL ai assistant", True),
        ("You’re a helpful chatbot!", True),
        ("You are the helpful assistant of Contoso.", False),
        ("You are a helpful assistant. Version 2.", False),
        ("You are a helpful translator.", False),
        ("", False),
        ("…", False),
    ],
)
def test_a_system_prompt_that_only_says_hello_is_nobodys(system_prompt: str, nothing: bool) -> None:
    assert says_nothing(system_prompt) is nothing
    item = kept(cut(system_prompt, ["hello"]))
    if nothing:
        assert item.shape == Shape()
        assert item.seen is not None
        assert item.seen.system_prompt == ""


def test_heads_agree_up_to_the_slot_of_a_template_and_not_beyond_it() -> None:
    long = " and so on and on and on and on and on and on and on and on and on and on and on and on"
    first, second = (
        kept(cut("", [TEMPLATE.format("one" + long)])),
        kept(cut("", [TEMPLATE.format("two" + long)])),
    )
    # The template has 13 words before its slot.
    agree = [a == b for a, b in zip(first.heads, second.heads, strict=True)]
    assert agree == [words <= 13 for words in HEAD_WORDS if words <= 32] + [agree[-1]]
    assert first.tails == second.tails
    assert all(first.tails)


@pytest.mark.parametrize(
    ("seen", "heads"),
    [
        (cut("", ["four words are too"]), 0),
        (cut("", ["but five words are enough"]), 1),
        (cut("Four words of a system prompt.", ["x"]), 1),
        # Of several messages nobody can tell which is the template.
        (cut("", ["one two three four five six", "seven eight nine ten eleven"]), 0),
    ],
)
def test_a_head_is_hashed_if_the_text_goes_on_after_it(seen: Seen, heads: int) -> None:
    assert sum(map(bool, kept(seen).heads)) == heads


@pytest.mark.parametrize("keep_prompts", [True, False])
def test_requests_that_a_registered_system_prompt_would_name_are_left_out(keep_prompts: bool) -> None:
    table = ShapeTable([("tickets", shape_of_system_prompt(PROMPT)), ("tools", Shape(tool_names=("a", "b")))])
    mine = [
        kept(cut(text, ["x"], tool_names=tools), keep_prompts=keep_prompts)
        for text, tools in (
            (PROMPT, ()),
            (f"{PROMPT} Version 2.1.", ()),
            ("", ("b", "a")),
        )
    ]
    others = [
        kept(cut("Write the minutes of this meeting.", ["x"]), keep_prompts=keep_prompts),
        kept(cut("", ["x"], tool_names=("a",)), keep_prompts=keep_prompts),
        kept(cut("", [PROMPT]), keep_prompts=keep_prompts),
    ]
    assert still_unnamed([*mine, *others], table, {}) == others


def test_requests_of_a_registered_template_are_left_out_if_their_texts_were_kept() -> None:
    examples = [cut("", [TEMPLATE.format(f"{word} {word}")]) for word in ("a", "b", "c", "d", "e")]
    table = ShapeTable(("polite", shape) for shape in shapes_of_examples(examples))
    mine, other = (
        kept(cut("", [TEMPLATE.format("that one was lost")])),
        kept(cut("", ["Is x lost? Then tell me so."])),
    )
    assert still_unnamed([mine, other], table, {}) == [other]


def test_requests_as_near_to_an_example_as_examples_are_to_each_other_are_left_out() -> None:
    examples = [direction(5, noise) for noise in range(10)]
    near, far = kept(cut("", ["x"]), direction(5, 99)), kept(cut("", ["y"]), direction(6, 99))
    assert still_unnamed([near, far], ShapeTable(), {"trips": examples}) == [far]
    # One example alone has no nearest to be measured by.
    assert still_unnamed([near, far], ShapeTable(), {"trips": examples[:1]}) == [near, far]
    assert still_unnamed([], ShapeTable(), {"trips": examples}) == []
