"""The fixed parts of a request, and those that a workload's examples share."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.fingerprint import (
    DIGEST_BYTES,
    Shape,
    fingerprint,
    shape_of,
    shape_of_system_prompt,
    shapes_of_examples,
)
from services.common.fingerprint.shape import normalised, schema_digest
from services.common.seen import Seen, cut

PROMPT = "You triage the tickets of Contoso, release 1.0. Name the one queue that fits."


@pytest.mark.parametrize(
    "text", ["You triage tickets.", "  You triage\ttickets.\n", "You\r\n\r\ntriage   tickets."]
)
def test_white_space_does_not_matter(text: str) -> None:
    assert fingerprint(text) == hashlib.sha256(b"You triage tickets.").digest()[:16]


@pytest.mark.parametrize("text", ["you triage tickets.", "You triage tickets", "Youtriage tickets.", ""])
def test_every_other_difference_does(text: str) -> None:
    assert fingerprint(text) != fingerprint("You triage tickets.")


@given(st.lists(st.text(alphabet="abcö", min_size=1), max_size=5))
def test_only_the_words_count(words: list[str]) -> None:
    digest = fingerprint(" ".join(words))
    assert len(digest) == DIGEST_BYTES
    assert digest == fingerprint("\n" + "\t ".join(words) + " ")


def test_a_name_and_a_number_change_the_digest_but_not_the_masked_one() -> None:
    one = shape_of_system_prompt(PROMPT)
    two = shape_of_system_prompt(PROMPT.replace("Contoso", "Northwind").replace("1.0", "2.0"))
    assert one.digest != two.digest
    assert one.masked_digest == two.masked_digest
    assert len(one.masked_digest) == DIGEST_BYTES


@pytest.mark.parametrize("text", ["Hi 12", "TL;DR:", "😀", "5", "v1.0"])
def test_too_few_words_stand_for_nothing_but_themselves(text: str) -> None:
    assert shape_of_system_prompt(text) == Shape(digest=fingerprint(text))


@pytest.mark.parametrize("text", ["", " ", "\n\t"])
def test_no_system_prompt_has_no_shape(text: str) -> None:
    assert shape_of_system_prompt(text) == Shape()


def test_a_short_prompt_has_no_sketch_and_a_long_one_has() -> None:
    assert shape_of_system_prompt(PROMPT).sketch == ()
    assert len(shape_of_system_prompt(" ".join(f"word{'x' * i}" for i in range(30))).sketch) == 64


SCHEMA = {"type": "object", "properties": {"b": {}, "a": {"enum": ["é", "x"]}}}
LONG_SCHEMA = {"enum": [f"label-{i}" for i in range(500)]}


@pytest.mark.parametrize("schema", [SCHEMA, LONG_SCHEMA])
def test_a_schema_counts_by_what_it_says_cut_or_whole(schema: dict[str, object]) -> None:
    texts = [
        json.dumps(schema),
        json.dumps(schema, indent=2),
        json.dumps(schema, ensure_ascii=False, sort_keys=True),
    ]
    compact = json.dumps(schema, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    seen = [Seen(response_schema=text) for text in texts] + [cut("", (), response_schema=compact)]
    assert len({shape_of(item).schema_digest for item in seen}) == 1
    other = Seen(response_schema=compact.replace("a", "c"))
    assert shape_of(other).schema_digest != shape_of(seen[0]).schema_digest


def test_tools_count_by_their_names_in_any_order_cut_or_whole() -> None:
    names = ("b", "a", "a", "", "n" * 300)
    shape = shape_of(Seen(tool_names=names))
    assert shape == shape_of(cut("", (), tool_names=reversed(names)))
    assert shape.tool_names[:2] == ("a", "b")
    assert not shape.digest


# What examples share

LETTERS = [
    "Dear Ada, where is the parcel?",
    "My card was stolen.",
    "I need 3 more seats!",
    "Please cancel it",
    "It broke, again and again",
    "Thanks for nothing",
]
FORM = "Summarize the letter below in two sentences: {}\n\nWrite in plain words."


def plain(*texts: str) -> list[Seen]:
    return [Seen(turns=(text,)) for text in texts]


def test_examples_without_a_system_prompt_have_the_template_that_they_share() -> None:
    (shape,) = shapes_of_examples(plain(*map(FORM.format, LETTERS)))
    assert shape.template_head == "summarize the letter below in two sentences"
    assert shape.template_tail == "write in plain words"
    assert replace(shape, template_head="", template_tail="") == Shape()


@pytest.mark.parametrize(
    ("texts", "head", "tail"),
    [
        # Six words, or four and four.
        ([f"one two three four five six {text}" for text in LETTERS], "one two three four five six", ""),
        ([f"one two three four five {text}" for text in LETTERS], "", ""),
        ([f"one two three four {text} a b c d" for text in LETTERS], "one two three four", "a b c d"),
        ([f"one two three {text} a b c d" for text in LETTERS], "", ""),
        ([f"{text} a b c d e f g" for text in LETTERS], "", ""),
        # Numbers are slots that every text may fill.
        (
            [f"Rule {i}: name the one queue of {text}" for i, text in enumerate(LETTERS)],
            "rule 0 name the one queue of",
            "",
        ),
        # Four examples are too few, and so is one that was sent five times.
        ([FORM.format(text) for text in LETTERS[:4]], "", ""),
        ([FORM.format(LETTERS[0])] * 8, "", ""),
        ([*(FORM.format(text) for text in LETTERS), "Hello there, how are you all doing?"], "", ""),
    ],
)
def test_a_template_has_a_head_to_tell_it_by(texts: list[str], head: str, tail: str) -> None:
    wanted = (Shape(template_head=head, template_tail=tail),) if head else ()
    assert shapes_of_examples(plain(*texts)) == wanted


def test_head_and_tail_never_share_a_word() -> None:
    texts = ["a b c d e f g h", *(f"a b c d e f {text} g h" for text in LETTERS)]
    (shape,) = shapes_of_examples(plain(*texts))
    assert (shape.template_head, shape.template_tail) == ("a b c d e f", "g h")


def test_examples_have_the_shapes_that_they_have_each_once() -> None:
    prompts = [PROMPT, PROMPT.replace("1.0", "1.1"), PROMPT, "Another prompt of the same workload."]
    examples = [Seen(prompt, (text,), tool_names=("t",)) for prompt in prompts for text in LETTERS]
    assert shapes_of_examples(examples) == tuple(map(shape_of, (examples[0], examples[6], examples[18])))


def test_there_are_never_more_than_64() -> None:
    examples = [Seen(f"Prompt number {i} of a generator.", (text,)) for i in range(80) for text in LETTERS]
    assert len(shapes_of_examples(examples)) == 64


def test_examples_that_begin_with_another_turn_have_no_template() -> None:
    assert shapes_of_examples([Seen(turns=("Welcome.", FORM.format(text))) for text in LETTERS]) == ()


@pytest.mark.parametrize("depth", [10, 254, 255, 300, 900])
def test_a_schema_has_a_digest_however_deep_it_nests(depth: int) -> None:
    schema = '{"not":' * depth + "{}" + "}" * depth
    digest = schema_digest(Seen(response_schema=schema))
    assert len(digest) == DIGEST_BYTES
    assert digest == schema_digest(cut("", [], response_schema=schema))


@given(st.text())
def test_a_text_is_normalised_once(text: str) -> None:
    once = normalised(text)
    assert normalised(once) == once
    assert once.split() == once.split(" ") or not once


def test_a_template_is_normalised() -> None:
    seen = [cut("", [f"Sort THIS ticket, no. {n}, into one of 7 queues: {'abcdefgh'[n]}"]) for n in range(6)]
    (shape,) = shapes_of_examples(seen)
    assert shape.template_head == normalised("Sort THIS ticket, no. 1, into one of 7 queues:")
