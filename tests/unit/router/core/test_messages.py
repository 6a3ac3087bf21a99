"""The Messages API before a server that speaks chat completions: both ways, whole and streamed."""

import json
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from anthropic.types import Message, RawMessageStreamEvent
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from services.common.errors import DomainError, Reason
from services.common.words import UsageSource
from services.router.core import sse, wire
from services.router.core.catalog import MESSAGES, Route
from services.router.core.messages import MessagesCodec, to_chat
from services.router.core.messages_stream import MessagesStream
from services.router.core.usage import UNKNOWN, Usage

USER = [{"role": "user", "content": "Hi"}]
STREAM_EVENT: TypeAdapter[Any] = TypeAdapter(RawMessageStreamEvent)


def ask(**fields: Any) -> dict[str, Any]:
    return {"model": "asked", "max_tokens": 9, "messages": USER, **fields}


def codec(answer_as: str | None = "asked", **fields: Any) -> MessagesCodec:
    return MessagesCodec(wire.parse_request(MESSAGES, json.dumps(ask(**fields)).encode()), answer_as)


# The request


@pytest.mark.parametrize(
    ("fields", "chat"),
    [
        ({}, {}),
        ({"temperature": 0, "top_p": 0.5}, {"temperature": 0, "top_p": 0.5}),
        ({"stop_sequences": ["END"]}, {"stop": ["END"]}),
        ({"metadata": {"user_id": "u1"}}, {"user": "u1"}),
        ({"metadata": {}}, {}),
        ({"top_k": None, "thinking": {"type": "disabled"}, "tools": []}, {}),
        (
            {"system": "Be brief."},
            {"messages": [{"role": "system", "content": "Be brief."}, *USER]},
        ),
        (
            {"system": [{"type": "text", "text": "Be"}, {"type": "text", "text": "brief."}]},
            {"messages": [{"role": "system", "content": "Be\nbrief."}, *USER]},
        ),
        ({"tool_choice": {"type": "auto"}}, {"tool_choice": "auto"}),
        ({"tool_choice": {"type": "any"}}, {"tool_choice": "required"}),
        ({"tool_choice": {"type": "none"}}, {"tool_choice": "none"}),
        (
            {"tool_choice": {"type": "tool", "name": "look"}},
            {"tool_choice": {"type": "function", "function": {"name": "look"}}},
        ),
        (
            {"tool_choice": {"type": "auto", "disable_parallel_tool_use": True}},
            {"tool_choice": "auto", "parallel_tool_calls": False},
        ),
        (
            {"tools": [{"name": "look", "input_schema": {"type": "object"}}]},
            {"tools": [{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}]},
        ),
        (
            {
                "tools": [
                    {
                        "type": "custom",
                        "name": "look",
                        "description": "Looks it up.",
                        "input_schema": {"type": "object"},
                        "strict": True,
                        "cache_control": {"type": "ephemeral"},
                    }
                ]
            },
            {
                "tools": [
                    {
                        "type": "function",
                        "function": {
                            "name": "look",
                            "description": "Looks it up.",
                            "parameters": {"type": "object"},
                            "strict": True,
                        },
                    }
                ]
            },
        ),
        (
            {"output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}}}},
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "answer", "schema": {"type": "object"}, "strict": True},
                }
            },
        ),
        (
            {"output_format": {"type": "json_schema", "schema": {"type": "object"}}},
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "answer", "schema": {"type": "object"}, "strict": True},
                }
            },
        ),
    ],
)
def test_each_field_becomes_its_counterpart(fields: dict[str, Any], chat: dict[str, Any]) -> None:
    assert to_chat(ask(**fields)) == {"messages": USER, "max_tokens": 9, **chat}


CALL = {"type": "tool_use", "id": "t1", "name": "look", "input": {"at": [1, "x"]}}
CHAT_CALL = {"id": "t1", "type": "function", "function": {"name": "look", "arguments": '{"at":[1,"x"]}'}}
PNG = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBOR"}}
LINK = {"type": "image", "source": {"type": "url", "url": "https://example.org/a.png"}}


def text(said: str) -> dict[str, Any]:
    return {"type": "text", "text": said}


def image(url: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url}}


@pytest.mark.parametrize(
    ("role", "content", "turns"),
    [
        ("user", "Hi", [{"role": "user", "content": "Hi"}]),
        ("user", [text("Hi")], [{"role": "user", "content": "Hi"}]),
        ("user", [text("one"), text("two")], [{"role": "user", "content": "one\ntwo"}]),
        ("assistant", [text("Hi")], [{"role": "assistant", "content": "Hi"}]),
        (
            "user",
            [text("What is it?"), PNG, LINK],
            [
                {
                    "role": "user",
                    "content": [
                        text("What is it?"),
                        image("data:image/png;base64,iVBOR"),
                        image("https://example.org/a.png"),
                    ],
                }
            ],
        ),
        (
            "assistant",
            [text("Let me look."), CALL],
            [{"role": "assistant", "content": "Let me look.", "tool_calls": [CHAT_CALL]}],
        ),
        ("assistant", [CALL], [{"role": "assistant", "content": None, "tool_calls": [CHAT_CALL]}]),
        # Thinking is the model's own; another model can't read it.
        (
            "assistant",
            [{"type": "thinking", "thinking": "Hm", "signature": "s"}, text("Hi")],
            [{"role": "assistant", "content": "Hi"}],
        ),
        ("assistant", [{"type": "redacted_thinking", "data": "x"}], []),
        # Results come before what the user says besides, each as a turn of its own.
        (
            "user",
            [
                text("And now?"),
                {"type": "tool_result", "tool_use_id": "t1", "content": "found"},
                {"type": "tool_result", "tool_use_id": "t2", "content": [text("a"), text("b")]},
                {"type": "tool_result", "tool_use_id": "t3", "content": "no such", "is_error": True},
                {"type": "tool_result", "tool_use_id": "t4"},
            ],
            [
                {"role": "tool", "tool_call_id": "t1", "content": "found"},
                {"role": "tool", "tool_call_id": "t2", "content": "a\nb"},
                {"role": "tool", "tool_call_id": "t3", "content": "error: no such"},
                {"role": "tool", "tool_call_id": "t4", "content": ""},
                {"role": "user", "content": "And now?"},
            ],
        ),
    ],
)
def test_a_turn_becomes_turns_of_a_chat(role: str, content: object, turns: list[dict[str, Any]]) -> None:
    chat = to_chat(ask(messages=[{"role": role, "content": content}, *USER]))
    assert chat["messages"] == [*turns, *USER]


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"top_k": 5}, "top_k"),
        ({"mcp_servers": []}, "mcp_servers"),
        ({"container": "c"}, "container"),
        ({"context_management": {}}, "context_management"),
        ({"thinking": {"type": "enabled", "budget_tokens": 1024}}, "thinking"),
        ({"thinking": {"type": "adaptive"}}, "thinking"),
        ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "tools[0]"),
        ({"tool_choice": {"type": "some"}}, "tool_choice"),
        ({"output_config": {"effort": "low"}}, "output_config.effort"),
        (
            {"messages": [{"role": "user", "content": [text("x"), {"type": "document"}]}]},
            "messages[0].content[1]",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "image", "source": {"type": "file"}}]}]},
            "messages[0].content[0]",
        ),
        # A picture of a screen, say, that the model would have to see.
        (
            {
                "messages": [
                    {
                        "role": "user",
                        "content": [{"type": "tool_result", "tool_use_id": "t", "content": [text("x"), PNG]}],
                    }
                ]
            },
            "messages[0].content[0]",
        ),
    ],
)
def test_what_has_no_counterpart_is_refused_by_name(fields: dict[str, Any], field: str) -> None:
    with pytest.raises(DomainError) as caught:
        codec(**fields)
    assert caught.value.reason is Reason.INVALID_REQUEST
    assert caught.value.metadata["field"].startswith(field)
    assert caught.value.message.startswith(f"`{field}")


EVERYTHING = ask(
    system=[text("Be brief.")],
    messages=[
        {"role": "user", "content": [text("x"), PNG, LINK]},
        {"role": "assistant", "content": [text("x"), CALL]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": [text("x")]}]},
    ],
    tools=[{"name": "look", "description": "x", "input_schema": {"type": "object"}}],
    tool_choice={"type": "tool", "name": "look"},
    thinking={"type": "disabled"},
    metadata={"user_id": "u"},
    stop_sequences=["x"],
    output_config={"format": {"type": "json_schema", "schema": {}}},
)


def test_a_request_with_other_types_is_refused_or_passed_on_but_does_no_harm(
    harm: Callable[..., Any],
) -> None:
    def read(document: object) -> None:
        MessagesCodec(wire.parse_request(MESSAGES, json.dumps(document).encode()), None)

    assert harm(EVERYTHING, read, Reason.INVALID_REQUEST) == []


@pytest.mark.parametrize(
    ("streamed", "route", "sent"),
    [
        (False, {"provider": "vllm"}, {"max_tokens": 9}),
        (False, {"provider": "openai"}, {"max_completion_tokens": 9}),
        (
            True,
            {"provider": "vllm"},
            {"max_tokens": 9, "stream": True, "stream_options": {"include_usage": True}},
        ),
        (True, {"provider": "vllm", "stream_usage": False}, {"max_tokens": 9, "stream": True}),
    ],
)
def test_a_request_is_sent_as_its_server_wants_it(
    streamed: bool, route: dict[str, Any], sent: dict[str, Any], upstream: Callable[..., Any]
) -> None:
    body = codec(stream=streamed).request(Route(upstream(**route), "there"))
    assert json.loads(body) == {"model": "there", "messages": USER, **sent}


def test_a_second_route_gets_the_same_question(upstream: Callable[..., Any]) -> None:
    translated = codec()
    translated.request(Route(upstream(provider="openai"), "first"))
    second = json.loads(translated.request(Route(upstream(provider="vllm"), "second")))
    assert second == {"model": "second", "messages": USER, "max_tokens": 9}


# The whole answer


def completion(message: dict[str, Any], finish: str = "stop", **fields: Any) -> bytes:
    choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": finish}
    return json.dumps({"id": "c1", "model": "served", "choices": [choice], **fields}).encode()


@pytest.mark.parametrize(
    ("message", "content"),
    [
        ({"content": "Hi"}, [text("Hi")]),
        ({"content": None}, []),
        ({"content": ""}, []),
        ({"content": None, "refusal": "I can't."}, [text("I can't.")]),
        ({"content": "Let me look.", "tool_calls": [CHAT_CALL]}, [text("Let me look."), CALL]),
        (
            {"tool_calls": [CHAT_CALL, {**CHAT_CALL, "id": "t2"}]},
            [CALL, {**CALL, "id": "t2"}],
        ),
        (
            {"tool_calls": [{"id": "t1", "function": {"name": "now", "arguments": ""}}]},
            [{"type": "tool_use", "id": "t1", "name": "now", "input": {}}],
        ),
        (
            {"tool_calls": [{"id": "t1", "function": {"name": "now", "arguments": '{"a":'}}]},
            [{"type": "tool_use", "id": "t1", "name": "now", "input": {"_invalid_json": '{"a":'}}],
        ),
    ],
)
def test_a_completion_becomes_a_message(message: dict[str, Any], content: list[dict[str, Any]]) -> None:
    answer = codec().answer(completion(message))
    document = json.loads(answer.body)
    assert document == {
        "id": "msg_c1",
        "type": "message",
        "role": "assistant",
        "model": "asked",
        "content": content,
        # Where the request named the tool, OpenAI says "stop".
        "stop_reason": "tool_use" if message.get("tool_calls") else "end_turn",
        "stop_sequence": None,
        "usage": {
            "input_tokens": 0,
            "output_tokens": 0,
            "cache_read_input_tokens": 0,
            "cache_creation_input_tokens": 0,
        },
    }
    assert Message.model_validate(document)
    assert (answer.usage, answer.model) == (UNKNOWN, "served")


STOPS = [
    ("stop", "end_turn"),
    ("length", "max_tokens"),
    ("tool_calls", "tool_use"),
    ("content_filter", "refusal"),
    ("something_new", "end_turn"),
    (None, "end_turn"),
]


@pytest.mark.parametrize(("finish", "stop"), STOPS)
def test_why_an_answer_ended_is_translated(finish: str, stop: str) -> None:
    assert json.loads(codec().answer(completion({"content": "Hi"}, finish)).body)["stop_reason"] == stop


def test_cached_tokens_are_told_apart_and_reasoning_is_output() -> None:
    report = {
        "prompt_tokens": 100,
        "prompt_tokens_details": {"cached_tokens": 60},
        "completion_tokens": 30,
        "completion_tokens_details": {"reasoning_tokens": 20},
    }
    answer = codec().answer(completion({"content": "Hi"}, usage=report))
    assert answer.usage == Usage(40, 60, 0, 10, 20, UsageSource.UPSTREAM)
    assert json.loads(answer.body)["usage"] == {
        "input_tokens": 40,
        "cache_read_input_tokens": 60,
        "cache_creation_input_tokens": 0,
        "output_tokens": 30,
    }


def test_the_served_model_is_shown_where_it_may_be() -> None:
    assert json.loads(codec(None).answer(completion({"content": "Hi"})).body)["model"] == "served"


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"{}", b'{"choices": []}', b'{"choices": [{}]}'])
def test_what_is_no_completion_is_broken(body: bytes) -> None:
    with pytest.raises(DomainError) as caught:
        codec().answer(body)
    assert caught.value.reason is Reason.UPSTREAM_BROKEN


@pytest.mark.parametrize("model", [["x"], {"a": 1}, 5, None, ""], ids=repr)
@pytest.mark.parametrize("answer_as", [None, "asked"])
def test_a_model_that_is_no_text_is_none(model: object, answer_as: str | None) -> None:
    answer = codec(answer_as).answer(completion({"content": "Hi"}, model=model))
    assert (answer.model, json.loads(answer.body)["model"]) == ("", answer_as or "")
    stream = MessagesStream(answer_as)
    start, *_ = events_of(stream, [chunk({"content": "Hi"}, model=model)])
    assert (stream.model, start["message"]["model"]) == ("", answer_as or "")
    stream.feed(chunk({"content": "!"}))
    assert stream.model == "served"


def test_an_answer_with_other_types_does_no_harm(harm: Callable[..., Any]) -> None:
    whole = json.loads(completion({"content": "Hi", "tool_calls": [CHAT_CALL]}, usage={"prompt_tokens": 1}))
    read = codec(None).answer
    assert harm(whole, lambda document: read(json.dumps(document).encode()), Reason.UPSTREAM_BROKEN) == []


@pytest.mark.parametrize(
    ("status", "body", "kind", "message"),
    [
        (400, b'{"error": {"message": "no"}}', "invalid_request_error", "no"),
        (404, b'{"error": {"message": "no"}}', "not_found_error", "no"),
        (422, b'{"error": {"message": "no"}}', "invalid_request_error", "no"),
        (429, b'{"error": {"message": "no"}}', "rate_limit_error", "no"),
        (500, b'{"error": {"message": "no"}}', "api_error", "no"),
        (502, b"<html>", "api_error", "the upstream answered 502: <html>"),
        (502, b'{"error": "no"}', "api_error", 'the upstream answered 502: {"error": "no"}'),
        (502, b"x" * 200 + b"y", "api_error", "the upstream answered 502: " + "x" * 200),
        (502, b"[]", "api_error", "the upstream answered 502: []"),
        (502, b"\xff", "api_error", "the upstream answered 502: \ufffd"),
    ],
)
def test_an_error_is_told_in_anthropics_shape(status: int, body: bytes, kind: str, message: str) -> None:
    assert json.loads(codec().error(status, body)) == {
        "type": "error",
        "error": {"type": kind, "message": message},
    }


# The streamed answer


DONE = b"data: [DONE]\n\n"
REPORT = {"prompt_tokens": 9, "completion_tokens": 4}


def chunk(*deltas: dict[str, Any], finish: str | None = None, **fields: Any) -> bytes:
    choices = [{"index": 0, "delta": delta, "finish_reason": finish} for delta in deltas or ({},)]
    return sse.event(json.dumps({"id": "c1", "model": "served", "choices": choices, **fields}).encode())


def piece(index: int, arguments: str = "", **start: str) -> dict[str, Any]:
    """A delta with a piece of a tool call; the first piece has the call's `id` and its `name`."""
    call: dict[str, Any] = {"index": index, "function": {"arguments": arguments}}
    if start:
        call |= {"id": start["id"], "type": "function"}
        call["function"]["name"] = start["name"]
    return {"tool_calls": [call]}


def events_of(stream: MessagesStream, events: Iterable[bytes]) -> list[dict[str, Any]]:
    """What the application gets, each event checked against Anthropic's own types."""
    out = []
    for event in sse.Splitter().feed(b"".join(stream.feed(event) for event in events)):
        document = json.loads(sse.payload(event))
        assert event.startswith(b"event: " + document["type"].encode() + b"\n")
        STREAM_EVENT.validate_python(document)
        out.append(document)
    return out


def blocks_of(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The content that the events make up; fails unless they are in the order that Anthropic documents.

    message_start, then for each block content_block_start, its deltas and content_block_stop, then
    message_delta and message_stop.
    """
    assert [event["type"] for event in events[:1]] == ["message_start"]
    assert events[0]["message"]["content"] == []
    assert [event["type"] for event in events[-2:]] == ["message_delta", "message_stop"]
    blocks: list[dict[str, Any]] = []
    is_open = False
    for event in events[1:-2]:
        if event["type"] == "content_block_start":
            assert not is_open
            assert event["index"] == len(blocks)
            blocks.append({**event["content_block"], "json": ""})
            is_open = True
            continue
        assert is_open
        assert event["index"] == len(blocks) - 1
        if event["type"] == "content_block_stop":
            is_open = False
        elif blocks[-1]["type"] == "text":
            assert event["delta"]["type"] == "text_delta"
            blocks[-1]["text"] += event["delta"]["text"]
        else:
            assert event["delta"]["type"] == "input_json_delta"
            blocks[-1]["json"] += event["delta"]["partial_json"]
    assert not is_open
    for block in blocks:
        arguments = block.pop("json")
        if block["type"] == "tool_use":
            assert block["input"] == {}
            block["input"] = arguments
    return blocks


def call(ident: str, arguments: str, name: str = "look") -> dict[str, Any]:
    return {"type": "tool_use", "id": ident, "name": name, "input": arguments}


FIRST, SECOND = {"id": "t1", "name": "look"}, {"id": "t2", "name": "look"}


@pytest.mark.parametrize(
    ("chunks", "blocks"),
    [
        ([], []),
        ([chunk({"role": "assistant", "content": ""})], []),
        ([chunk({"content": "He"}), chunk({"content": "llo"})], [text("Hello")]),
        # Some servers begin a call with its name, others send all of it at once.
        (
            [chunk(piece(0, **FIRST)), chunk(piece(0, '{"a"')), chunk(piece(0, ":1}"))],
            [call("t1", '{"a":1}')],
        ),
        ([chunk(piece(0, "{}", **FIRST))], [call("t1", "{}")]),
        (
            [chunk({"content": "Let me look."}), chunk(piece(0, "{}", **FIRST))],
            [text("Let me look."), call("t1", "{}")],
        ),
        (
            [chunk(piece(0, "{}", **FIRST)), chunk(piece(1, "{", **SECOND)), chunk(piece(1, "}"))],
            [call("t1", "{}"), call("t2", "{}")],
        ),
        (
            [
                chunk(
                    {
                        "tool_calls": piece(0, "1", **FIRST)["tool_calls"]
                        + piece(1, "2", **SECOND)["tool_calls"]
                    }
                )
            ],
            [call("t1", "1"), call("t2", "2")],
        ),
        # Calls whose pieces come in turns: each piece belongs to its own call.
        (
            [
                chunk(piece(0, "{", **FIRST)),
                chunk(piece(1, "[", **SECOND)),
                chunk(piece(0, "}")),
                chunk(piece(1, "]")),
            ],
            [call("t1", "{}"), call("t2", "[]")],
        ),
        ([chunk({"refusal": "I "}), chunk({"refusal": "can't."})], [text("I can't.")]),
        ([chunk({"content": "Hi"}, usage=None), b": keep-alive\n\n"], [text("Hi")]),
    ],
)
def test_chunks_become_the_blocks_of_a_message(chunks: list[bytes], blocks: list[dict[str, Any]]) -> None:
    stream = MessagesStream("asked")
    events = events_of(stream, [*chunks, chunk(finish="stop"), DONE])
    assert blocks_of(events) == blocks
    assert stream.finished
    assert stream.model == "served"
    assert events[0]["message"]["model"] == "asked"


pieces = st.lists(st.text(min_size=1, max_size=4), max_size=4)


@given(st.lists(pieces, max_size=2), st.lists(pieces, max_size=4), st.booleans())
def test_any_answer_comes_through_whole_and_well_formed(
    texts: list[list[str]], calls: list[list[str]], reported: bool
) -> None:
    chunks = [chunk({"role": "assistant", "content": ""})]
    chunks += [chunk({"content": said}) for part in texts for said in part]
    for index, part in enumerate(calls):
        chunks.append(chunk(piece(index, id=f"t{index}", name="look")))
        chunks += [chunk(piece(index, said)) for said in part]
    chunks.append(chunk(finish="tool_calls" if calls else "stop"))
    if reported:
        chunks.append(sse.event(json.dumps({"id": "c1", "choices": [], "usage": REPORT}).encode()))
    stream = MessagesStream(None)
    events = events_of(stream, [*chunks, DONE])
    said = "".join(said for part in texts for said in part)
    expected = [text(said)] if said else []
    expected += [call(f"t{index}", "".join(part)) for index, part in enumerate(calls)]
    assert blocks_of(events) == expected
    assert events[-2]["delta"]["stop_reason"] == ("tool_use" if calls else "end_turn")
    assert events[-2]["usage"]["output_tokens"] == (4 if reported else 0)
    assert stream.usage == (Usage(9, 0, 0, 4, 0, UsageSource.UPSTREAM) if reported else UNKNOWN)
    assert stream.output_chars == len(said) + sum(len(said) for part in calls for said in part)


@pytest.mark.parametrize(("finish", "stop"), STOPS)
def test_why_a_stream_ended_is_translated(finish: str | None, stop: str) -> None:
    events = events_of(MessagesStream(None), [chunk({"content": "Hi"}), chunk(finish=finish), DONE])
    assert events[-2]["delta"] == {"stop_reason": stop, "stop_sequence": None}


def test_a_stream_that_ends_before_it_began_is_broken() -> None:
    stream = MessagesStream(None)
    with pytest.raises(DomainError) as caught:
        stream.feed(DONE)
    assert caught.value.reason is Reason.UPSTREAM_BROKEN


@pytest.mark.parametrize("error", [{"message": "overloaded"}, "overloaded"])
def test_an_error_in_the_stream_is_told_in_anthropics_shape(error: object) -> None:
    stream = MessagesStream(None)
    stream.feed(chunk({"content": "Hi"}))
    event = stream.feed(sse.event(json.dumps({"error": error}).encode()))
    assert event.startswith(b"event: error\n")
    assert json.loads(sse.payload(event)) == {
        "type": "error",
        "error": {"type": "api_error", "message": "overloaded"},
    }
    assert (stream.error, stream.finished) == ("overloaded", False)


def test_an_error_is_the_last_that_a_stream_says() -> None:
    stream = MessagesStream(None)
    stream.feed(chunk({"content": "Hi"}))
    stream.feed(b'data: {"error": {"message": "overloaded"}}\n\n')
    # Servers end even a broken stream so, often in the same packet.
    assert stream.feed(DONE) == b""


def test_an_error_that_is_null_is_none() -> None:
    stream = MessagesStream(None)
    stream.feed(chunk({"content": "Hi"}, error=None))
    assert (stream.error, stream.output_chars) == ("", 2)


@pytest.mark.parametrize("data", [b"{", b"[]", b"5", b'{"choices": [5]}'])
def test_an_event_that_is_no_chunk_is_broken(data: bytes) -> None:
    with pytest.raises(DomainError) as caught:
        MessagesStream(None).feed(sse.event(data))
    assert caught.value.reason is Reason.UPSTREAM_BROKEN


def test_a_chunk_with_other_types_does_no_harm(harm: Callable[..., Any]) -> None:
    def read(document: object) -> None:
        stream = MessagesStream(None)
        stream.feed(sse.event(json.dumps(document).encode()))
        stream.feed(DONE)

    whole = json.loads(sse.payload(chunk({"content": "Hi", **piece(0, "{}", **FIRST)}, usage=REPORT)))
    assert harm(whole, read, Reason.UPSTREAM_BROKEN) == []
