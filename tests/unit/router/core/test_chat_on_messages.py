"""Chat completions before a server that speaks the Messages API: answers whole and streamed, and errors."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from services.common.errors import DomainError, Reason
from services.common.words import UsageSource
from services.router.core import catalog, sse, wire
from services.router.core.catalog import Route
from services.router.core.chat_on_messages import ChatOnMessagesCodec
from services.router.core.chat_on_messages_stream import REFUSED, ChatStream
from services.router.core.messages import MessagesCodec
from services.router.core.messages_stream import MessagesStream
from services.router.core.usage import UNKNOWN, Usage

USER = [{"role": "user", "content": "Hi"}]
CALL = {"type": "tool_use", "id": "t1", "name": "look", "input": {"at": [1, "x"]}}
CHAT_CALL = {"id": "t1", "type": "function", "function": {"name": "look", "arguments": '{"at":[1,"x"]}'}}
THOUGHT = {"type": "thinking", "thinking": "Hm", "signature": "s"}
REPORT = {
    "input_tokens": 11,
    "cache_creation_input_tokens": 200,
    "cache_read_input_tokens": 3000,
    "output_tokens": 7,
    "output_tokens_details": {"thinking_tokens": 2},
}
COUNTED = Usage(11, 3000, 200, 5, 2, UsageSource.UPSTREAM)
REPORTED = {
    "prompt_tokens": 3211,
    "completion_tokens": 7,
    "total_tokens": 3218,
    "prompt_tokens_details": {"cached_tokens": 3000},
    "completion_tokens_details": {"reasoning_tokens": 2},
}


def codec(answer_as: str | None = "asked", **fields: Any) -> ChatOnMessagesCodec:
    body = json.dumps({"model": "asked", "messages": USER, "max_tokens": 9, **fields}).encode()
    return ChatOnMessagesCodec(wire.parse_request(catalog.CHAT, body), answer_as, 1_800_000_000)


def text(said: str) -> dict[str, Any]:
    return {"type": "text", "text": said}


@pytest.mark.parametrize("streamed", [False, True])
def test_a_request_is_sent_under_the_name_that_its_server_knows(
    upstream: Callable[..., Any], streamed: bool
) -> None:
    body = codec(stream=streamed).request(Route(upstream(protocol=catalog.ANTHROPIC), "there"))
    more = {"stream": True} if streamed else {}
    assert json.loads(body) == {"model": "there", "messages": USER, "max_tokens": 9, **more}
    assert codec().path == "/messages"


# The whole answer


def message(content: Any, stop: Any = "end_turn", **fields: Any) -> bytes:
    return json.dumps(
        {"id": "m1", "type": "message", "model": "served", "content": content, "stop_reason": stop, **fields}
    ).encode()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ([text("Hi")], {"content": "Hi"}),
        ([], {"content": ""}),
        ([text("H"), text("i")], {"content": "Hi"}),
        ([THOUGHT, {"type": "redacted_thinking", "data": "x"}, text("Hi")], {"content": "Hi"}),
        ([text("Let me look."), CALL], {"content": "Let me look.", "tool_calls": [CHAT_CALL]}),
        (
            [CALL, {**CALL, "id": "t2", "input": {}}],
            {
                "content": None,
                "tool_calls": [
                    CHAT_CALL,
                    {"id": "t2", "type": "function", "function": {"name": "look", "arguments": "{}"}},
                ],
            },
        ),
    ],
)
def test_a_message_becomes_a_completion(content: list[dict[str, Any]], said: dict[str, Any]) -> None:
    answer = codec().answer(message(content, usage=REPORT))
    document = json.loads(answer.body)
    assert document == {
        "id": "chatcmpl-m1",
        "object": "chat.completion",
        "created": 1_800_000_000,
        "model": "asked",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "refusal": None, **said},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": REPORTED,
    }
    assert ChatCompletion.model_validate(document)
    assert (answer.usage, answer.model) == (COUNTED, "served")


STOPS = [
    ("end_turn", "stop"),
    ("stop_sequence", "stop"),
    ("max_tokens", "length"),
    ("model_context_window_exceeded", "length"),
    ("tool_use", "tool_calls"),
    ("refusal", "content_filter"),
    ("something_new", "stop"),
    (None, "stop"),
]


@pytest.mark.parametrize(("stop", "finish"), STOPS)
def test_why_an_answer_ended_is_translated(stop: str | None, finish: str) -> None:
    (choice,) = json.loads(codec().answer(message([text("Hi")], stop)).body)["choices"]
    assert choice["finish_reason"] == finish
    assert choice["message"]["refusal"] is None


REFUSALS = [({}, REFUSED), ({"explanation": None}, REFUSED), ({"explanation": "I can't."}, "I can't.")]


@pytest.mark.parametrize(("details", "said"), REFUSALS)
def test_a_refusal_without_text_says_so(details: dict[str, Any], said: str) -> None:
    (choice,) = json.loads(codec().answer(message([], "refusal", stop_details=details)).body)["choices"]
    assert (choice["message"]["refusal"], choice["finish_reason"]) == (said, "content_filter")


def test_usage_that_is_not_known_is_not_told() -> None:
    answer = codec(None).answer(message([text("Hi")]))
    assert "usage" not in json.loads(answer.body)
    assert json.loads(answer.body)["model"] == "served"
    assert answer.usage == UNKNOWN


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"<html>", b"[]", b"{}", b'{"content": [{}]}', b'{"content": 5}'),
        # Half of an answer is none.
        message([{"type": "server_tool_use", "id": "s"}]),
    ],
)
def test_what_is_no_message_or_has_no_place_in_a_chat_is_broken(body: bytes) -> None:
    with pytest.raises(DomainError) as caught:
        codec().answer(body)
    assert caught.value.reason is Reason.UPSTREAM_BROKEN


def test_an_answer_with_other_types_does_no_harm(harm: Callable[..., Any]) -> None:
    whole = json.loads(message([text("Hi"), THOUGHT, CALL], usage=REPORT, stop_details={"explanation": "x"}))
    read = codec(None).answer
    assert harm(whole, lambda document: read(json.dumps(document).encode()), Reason.UPSTREAM_BROKEN) == []


@pytest.mark.parametrize(
    ("status", "body", "kind", "code", "said"),
    [
        (400, ("invalid_request_error", "no"), "invalid_request_error", "invalid_request_error", "no"),
        (404, ("not_found_error", "no"), "invalid_request_error", "not_found_error", "no"),
        (403, ("permission_error", "no"), "permission_error", "permission_error", "no"),
        (429, ("rate_limit_error", "no"), "rate_limit_error", "rate_limit_error", "no"),
        (529, ("overloaded_error", "no"), "server_error", "overloaded_error", "no"),
        (502, b"<html>", "server_error", "api_error", "the upstream answered 502: <html>"),
        (400, b"\xff", "invalid_request_error", "api_error", "the upstream answered 400: \ufffd"),
    ],
)
def test_an_error_is_told_in_openais_shape(status: int, body: Any, kind: str, code: str, said: str) -> None:
    if isinstance(body, tuple):
        error = {"type": body[0], "message": body[1]}
        body = json.dumps({"type": "error", "error": error}).encode()
    assert json.loads(codec().error(status, body)) == {
        "error": {"message": said, "type": kind, "param": None, "code": code}
    }


# The streamed answer


def event(kind: str, **fields: Any) -> bytes:
    return sse.event(json.dumps({"type": kind, **fields}).encode(), kind)


def start(**fields: Any) -> bytes:
    usage = {**REPORT, "output_tokens": 1, "output_tokens_details": None}
    return event("message_start", message={"id": "m1", "model": "served", "usage": usage, **fields})


def block(index: int, begun: dict[str, Any], *deltas: dict[str, Any]) -> list[bytes]:
    return [
        event("content_block_start", index=index, content_block=begun),
        *(event("content_block_delta", index=index, delta=delta) for delta in deltas),
        event("content_block_stop", index=index),
    ]


def said(*pieces: str) -> list[dict[str, Any]]:
    return [{"type": "text_delta", "text": piece} for piece in pieces]


def written(*pieces: str) -> list[dict[str, Any]]:
    return [{"type": "input_json_delta", "partial_json": piece} for piece in pieces]


def end(stop: str | None = "end_turn", **delta: Any) -> list[bytes]:
    usage = {"output_tokens": 7, "output_tokens_details": {"thinking_tokens": 2}}
    return [
        event("message_delta", delta={"stop_reason": stop, **delta}, usage=usage),
        event("message_stop"),
    ]


def chunks_of(stream: ChatStream, events: Iterable[bytes]) -> list[dict[str, Any]]:
    """What the application gets, each chunk checked against OpenAI's own types; `[DONE]` ends it."""
    out = [sse.payload(item) for event in events for item in sse.Splitter().feed(stream.feed(event))]
    assert out[-1] == sse.DONE
    chunks = [json.loads(item) for item in out[:-1]]
    for chunk in chunks:
        ChatCompletionChunk.model_validate(chunk)
    return chunks


def put_together(chunks: list[dict[str, Any]]) -> dict[str, Any]:
    """The message that the deltas add up to."""
    whole: dict[str, Any] = {"content": "", "refusal": "", "calls": []}
    for chunk in chunks:
        for choice in chunk["choices"]:
            delta = choice["delta"]
            whole["content"] += delta.get("content") or ""
            whole["refusal"] += delta.get("refusal") or ""
            for call in delta.get("tool_calls", ()):
                if "id" in call:
                    assert call["index"] == len(whole["calls"])
                    whole["calls"].append([call["id"], call["function"]["name"], ""])
                whole["calls"][call["index"]][2] += call["function"]["arguments"]
            whole["finish"] = choice["finish_reason"]
    return whole


@pytest.mark.parametrize(
    ("blocks", "stop", "whole"),
    [
        ([], "end_turn", {"finish": "stop"}),
        (block(0, text(""), *said("H", "i")), "end_turn", {"content": "Hi", "finish": "stop"}),
        (block(0, text("H"), *said("i")), "max_tokens", {"content": "Hi", "finish": "length"}),
        (
            [
                *block(0, THOUGHT, {"type": "thinking_delta", "thinking": "Hm"}),
                event("ping"),
                *block(1, text(""), *said("Let me look.")),
                *block(2, {**CALL, "input": {}}, *written("", '{"a"', ":1}")),
                *block(3, {**CALL, "id": "t2", "input": {}}, *written("")),
                *block(4, {**CALL, "id": "t3", "input": {"b": 2}}),
            ],
            "tool_use",
            {
                "content": "Let me look.",
                "calls": [["t1", "look", '{"a":1}'], ["t2", "look", "{}"], ["t3", "look", '{"b":2}']],
                "finish": "tool_calls",
            },
        ),
        # What this version does not know.
        ([event("added_tomorrow")], "end_turn", {"finish": "stop"}),
    ],
)
def test_events_become_chunks(blocks: list[bytes], stop: str, whole: dict[str, Any]) -> None:
    stream = ChatStream("asked", 1_800_000_000, include_usage=False)
    chunks = chunks_of(stream, [start(), *blocks, *end(stop)])
    assert put_together(chunks) == {"content": "", "refusal": "", "calls": [], **whole}
    assert {(chunk["id"], chunk["model"], chunk["created"]) for chunk in chunks} == {
        ("chatcmpl-m1", "asked", 1_800_000_000)
    }
    assert chunks[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert (stream.finished, stream.model, stream.usage) == (True, "served", COUNTED)
    assert all("usage" not in chunk for chunk in chunks)


def test_usage_comes_last_if_it_was_asked_for() -> None:
    stream = codec(stream=True, stream_options={"include_usage": True}).stream()
    assert isinstance(stream, ChatStream)
    *_, last = chunks_of(stream, [start(), *end()])
    assert (last["choices"], last["usage"]) == ([], REPORTED)


@pytest.mark.parametrize(("details", "words"), REFUSALS)
def test_a_streamed_refusal_without_text_says_so(details: dict[str, Any], words: str) -> None:
    stream = ChatStream(None, 0, include_usage=False)
    whole = put_together(chunks_of(stream, [start(), *end("refusal", stop_details=details)]))
    assert (whole["refusal"], whole["finish"]) == (words, "content_filter")


@pytest.mark.parametrize(
    ("events", "chars"),
    [
        ([], 0),
        (block(0, text(""), *said("Hi")), 2),
        (block(0, THOUGHT, {"type": "thinking_delta", "thinking": "Hm."}), 3),
        (block(0, {**CALL, "input": {}}, *written('{"a":1}')), 7),
    ],
)
def test_what_was_written_is_counted_for_an_estimate(events: list[bytes], chars: int) -> None:
    stream = ChatStream(None, 0, include_usage=False)
    for item in [start(), *events]:
        stream.feed(item)
    assert (stream.output_chars, stream.finished) == (chars, False)


@pytest.mark.parametrize("error", [{"type": "overloaded_error", "message": "overloaded"}, "overloaded"])
def test_an_error_in_the_stream_is_told_in_openais_shape_and_is_the_last(error: object) -> None:
    stream = ChatStream(None, 0, include_usage=False)
    stream.feed(start())
    told = json.loads(sse.payload(stream.feed(event("error", error=error))))
    assert told["error"]["message"] == "overloaded"
    assert (stream.error, stream.finished) == ("overloaded", False)
    assert stream.feed(event("message_stop")) == b""


@pytest.mark.parametrize(
    "data",
    [
        *(b"{", b"[]", b"5", b"{}", b'{"type": "message_start"}', b'{"type": "message_stop"}'),
        b'{"type": "content_block_start", "index": 0, "content_block": {"type": "server_tool_use"}}',
        b'{"type": "content_block_delta", "index": 3, "delta": {"type": "input_json_delta",'
        b' "partial_json": "x"}}',
    ],
)
def test_an_event_that_is_none_of_a_message_is_broken(data: bytes) -> None:
    with pytest.raises(DomainError) as caught:
        ChatStream(None, 0, include_usage=False).feed(sse.event(data))
    assert caught.value.reason is Reason.UPSTREAM_BROKEN


@pytest.mark.parametrize(
    "events",
    [
        [start()],
        block(0, text("x"), *said("y")),
        block(0, {**CALL, "input": {}}, *written("{}")),
        block(0, THOUGHT, {"type": "thinking_delta", "thinking": "Hm"}),
        end("refusal", stop_details={"explanation": "x"}),
    ],
    ids=["start", "text", "call", "thought", "end"],
)
def test_an_event_with_other_types_does_no_harm(harm: Callable[..., Any], events: list[bytes]) -> None:
    documents = [json.loads(sse.payload(item)) for item in events]

    def read(variant: Any) -> None:
        stream = ChatStream(None, 0, include_usage=True)
        for item in [start(), *(sse.event(json.dumps(item).encode()) for item in variant["events"])]:
            stream.feed(item)

    found = harm({"events": documents}, read, Reason.UPSTREAM_BROKEN)
    # Events are objects, and a list of them comes from the splitter.
    assert [item for item in found if isinstance(item[0]["events"], list)] == []


texts = st.lists(st.text(min_size=1, max_size=4), max_size=4)


@given(texts, st.lists(st.dictionaries(st.text(max_size=3), st.integers(-9, 9), max_size=2), max_size=3))
def test_what_went_through_both_translations_is_what_it_was(
    pieces: list[str], calls: list[dict[str, int]]
) -> None:
    """A message as a completion, and that as a message again; whole and streamed."""
    content = ([text("".join(pieces))] if pieces else []) + [
        {**CALL, "id": f"t{number}", "input": given} for number, given in enumerate(calls)
    ]
    stop = "tool_use" if calls else "end_turn"
    request = json.dumps({"model": "m", "max_tokens": 9, "messages": USER}).encode()
    back = MessagesCodec(wire.parse_request(catalog.MESSAGES, request), None)
    there = codec(None).answer(message(content, stop, usage=REPORT)).body
    again = json.loads(back.answer(there).body)
    assert (again["content"], again["stop_reason"]) == (content, stop)

    blocks = block(0, text(""), *said(*pieces)) if pieces else []
    for number, given_ in enumerate(calls):
        written_ = written(json.dumps(given_))
        blocks += block(number + bool(pieces), {**CALL, "id": f"t{number}", "input": {}}, *written_)
    stream = ChatStream(None, 0, include_usage=False)
    out = MessagesStream(None)
    arguments: dict[int, str] = {}
    written_text = ""
    for item in [start(), *blocks, *end(stop)]:
        for chunk in sse.Splitter().feed(stream.feed(item)):
            for made in sse.Splitter().feed(out.feed(chunk)):
                document = json.loads(sse.payload(made))
                delta = document.get("delta", {})
                written_text += delta.get("text", "")
                if "partial_json" in delta:
                    index = document["index"] - bool(pieces)
                    arguments[index] = arguments.get(index, "") + delta["partial_json"]
    assert written_text == "".join(pieces)
    assert [json.loads(arguments[number]) for number in range(len(calls))] == calls
    assert out.finished
