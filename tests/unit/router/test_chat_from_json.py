"""Bodies of chat completions survive the contract, or are refused; answers add up to the same message."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from google.protobuf import json_format
from homeward.common.v1 import chat_pb2
from hypothesis import given
from hypothesis import strategies as st

from services.common.errors import DomainError
from services.router.chat_from_json import LossyError, normalised, same, to_chat, to_message
from services.router.chat_proto import to_request
from services.router.core import sse

USER = {"role": "user", "content": "Hi"}
CALL = {"id": "t1", "type": "function", "function": {"name": "look", "arguments": '{"a": 1}'}}
TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
SCHEMA = {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}, "strict": True}}

DESCRIBED = {"type": "json_schema", "json_schema": {"name": "n", "schema": {}, "description": "d"}}


def image(**fields: str) -> dict[str, Any]:
    return {"role": "user", "content": [{"type": "image_url", "image_url": fields}]}


def body(*messages: Any, **fields: Any) -> dict[str, Any]:
    return {"model": "m", "messages": list(messages) or [USER], **fields}


def again(document: dict[str, Any]) -> dict[str, Any]:
    """The body that a leg asks with."""
    return dict(to_request(to_chat(document), streamed=False).document)


@pytest.mark.parametrize(
    ("fields", "asked"),
    [
        ({}, {}),
        # Servers differ in which of the two names they know.
        ({"max_tokens": 9}, {"max_tokens": 9}),
        ({"max_completion_tokens": 9}, {"max_completion_tokens": 9}),
        ({"max_tokens": 9, "max_completion_tokens": 8}, {"max_tokens": 9, "max_completion_tokens": 8}),
        ({"stream": True, "stream_options": {"include_usage": True}}, {}),
        (
            {"temperature": 0, "top_p": 0.5, "seed": -3, "n": 1},
            {"temperature": 0, "top_p": 0.5, "seed": -3, "n": 1},
        ),
        (
            {"temperature": None, "stop": None, "tools": None, "response_format": None, "tool_choice": None},
            {},
        ),
        ({"stop": "END"}, {"stop": ["END"]}),
        ({"stop": ["a", "b"]}, {"stop": ["a", "b"]}),
        ({"response_format": {"type": "text"}}, {}),
        ({"response_format": {"type": "json_object"}}, {"response_format": {"type": "json_object"}}),
        ({"response_format": SCHEMA}, {"response_format": SCHEMA}),
        ({"tools": [TOOL], "tool_choice": "required"}, {"tools": [TOOL], "tool_choice": "required"}),
        (
            {"tools": [{"type": "function", "function": {"name": "now", "strict": None}}]},
            {"tools": [{"type": "function", "function": {"name": "now", "parameters": {}}}]},
        ),
        (
            {"tool_choice": {"type": "function", "function": {"name": "look"}}},
            {"tool_choice": {"type": "function", "function": {"name": "look"}}},
        ),
        (
            {"user": "ann", "logit_bias": {"50": -1}, "x": None},
            {"user": "ann", "logit_bias": {"50": -1}, "x": None},
        ),
    ],
)
def test_a_leg_asks_what_the_application_asked(fields: dict[str, Any], asked: dict[str, Any]) -> None:
    assert again(body(**fields)) == body(**asked)


@pytest.mark.parametrize(
    ("message", "asked"),
    [
        (USER, USER),
        (
            {"role": "developer", "content": "x", "name": "ann"},
            {"role": "developer", "content": "x", "name": "ann"},
        ),
        ({"role": "user", "content": [{"type": "text", "text": "Hi"}]}, USER),
        ({"role": "user", "content": ""}, {"role": "user", "content": ""}),
        (
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "a"},
                    {"type": "image_url", "image_url": {"url": "data:x"}},
                ],
            },
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "a"},
                    {"type": "image_url", "image_url": {"url": "data:x"}},
                ],
            },
        ),
        (
            # What OpenAI's SDK sends back of an answer.
            {"role": "assistant", "content": None, "refusal": None, "annotations": [], "tool_calls": [CALL]},
            {"role": "assistant", "content": None, "tool_calls": [CALL]},
        ),
        (
            {"role": "assistant", "content": "", "tool_calls": [CALL]},
            {"role": "assistant", "content": "", "tool_calls": [CALL]},
        ),
        (
            {"role": "assistant", "tool_calls": [CALL]},
            {"role": "assistant", "content": None, "tool_calls": [CALL]},
        ),
        (
            {"role": "tool", "tool_call_id": "t1", "content": "found"},
            {"role": "tool", "tool_call_id": "t1", "content": "found"},
        ),
    ],
)
def test_a_message_is_asked_again_as_it_was(message: dict[str, Any], asked: dict[str, Any]) -> None:
    assert again(body(message))["messages"] == [asked]


def deep(levels: int) -> dict[str, Any]:
    document: dict[str, Any] = {}
    for _ in range(levels):
        document = {"a": document}
    return document


@pytest.mark.parametrize(
    ("document", "lost"),
    [
        (body(tools=[]), "`tools`"),
        (body(tools=[{"type": "custom", "custom": {"name": "x"}}]), "function"),
        (body(tools=[{"type": "function", "function": {"name": "a b"}}]), "a b"),
        (body(tools=[{**TOOL, "cache_control": {"type": "ephemeral"}}]), "`tools`"),
        (body(tool_choice={"type": "allowed_tools"}), "function"),
        (body(tool_choice={"type": "function", "function": {"name": "auto"}}), "`tool_choice`"),
        (body(response_format=DESCRIBED), "`response_format`"),
        (body(temperature=True), "`temperature`"),
        (body(temperature=3), "temperature"),
        (body(max_completion_tokens=2**40), "ValueError"),
        (body(max_completion_tokens=1.5), "Error"),
        (body(stop=list("abcde")), "stop"),
        (body(stop=[]), "`stop`"),
        (body(x=2**53 + 1), "`x`"),
        (body(functions=[{"name": "look"}]), "`functions`"),
        (body(audio={"voice": "alloy"}), "`audio`"),
        (body(x=deep(60)), "DecodeError"),
        (body({"role": "user", "content": None}), "`messages`"),
        (body({"role": "function", "name": "f", "content": "x"}), "function"),
        (body({"role": "assistant", "content": None, "refusal": "No."}), "`messages`"),
        (body({"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]}), "image_url"),
        (body(image(url="data:x", detail="low")), "`messages`"),
        (body(image(url="http://x")), "content"),
    ],
)
def test_what_the_contract_can_not_carry_is_refused_and_named(document: dict[str, Any], lost: str) -> None:
    with pytest.raises(LossyError) as caught:
        to_chat(document)
    assert lost in str(caught.value)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**60), 2**60)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
TEXTS = st.text(st.characters(codec="utf-8"), max_size=20)
MESSAGES = st.fixed_dictionaries(
    {"role": st.sampled_from(["system", "user", "assistant", "tool", "developer", "odd"])},
    optional={
        "content": TEXTS
        | st.none()
        | st.lists(st.fixed_dictionaries({"type": st.just("text"), "text": TEXTS}), max_size=3),
        "tool_calls": st.just([CALL]) | st.just([]) | st.none(),
        "tool_call_id": st.just("t1"),
        "name": TEXTS,
        "refusal": st.none() | TEXTS,
    },
)
BODIES = st.fixed_dictionaries(
    {"model": st.text(min_size=1, max_size=5), "messages": st.lists(MESSAGES, min_size=1, max_size=4)},
    optional={
        "stream": st.booleans(),
        "stream_options": st.just({"include_usage": True}),
        "max_tokens": st.integers(1, 2**31) | JSON,
        "max_completion_tokens": st.integers(1, 2**31) | JSON,
        "temperature": st.floats(0, 2) | JSON,
        "stop": TEXTS | st.lists(TEXTS, max_size=5) | JSON,
        "tools": st.just([TOOL]) | JSON,
        "tool_choice": st.sampled_from(
            ["auto", "none", "look", {"type": "function", "function": {"name": "x"}}]
        )
        | JSON,
        "response_format": st.just(SCHEMA) | JSON,
        "metadata": JSON,
        "user": JSON,
    },
)


@given(BODIES)
def test_whatever_is_carried_is_carried_without_loss(document: dict[str, Any]) -> None:
    try:
        asked = again(document)
    except LossyError:
        return
    assert same(asked, normalised(document))
    assert same(again(asked), asked)


@given(
    st.builds(
        body,
        st.fixed_dictionaries({"role": st.sampled_from(["system", "user"]), "content": TEXTS}),
        max_tokens=st.integers(1, 2**31),
        temperature=st.floats(0, 2),
        metadata=st.dictionaries(TEXTS, TEXTS, max_size=3),
        stream=st.booleans(),
    )
)
def test_ordinary_bodies_are_carried(document: dict[str, Any]) -> None:
    stream = document.pop("stream")
    assert again({**document, "stream": stream}) == document


KEYS = ["zeta", "alpha", "reasoning", "answer", "name", "b"]


def test_a_schemas_fields_keep_their_order() -> None:
    """Models write in it: a reason before the answer is another answer."""
    schema = {"type": "object", "properties": {key: {"type": "string"} for key in KEYS}}
    document = {
        "model": "gpt-4o-mini",
        "messages": [{"role": "user", "content": "Hello"}],
        "tools": [{"type": "function", "function": {"name": "look", "parameters": schema}}],
        "response_format": {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}},
    }
    carried = chat_pb2.Chat.FromString(to_chat(document).SerializeToString())
    asked = to_request(carried, streamed=False).document
    for found in (
        asked["tools"][0]["function"]["parameters"],
        asked["response_format"]["json_schema"]["schema"],
    ):
        assert list(found["properties"]) == KEYS


@pytest.mark.parametrize("text", ["[1]", "{", '"a"', "NaN"])
def test_a_schema_that_is_no_object_is_refused(text: str) -> None:
    chat = chat_pb2.Chat(
        model="m",
        messages=[chat_pb2.Message(role=chat_pb2.ROLE_USER, content=[chat_pb2.ContentPart(text="Hello")])],
        tools=[chat_pb2.Tool(name="look", parameters_json=text)],
    )
    with pytest.raises(DomainError) as refused:
        to_request(chat, streamed=False)
    assert refused.value.metadata["field"] == "chat.tools[0].parameters_json"


def test_odd_types_anywhere_are_refused_and_nothing_else(harm: Callable[..., Any]) -> None:
    document = body(
        USER, {"role": "assistant", "tool_calls": [CALL]}, tools=[TOOL], response_format=SCHEMA, stop=["x"]
    )

    def read(variant: Any) -> None:
        # The doors have checked these.
        messages = variant["messages"]
        checked = (
            isinstance(messages, list)
            and messages
            and all(
                isinstance(item, dict)
                and isinstance(item.get("role"), str)
                and isinstance(item.get("content"), (str, list, type(None)))
                for item in messages
            )
        )
        if not checked or not isinstance(variant["model"], str):
            return
        try:
            to_chat(variant)
        except LossyError:
            return

    assert harm(document, read, None) == []


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [(1, 1.0, True), (1, True, False), (0, False, False), (2**53 + 1, 2.0**53, False), ([1], [1.0], True)],
)
def test_numbers_are_the_same_by_value_and_booleans_by_kind(one: object, other: object, equal: bool) -> None:
    assert same({"x": one}, {"x": other}) is equal


def as_dict(message: chat_pb2.Message) -> dict[str, Any]:
    return json_format.MessageToDict(message, preserving_proto_field_name=True)


SAID = {"role": "ROLE_ASSISTANT"}
CALLED = {"id": "t1", "name": "look", "arguments_json": '{"a": 1}'}


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ({"content": "Hi"}, {"content": [{"text": "Hi"}]}),
        ({"content": ""}, {}),
        ({"content": None, "refusal": "No."}, {"content": [{"text": "No."}], "name": "refusal"}),
        ({"content": "Hi", "refusal": "No."}, {"content": [{"text": "Hi"}]}),
        ({"content": None, "tool_calls": [CALL]}, {"tool_calls": [CALLED]}),
    ],
)
def test_an_answer_becomes_a_message(message: dict[str, Any], expected: dict[str, Any]) -> None:
    answer = json.dumps(
        {"choices": [{"index": 1, "message": {"content": "other"}}, {"index": 0, "message": message}]}
    )
    assert as_dict(to_message(answer.encode(), streamed=False)) == {**SAID, **expected}


def events(*deltas: dict[str, Any]) -> bytes:
    chunks = [{"choices": [{"index": 0, "delta": delta}]} for delta in deltas]
    pieces = [sse.event(json.dumps(chunk).encode()) for chunk in [*chunks, {"choices": [], "usage": {}}]]
    return b": hello\n\n" + b"".join(pieces) + sse.event(sse.DONE)


def test_a_stream_becomes_the_message_that_its_pieces_add_up_to() -> None:
    function: dict[str, Any] = {"name": "now", "arguments": ""}
    stream = events(
        {"role": "assistant", "content": ""},
        {"content": "H"},
        {"content": "i"},
        {"tool_calls": [{"index": 1, "id": "t2", "function": function}]},
        {"tool_calls": [{"index": 0, "id": "t1", "function": {"name": "look", "arguments": '{"a"'}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": ": 1}"}}]},
    )
    assert as_dict(to_message(stream, streamed=True)) == {
        **SAID,
        "content": [{"text": "Hi"}],
        "tool_calls": [CALLED, {"id": "t2", "name": "now"}],
    }


def test_a_streamed_refusal_is_told_by_its_name() -> None:
    stream = events({"refusal": "N"}, {"refusal": "o."})
    assert as_dict(to_message(stream, streamed=True)) == {
        **SAID,
        "content": [{"text": "No."}],
        "name": "refusal",
    }


@given(st.lists(TEXTS, max_size=6))
def test_however_a_text_is_cut_it_is_the_same_message(pieces: list[str]) -> None:
    whole = json.dumps({"choices": [{"index": 0, "message": {"content": "".join(pieces)}}]}).encode()
    stream = events(*({"content": piece} for piece in pieces))
    assert to_message(stream, streamed=True) == to_message(whole, streamed=False)


@pytest.mark.parametrize(
    ("answer", "streamed"),
    [
        (b"no JSON", False),
        (b"[]", False),
        (b"{}", False),
        (b'{"choices": [{"index": 0, "message": {"function_call": {"name": "f", "arguments": ""}}}]}', False),
        (b'{"choices": [{"index": 0, "message": {"audio": {"id": "a"}}}]}', False),
        (b"data: no JSON\n\n", True),
        (b'data: {"choices": [{"delta": {"function_call": {"name": "f"}}}]}\n\n', True),
    ],
)
def test_what_is_no_answer_or_has_more_than_a_message_is_refused(answer: bytes, streamed: bool) -> None:
    with pytest.raises(LossyError):
        to_message(answer, streamed=streamed)
