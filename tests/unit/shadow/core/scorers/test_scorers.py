"""What every scorer keeps, whatever it reads; and what each makes of answers that people would know."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from services.common.errors import DomainError, Reason
from services.common.words import TaskType
from services.shadow.core.scorers.answer import Answer, ToolCall
from services.shadow.core.scorers.registry import DEFAULT_SCORERS, SCORER_NAMES, needs_encoder, scorer

SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
    "required": ["city", "days"],
    "additionalProperties": False,
}


def embed(texts: Sequence[str]) -> NDArray[np.float32]:
    """Bags of letters: an encoder that needs no weights."""
    rows = np.zeros((len(texts), 64), np.float32)
    for row, text in enumerate(texts):
        for character in text.casefold():
            rows[row, ord(character) % 64] += 1
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)


def agree(name: str, a: Answer | str, b: Answer | str, schema: dict[str, Any] | None = None) -> Fraction:
    mine, other = (Answer(answer) if isinstance(answer, str) else answer for answer in (a, b))
    return scorer(name, embed if needs_encoder(name) else None).agree(mine, other, schema)


def call(name: str, /, **arguments: object) -> ToolCall:
    return ToolCall(name, orjson.dumps(arguments).decode())


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=8,
)
any_text = st.text(st.characters(), max_size=60)
texts = (
    any_text
    | values.map(lambda value: orjson.dumps(value).decode())
    | st.sampled_from(["", " ", "```json\n1\n```"])
)
tool_calls = st.lists(
    st.builds(ToolCall, st.sampled_from(["find", "book"]), any_text | st.just('{"a":[1,"b"]}')), max_size=3
).map(tuple)
answers = st.builds(
    Answer,
    texts,
    tool_calls,
    st.sampled_from(["", "", "", "I can't."]),
    st.sampled_from(["stop", "length", "tool_calls", "content_filter", ""]),
)
schemas = st.sampled_from(
    [None, None, SCHEMA, {"type": "array"}, {"type": "no type"}, {"$ref": "http://a.b/c"}]
)


@pytest.mark.parametrize("name", SCORER_NAMES)
@given(a=answers, b=answers, schema=schemas)
@settings(max_examples=150)
def test_a_score_is_a_fraction_from_0_to_1_the_same_again_and_the_same_turned_round(
    name: str, a: Answer, b: Answer, schema: dict[str, Any] | None
) -> None:
    found = agree(name, a, b, schema)
    assert isinstance(found, Fraction)
    assert 0 <= found <= 1
    assert agree(name, a, b, schema) == found
    assert agree(name, b, a, schema) == found


@pytest.mark.parametrize("name", SCORER_NAMES)
@given(a=answers, schema=schemas)
@settings(max_examples=150)
def test_an_answer_agrees_with_itself(name: str, a: Answer, schema: dict[str, Any] | None) -> None:
    assert agree(name, a, a, schema) == 1


@pytest.mark.parametrize("name", SCORER_NAMES)
@pytest.mark.parametrize(
    ("fails", "why"),
    [
        (Answer("", refusal="I can't help with that."), "refusal"),
        (Answer('{"city":"Rome","days":3}', finish_reason="content_filter"), "filter"),
        (Answer("  \n"), "empty"),
        (Answer('{"city":"Rome"}'), "misses a field"),
        (Answer('{"city":"Rome","days":3', finish_reason="length"), "cut off"),
        (Answer('```json\n{"city":"Rome","days":3}\n```'), "a fence, which a schema forbids"),
        (Answer("", (ToolCall("find", "{city"),)), "arguments that are no JSON"),
        (Answer("", (call("find", city="Rome"),)), "a call in place of an answer"),
    ],
)
def test_what_is_no_answer_agrees_with_none_that_is(name: str, fails: Answer, why: str) -> None:
    good = Answer('{"city":"Rome","days":3}')
    assert agree(name, good, good, SCHEMA) == 1, why
    assert agree(name, fails, good, SCHEMA) == agree(name, good, fails, SCHEMA) == 0, why


@pytest.mark.parametrize("name", SCORER_NAMES)
def test_a_schema_that_would_never_be_done_keeps_no_scorer(name: str) -> None:
    parts = {
        f"d{index}": {"allOf": [{"$ref": f"#/$defs/d{index + 1}"}] * 2, "type": "object"}
        for index in range(60)
    }
    schema = {"$ref": "#/$defs/d0", "$defs": {**parts, "d60": {}}}
    # It can't be held to, so an answer need only be JSON.
    assert agree(name, '{"city": "Rome"}', '{"city": "Rome"}', schema) == 1
    assert agree(name, '{"city": "Rome"}', "Rome", schema) == 0


@pytest.mark.parametrize("name", SCORER_NAMES)
def test_an_answer_that_would_never_be_checked_is_none(name: str) -> None:
    part = {"type": "object", "properties": {"a": {"$ref": "#"}}}
    deep = '{"a":' * 60 + "{}" + "}" * 60
    assert agree(name, deep, '{"a": {}}', {"allOf": [part, part]}) == 0


@pytest.mark.parametrize("name", SCORER_NAMES)
def test_two_refusals_agree_and_two_that_break_the_schema_are_read(name: str) -> None:
    refused = Answer("", refusal="I'm sorry."), Answer("No.", finish_reason="content_filter")
    assert agree(name, *refused) == 1
    assert agree(name, "", " ") == 1
    assert agree(name, Answer(""), refused[0]) == 0
    assert agree(name, "Rome, three days", "a wholly other thing, 12", SCHEMA) < Fraction(1, 2)


@pytest.mark.parametrize(
    ("a", "b", "same"),
    [
        ("card_arrival", '"Card_Arrival".', 1),
        (" positive\n", "**Positive**!", 1),
        ("ＡＢＣ", "abc", 1),
        ("Straße", "STRASSE", 1),
        ("two  words", "two words", 1),
        ("-1", "1", 0),
        (".5", "5", 0),
        ("spam", "no spam", 0),
        ("?", "!", 0),
        ('{"label": "Spam", "n": 1}', '{"n":1.0,"label":"spam"}', 1),
        ('{"label": "spam"}', '```json\n{"label":"spam"}\n```', 1),
        ('{"label": "spam"}', '{"label": "ham"}', 0),
        ('{"label": null}', "{}", 0),
        (
            Answer("", (call("f", a=1, b="X"),)),
            Answer("I call f.", (ToolCall("f", '{"b": "x", "a": 1}'),)),
            1,
        ),
        (Answer("", (call("f", a=1),)), Answer("", (call("f", a=2),)), 0),
        (Answer("", (call("f", a=1),)), Answer("", (call("g", a=1),)), 0),
        (Answer("", (ToolCall("f", ""),)), Answer("", (ToolCall("f", "{}"),)), 1),
    ],
)
def test_exact_match(a: Answer | str, b: Answer | str, same: int) -> None:
    assert agree("exact_match@1", a, b) == same


@pytest.mark.parametrize(
    ("a", "b", "score"),
    [
        ({"a": 1, "b": 2}, {"a": 1, "b": 3}, Fraction(1, 2)),
        ({"a": 1, "b": 2}, {"a": 1}, Fraction(2, 3)),
        ({"a": 1}, {"b": 1}, 0),
        ({"a": 1}, {"a": 1.0}, 1),
        ({"a": 1}, {"a": 1.0000000001}, 1),
        ({"a": 1}, {"a": 1.01}, 0),
        ({"a": 1}, {"a": "1"}, 0),
        ({"a": 1}, {"a": True}, 0),
        ({"a": None}, {"a": None}, 1),
        ({"a": None}, {"a": ""}, 0),
        ({"a": "Müller  GmbH"}, {"a": "MÜLLER GmbH"}, 1),
        ({"a": "Jon Smith"}, {"a": "John Smith"}, Fraction(9, 10)),
        ({"a": "2024-01-02"}, {"a": "2024-01-03"}, 0),
        ({"a": "Rome"}, {"a": "Oslo"}, 0),
        ({"a": []}, {"a": []}, 1),
        ({"a": []}, {"a": [1]}, 0),
        ({"a": {}}, {"a": []}, 0),
        ([1, 2, 3], [3, 1, 2], 1),
        ([1, 2, 3], [9, 1, 2, 3], Fraction(6, 7)),
        ([1, 1], [1, 2], Fraction(1, 2)),
        ([{"n": "A", "v": 1}, {"n": "B", "v": 2}], [{"n": "B", "v": 3}, {"n": "A", "v": 1}], Fraction(3, 4)),
        (list(range(60)), list(range(59, -1, -1)), 1),
        (list(range(60)), list(range(100, 160)), 0),
        ([[n, "x"] for n in range(300)], [[n, "x"] for n in reversed(range(300))], 1),
    ],
)
def test_json_fields(a: object, b: object, score: Fraction | int) -> None:
    first, second = (orjson.dumps(value).decode() for value in (a, b))
    assert agree("json_fields@1", first, second) == score
    assert agree("json_fields@1", second, first) == score


def test_json_fields_reads_a_block_of_markdown_unless_a_schema_forbids_it() -> None:
    fenced, plain = '```json\n{"city":"Rome","days":3}\n```', '{"city":"Rome","days":3}'
    assert agree("json_fields@1", fenced, plain) == 1
    assert agree("json_fields@1", fenced, plain, SCHEMA) == 0
    assert agree("json_fields@1", "Rome", plain) == 0
    assert agree("json_fields@1", "Romes", "Rome.") == Fraction(4, 5)


def test_json_fields_ends_soon_on_answers_made_to_take_long() -> None:
    wide = orjson.dumps([[f"a{chr(97 + i)}{j}" for j in range(70)] for i in range(24)]).decode()
    other = orjson.dumps([[f"b{chr(97 + i)}{j}" for j in range(70)] for i in range(24)]).decode()
    deep = "[" * 900 + "]" * 900
    assert 0 <= agree("json_fields@1", wide, other) < 1
    assert agree("json_fields@1", deep, deep) == 1


@pytest.mark.parametrize(
    ("a", "b", "score"),
    [
        ([call("book", city="Rome", days=3)], [call("book", city="Rome", days=3)], 1),
        ([call("book", city="Rome", days=3)], [call("book", city="Rome", days=4)], Fraction(2, 3)),
        ([call("book", city="Rome")], [call("find", city="Rome")], 0),
        ([call("a", x=1), call("b", x=2)], [call("b", x=2), call("a", x=1)], 1),
        ([call("a", x=1)], [call("a", x=1), call("b", x=2)], Fraction(2, 3)),
        ([ToolCall("a", "")], [ToolCall("a", "{}")], 1),
    ],
)
def test_tool_calls(a: list[ToolCall], b: list[ToolCall], score: Fraction | int) -> None:
    for name in ("tool_calls@1", "tool_calls@2", "json_fields@1", "text_overlap@1", "token_f1@1"):
        assert agree(name, Answer("", tuple(a)), Answer("words", tuple(b))) == score
    for name in ("tool_calls@1", "tool_calls@2"):
        assert agree(name, Answer("", tuple(a)), Answer("words")) == 0


@pytest.mark.parametrize("name", ["tool_calls@1", "tool_calls@2"])
def test_without_calls_tool_calls_compares_the_texts(name: str) -> None:
    same = agree(name, "It is sunny in Rome.", "It's sunny in Rome.")
    other = agree(name, "It is sunny in Rome.", "I could not find that.")
    assert same > Fraction(3, 4) > Fraction(1, 2) > other


@pytest.mark.parametrize("name", ["text_overlap@1", "token_f1@1"])
@pytest.mark.parametrize(
    ("reference", "near", "far"),
    [
        ("The invoice is due on Friday.", "The invoice is due this Friday.", "Please call me back."),
        ("Die Rechnung ist am Freitag fällig.", "Am Freitag ist die Rechnung fällig.", "Ruf mich bitte an."),
        ("请在星期五之前付款。", "请在星期五前付款。", "我明天给你打电话。"),
    ],
)
def test_texts_that_share_more_agree_more(name: str, reference: str, near: str, far: str) -> None:
    assert agree(name, near, reference) > agree(name, far, reference) + Fraction(1, 5)


def test_every_name_has_a_scorer_of_that_name_and_every_default_is_for_a_task_type() -> None:
    assert [scorer(name, embed).name for name in SCORER_NAMES] == list(SCORER_NAMES)
    assert set(DEFAULT_SCORERS) <= {task_type.name.lower() for task_type in TaskType}
    # The older version is for the experiments that name it.
    assert set(DEFAULT_SCORERS.values()) == set(SCORER_NAMES) - {"tool_calls@1"}
    for name in SCORER_NAMES:
        if needs_encoder(name):
            with pytest.raises(ValueError, match="encoder"):
                scorer(name, None)
        else:
            scorer(name, None)


def test_an_unknown_name_is_told_with_those_that_are_known() -> None:
    with pytest.raises(DomainError) as raised:
        scorer("bleu@1", embed)
    assert raised.value.reason is Reason.INVALID_REQUEST
    assert raised.value.metadata["field"] == "experiment.scorer"
    assert "exact_match@1" in raised.value.metadata["expected"]
    assert raised.value.metadata["got"] == "bleu@1"
