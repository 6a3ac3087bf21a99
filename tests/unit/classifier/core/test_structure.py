"""Structure features: what a request's form says of its kind of work."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.classifier.core.structure import FEATURES, structure
from services.common.seen import Seen, cut

CODE = "def add(a, b):\n    return (a + b)  # {sum}\n"


def feature(seen: Seen, name: str) -> float:
    return float(structure(seen)[FEATURES.index(name)])


@pytest.mark.parametrize(
    ("name", "more", "less"),
    [
        ("tools", cut("", ["hi"], tool_names=["search"]), cut("", ["hi"])),
        ("tool_count", cut("", ["hi"], tool_names=["a", "b"]), cut("", ["hi"], tool_names=["a"])),
        ("schema", cut("", ["hi"], response_schema="{}"), cut("", ["hi"])),
        ("input_size", cut("", ["word " * 5000]), cut("", ["word " * 500])),
        ("system_size", cut("Be brief and kind.", ["hi"]), cut("Be kind.", ["hi"])),
        ("turn_count", cut("", ["hi", "there"]), cut("", ["hi"])),
        ("questions", cut("", ["why? how?"]), cut("", ["why?"])),
        ("ends_in_question", cut("", ["Tell me: why?"]), cut("", ["Why? Tell me."])),
        ("ends_in_label", cut("", ["Is it good?\nAnswer:"]), cut("", ["Answer: is it good?\nSay."])),
        ("line_labels", cut("", ["Text: a\nLabel: b"]), cut("", ["Text a\nLabel b"])),
        ("choices", cut("", ["Pick:\nA) one\nB) two"]), cut("", ["Pick: one or two"])),
        ("delimiters", cut("", ['"""\ntext\n"""']), cut("", ["text"])),
        ("fenced", cut("", [f"```\n{CODE}```"]), cut("", [CODE])),
        ("code_marks", cut("", [CODE * 5]), cut("", ["We went to the market and bought pears. "])),
        ("digits", cut("", ["17 + 25"]), cut("", ["seventeen and twenty-five"])),
        ("foreign", cut("", ["Что это?"]), cut("", ["Qu'est-ce que c'est?"])),
        ("first_summarize", cut("", ["Summarise this: it rained."]), cut("", ["It rained. Summarise."])),
        ("last_answer", cut("", ["It rained.\nAnswer the question"]), cut("", ["It rained."])),
        ("sign_translate", cut("", ["Put it into German"]), cut("", ["Put it into the box"])),
        ("sign_classes", cut("Choose one of the following.", ["hi"]), cut("Choose.", ["hi"])),
    ],
)
def test_a_feature_is_greater_where_there_is_more_of_it(name: str, more: Seen, less: Seen) -> None:
    assert feature(more, name) > feature(less, name)


def test_an_instruction_after_long_material_is_seen() -> None:
    assert feature(cut("", ["word " * 5000 + "\nSummarize the text."]), "sign_summary") == 1


def test_no_two_features_have_one_name() -> None:
    assert len(set(FEATURES)) == len(FEATURES) == len(structure(Seen()))


@given(st.text(max_size=500), st.lists(st.text(max_size=500), max_size=3), st.integers(0, 10**9))
def test_every_feature_of_any_request_lies_between_0_and_1(system: str, turns: list[str], size: int) -> None:
    values = structure(Seen(system_prompt=system, turns=tuple(turns), input_chars=size))
    assert values.dtype == np.float32
    assert np.all((values >= 0) & (values <= 1))
