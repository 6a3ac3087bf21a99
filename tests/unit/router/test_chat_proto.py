"""`Chat` as a chat completion, and completions as what the gRPC door answers."""

import json
from collections.abc import Callable
from typing import Any

import orjson
import pytest
from google.protobuf import json_format, struct_pb2
from homeward.common.v1 import chat_pb2
from homeward.router.v1 import router_pb2

from services.common.errors import DomainError, Reason
from services.router import chat_proto
from services.router.chat_proto import to_choices, to_deltas, to_request
from services.router.core import wire
from services.router.core.catalog import CHAT, Route
from services.router.core.same import SameCodec

HI = {"role": "ROLE_USER", "content": [{"text": "Hi"}]}
CHAT_HI = {"role": "user", "content": "Hi"}


def chat(**fields: Any) -> chat_pb2.Chat:
    return json_format.ParseDict({"model": "m", "messages": [HI], **fields}, chat_pb2.Chat())


@pytest.mark.parametrize(
    ("fields", "document"),
    [
        ({}, {}),
        ({"sampling": {}}, {}),
        (
            {
                "sampling": {
                    "max_tokens": 9,
                    "temperature": 0,
                    "top_p": 0.5,
                    "seed": -(2**63),
                    "stop": ["END"],
                    "frequency_penalty": -2,
                    "presence_penalty": 2,
                    "n": 16,
                }
            },
            {
                "max_completion_tokens": 9,
                "temperature": 0,
                "top_p": 0.5,
                "seed": -(2**63),
                "stop": ["END"],
                "frequency_penalty": -2,
                "presence_penalty": 2,
                "n": 16,
            },
        ),
        ({"tool_choice": "required"}, {"tool_choice": "required"}),
        ({"tool_choice": "look"}, {"tool_choice": {"type": "function", "function": {"name": "look"}}}),
        (
            {
                "tools": [
                    {"name": "look", "description": "x", "strict": False, "parameters": {"maxLength": 5}},
                    {"name": "now"},
                ]
            },
            {
                "tools": [
                    {
                        "type": "function",
                        "function": {
                            "name": "look",
                            "description": "x",
                            "strict": False,
                            "parameters": {"maxLength": 5},
                        },
                    },
                    {"type": "function", "function": {"name": "now", "parameters": {}}},
                ]
            },
        ),
        ({"response_format": {"json_object": True}}, {"response_format": {"type": "json_object"}}),
        (
            {"response_format": {"json_schema": {"name": "n", "schema": {"type": "object"}, "strict": True}}},
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "n", "schema": {"type": "object"}, "strict": True},
                }
            },
        ),
        (
            {"extra_fields": {"logprobs": True, "top_logprobs": 5, "x": {"y": [1, 2.5, None, "z"]}}},
            {"logprobs": True, "top_logprobs": 5, "x": {"y": [1, 2.5, None, "z"]}},
        ),
    ],
)
def test_a_chat_becomes_the_body_of_a_chat_completion(
    fields: dict[str, Any], document: dict[str, Any]
) -> None:
    request = to_request(chat(**fields), streamed=False)
    assert request.document == {"model": "m", "messages": [CHAT_HI], **document}
    assert json.loads(request.body) == request.document
    assert (request.api, request.model, request.streamed) == (CHAT, "m", False)
    assert request.input_chars == len(request.body)


@pytest.mark.parametrize(
    "fields",
    [
        {"sampling": {"max_tokens": 1, "temperature": 2, "top_p": 1, "stop": list("abcd")}},
        {"sampling": {"frequency_penalty": 2, "presence_penalty": -2, "n": 1}},
        {"sampling": {"max_tokens": 2**31}},
        {"tools": [{"name": f"t{number}"} for number in range(128)]},
        {"tools": [{"name": "aZ09_-" + "x" * 58}]},
    ],
)
def test_what_just_keeps_the_contract_is_accepted(fields: dict[str, Any]) -> None:
    assert to_request(chat(**fields), streamed=False).model == "m"


def structs(number: int) -> struct_pb2.Struct:
    """A Struct with so many values, most of them within others."""
    inner = struct_pb2.Struct(fields={"a": struct_pb2.Value()})
    item = struct_pb2.Value(struct_value=inner)
    # The list itself, and its items with one value each.
    items = struct_pb2.ListValue(values=[item] * ((number - 1) // 2))
    items.values.extend([struct_pb2.Value()] * ((number - 1) % 2))
    return struct_pb2.Struct(fields={"x": struct_pb2.Value(list_value=items)})


def sized(parts: int) -> dict[str, chat_pb2.Chat]:
    """Chats of so many messages, parts, calls and values, by what they are."""
    hi = chat_pb2.Message(role=chat_pb2.ROLE_USER, content=[chat_pb2.ContentPart(text="Hi")])
    more = parts - 2
    part, call = chat_pb2.ContentPart(text="x"), chat_pb2.ToolCall()
    schema = chat_pb2.JsonSchema(schema=structs(more))
    return {
        "messages": chat_pb2.Chat(
            model="m", messages=[hi, *[chat_pb2.Message(role=chat_pb2.ROLE_USER)] * more]
        ),
        "parts": chat_pb2.Chat(
            model="m", messages=[hi, chat_pb2.Message(role=chat_pb2.ROLE_USER, content=[part] * (more - 1))]
        ),
        "calls": chat_pb2.Chat(
            model="m",
            messages=[hi, chat_pb2.Message(role=chat_pb2.ROLE_ASSISTANT, tool_calls=[call] * (more - 1))],
        ),
        "extra fields": chat_pb2.Chat(model="m", messages=[hi], extra_fields=structs(more)),
        "a tool": chat_pb2.Chat(
            model="m", messages=[hi], tools=[chat_pb2.Tool(name="t", parameters=structs(more))]
        ),
        "a form": chat_pb2.Chat(
            model="m", messages=[hi], response_format=chat_pb2.ResponseFormat(json_schema=schema)
        ),
    }


@pytest.mark.parametrize("what", sorted(sized(9)))
def test_a_chat_of_too_many_parts_is_refused_before_one_is_made(
    what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chat_proto, "MAX_PARTS", 1000)
    assert to_request(sized(1000)[what], streamed=False).model == "m"
    monkeypatch.setattr(chat_proto, "_message", lambda *_: pytest.fail("made"))
    with pytest.raises(DomainError) as caught:
        to_request(sized(1001)[what], streamed=False)
    assert caught.value.reason is Reason.INVALID_REQUEST
    assert caught.value.metadata["field"] == "chat"


def test_schemas_of_too_many_values_are_refused_together(monkeypatch: pytest.MonkeyPatch) -> None:
    text = json.dumps({"enum": [1] * (wire.MAX_VALUES // 2)})
    tools = [{"name": name, "parameters_json": text} for name in ("a", "b")]
    assert to_request(chat(tools=tools[:1]), streamed=False).model == "m"
    monkeypatch.setattr(orjson, "loads", lambda _: pytest.fail("parsed"))
    with pytest.raises(DomainError) as caught:
        to_request(chat(tools=tools), streamed=False)
    assert caught.value.reason is Reason.INVALID_REQUEST
    assert str(wire.MAX_VALUES) in caught.value.message


def test_whole_numbers_stay_whole() -> None:
    # A Struct knows only floating point, but servers refuse 5.0 as a count.
    assert b'"top_logprobs":5}' in to_request(chat(extra_fields={"top_logprobs": 5}), streamed=False).body


def test_a_streamed_chat_says_so_and_can_be_sent(upstream: Callable[..., Any]) -> None:
    request = to_request(chat(), streamed=True)
    assert request.streamed
    assert request.document["stream"] is True
    sent = json.loads(SameCodec(request, None).request(Route(upstream(), "there")))
    assert (sent["model"], sent["stream_options"]) == ("there", {"include_usage": True})


@pytest.mark.parametrize(
    ("message", "document"),
    [
        (HI, CHAT_HI),
        ({"role": "ROLE_SYSTEM", "content": [{"text": "x"}]}, {"role": "system", "content": "x"}),
        ({"role": "ROLE_DEVELOPER", "content": [{"text": "x"}]}, {"role": "developer", "content": "x"}),
        ({"role": "ROLE_USER"}, {"role": "user", "content": ""}),
        ({**HI, "name": "ann"}, {**CHAT_HI, "name": "ann"}),
        (
            {"role": "ROLE_USER", "content": [{"text": "a"}, {"text": "b"}]},
            {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
        ),
        (
            {"role": "ROLE_USER", "content": [{"image_url": "https://example.org/a.png"}]},
            {
                "role": "user",
                "content": [{"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}],
            },
        ),
        (
            {
                "role": "ROLE_ASSISTANT",
                "tool_calls": [{"id": "t1", "name": "look", "arguments_json": "{}"}],
            },
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [
                    {"id": "t1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
                ],
            },
        ),
        (
            {"role": "ROLE_TOOL", "tool_call_id": "t1", "content": [{"text": "found"}]},
            {"role": "tool", "tool_call_id": "t1", "content": "found"},
        ),
    ],
)
def test_a_message_becomes_a_message(message: dict[str, Any], document: dict[str, Any]) -> None:
    assert to_request(chat(messages=[message]), streamed=False).document["messages"] == [document]


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"model": ""}, "chat.model"),
        ({"messages": []}, "chat.messages"),
        ({"messages": [HI, {"content": [{"text": "x"}]}]}, "chat.messages[1].role"),
        ({"messages": [{"role": 99}]}, "chat.messages[0].role"),
        ({"messages": [{"role": "ROLE_TOOL"}]}, "chat.messages[0].tool_call_id"),
        ({"messages": [{"role": "ROLE_USER", "content": [{}]}]}, "chat.messages[0].content[0]"),
        (
            {"messages": [{"role": "ROLE_USER", "content": [{"image_url": "file:///etc/passwd"}]}]},
            "chat.messages[0].content[0]",
        ),
        ({"sampling": {"max_tokens": 0}}, "chat.sampling.max_tokens"),
        ({"sampling": {"temperature": -0.1}}, "chat.sampling.temperature"),
        ({"sampling": {"temperature": 2.1}}, "chat.sampling.temperature"),
        ({"sampling": {"temperature": "NaN"}}, "chat.sampling.temperature"),
        ({"sampling": {"top_p": 0}}, "chat.sampling.top_p"),
        ({"sampling": {"top_p": 1.1}}, "chat.sampling.top_p"),
        ({"sampling": {"frequency_penalty": 2.1}}, "chat.sampling.frequency_penalty"),
        ({"sampling": {"presence_penalty": -2.1}}, "chat.sampling.presence_penalty"),
        ({"sampling": {"n": 0}}, "chat.sampling.n"),
        ({"sampling": {"n": 17}}, "chat.sampling.n"),
        ({"sampling": {"stop": list("abcde")}}, "chat.sampling.stop"),
        ({"tools": [{"name": f"t{i}"} for i in range(129)]}, "chat.tools"),
        ({"tools": [{"name": ""}]}, "chat.tools[0].name"),
        ({"tools": [{"name": "look it up"}]}, "chat.tools[0].name"),
        ({"response_format": {}}, "chat.response_format.format"),
        ({"response_format": {"json_object": False}}, "chat.response_format.json_object"),
        (
            {"response_format": {"json_schema": {"name": "a b", "schema": {}}}},
            "chat.response_format.json_schema.name",
        ),
        ({"extra_fields": {"logprobs": True, "seed": 5}}, "chat.extra_fields.seed"),
        ({"extra_fields": {"stream": True}}, "chat.extra_fields.stream"),
        # The HTTP door refuses it likewise.
        ({"extra_fields": {"stream_options": "all"}}, "chat.extra_fields.stream_options"),
    ],
)
def test_what_breaks_the_contract_is_refused_by_field(fields: dict[str, Any], field: str) -> None:
    with pytest.raises(DomainError) as caught:
        to_request(chat(**fields), streamed=False)
    assert caught.value.reason is Reason.INVALID_REQUEST
    assert caught.value.metadata["field"] == field


def with_number(number: float) -> chat_pb2.Chat:
    asked = chat()
    asked.extra_fields.fields["x"].number_value = number
    return asked


@pytest.mark.parametrize("number", [0.0, -0.5, 2.0**53, 1e30, -1e19])
def test_any_number_of_json_is_sent(number: float) -> None:
    assert json.loads(to_request(with_number(number), streamed=False).body)["x"] == number


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_a_number_that_json_does_not_have_is_refused(number: float) -> None:
    with pytest.raises(DomainError) as caught:
        to_request(with_number(number), streamed=False)
    assert caught.value.reason is Reason.INVALID_REQUEST


def test_every_role_of_the_contract_is_known() -> None:
    for name, role in chat_pb2.Role.items():
        if role != chat_pb2.ROLE_UNSPECIFIED:
            message = {**HI, "role": name, "tool_call_id": "t1"}
            document = to_request(chat(messages=[message]), streamed=False).document
            assert document["messages"][0]["role"] == name.removeprefix("ROLE_").lower()


FINISHES = [
    ("stop", "FINISH_REASON_STOP"),
    ("length", "FINISH_REASON_LENGTH"),
    ("tool_calls", "FINISH_REASON_TOOL_CALLS"),
    ("content_filter", "FINISH_REASON_CONTENT_FILTER"),
]
CALL = {"id": "t1", "type": "function", "function": {"name": "look", "arguments": "{}"}}


def as_dict(message: router_pb2.Choice | router_pb2.Delta) -> dict[str, Any]:
    return json_format.MessageToDict(message, preserving_proto_field_name=True)


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ({"message": {"content": "Hi"}}, {"message": {"content": [{"text": "Hi"}]}}),
        ({"message": {"content": None, "refusal": "No."}}, {"refusal": "No."}),
        ({"index": 2, "message": {"content": ""}}, {"index": 2}),
        ({"message": {}, "finish_reason": "new"}, {}),
        (
            {"message": {"content": None, "tool_calls": [CALL]}},
            {"message": {"tool_calls": [{"id": "t1", "name": "look", "arguments_json": "{}"}]}},
        ),
        *(({"finish_reason": theirs}, {"finish_reason": ours}) for theirs, ours in FINISHES),
    ],
)
def test_a_choice_becomes_a_choice(choice: dict[str, Any], expected: dict[str, Any]) -> None:
    (found,) = to_choices({"choices": [choice]})
    message = {"role": "ROLE_ASSISTANT", **expected.get("message", {})}
    assert as_dict(found) == {**expected, "message": message}


@pytest.mark.parametrize("completion", [{}, {"choices": None}, {"choices": []}])
def test_a_completion_without_choices_has_none(completion: dict[str, Any]) -> None:
    assert list(to_choices(completion)) == []
    assert list(to_deltas(completion)) == []


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ({"index": 1, "delta": {"content": "Hi"}}, {"choice_index": 1, "text": "Hi"}),
        ({"delta": {"refusal": "No."}}, {"refusal": "No."}),
        (
            {"delta": {"tool_calls": [{"index": 1, **CALL}]}},
            {"tool_calls": [{"index": 1, "id": "t1", "name": "look", "arguments_json": "{}"}]},
        ),
        (
            {"delta": {"tool_calls": [{"index": 1, "function": {"arguments": "{"}}]}},
            {"tool_calls": [{"index": 1, "arguments_json": "{"}]},
        ),
        *(({"delta": {}, "finish_reason": theirs}, {"finish_reason": ours}) for theirs, ours in FINISHES),
        # Nothing to append.
        ({"delta": {"role": "assistant", "content": ""}}, None),
        ({"delta": {}}, None),
        ({"finish_reason": None}, None),
    ],
)
def test_a_chunk_becomes_a_delta_if_there_is_something_in_it(
    choice: dict[str, Any], expected: dict[str, Any] | None
) -> None:
    assert [as_dict(delta) for delta in to_deltas({"choices": [choice]})] == (
        [] if expected is None else [expected]
    )


@pytest.mark.parametrize(
    ("read", "choice"),
    [
        (
            to_choices,
            {"index": 0, "message": {"content": "a", "tool_calls": [CALL]}, "finish_reason": "stop"},
        ),
        (to_deltas, {"index": 0, "delta": {"content": "a", "tool_calls": [CALL]}, "finish_reason": "stop"}),
    ],
)
def test_an_upstream_that_sends_other_types_does_no_harm(
    read: Callable[[Any], Any], choice: dict[str, Any], harm: Callable[..., Any]
) -> None:
    whole = {"choices": [choice]}
    assert harm(whole, lambda document: list(read(document)), Reason.UPSTREAM_BROKEN) == []
