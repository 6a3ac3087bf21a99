"""Answers as OpenAI's SDK reads them: a streamed one, put together, is the whole one."""

import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types import Completion
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from services.router.core import sse
from services.router.core.sovereign.answer import ChatWriter, Head, TextWriter, Writer, usage_document
from services.router.core.sovereign.plan import Plan, parse_chat, parse_completion
from services.router.core.sovereign.sampling import Defaults

HEAD = Head("0123456789abcdef01234567", 1_700_000_000, "llama")
USAGE = usage_document(11, 4)
TOOLS = [
    {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}},
    {
        "type": "function",
        "function": {
            "name": "sort",
            "strict": True,
            "parameters": {"type": "object", "properties": {"to": {"enum": ["a", "b"]}}, "required": ["to"]},
        },
    },
]
LOOK = '{"name": "look", "parameters": {"q": "x"}}'
SCHEMA = {
    "type": "json_schema",
    "json_schema": {"name": "x", "schema": {"type": "object", "required": ["a"]}},
}


def plan(**fields: Any) -> Plan:
    return parse_chat({"model": "m", "messages": [{"role": "user", "content": "Hi"}], **fields}, Defaults())


def documents(stream: bytes) -> list[dict[str, Any]]:
    splitter = sse.Splitter()
    payloads = [sse.payload(event) for event in splitter.feed(stream)]
    assert splitter.rest() == b""
    assert payloads.pop() == sse.DONE
    return [json.loads(payload) for payload in payloads]


def streamed(
    pieces: list[str], reason: str = "stop", **fields: Any
) -> tuple[list[dict[str, Any]], ChatWriter]:
    writer = ChatWriter(HEAD, plan(stream=True, **fields))
    stream = b"".join(writer.feed(piece) for piece in pieces)
    return documents(stream + writer.end(reason, USAGE)), writer


def whole(pieces: list[str], reason: str = "stop", **fields: Any) -> tuple[ChatCompletion, ChatWriter]:
    writer = ChatWriter(HEAD, plan(**fields))
    assert b"".join(writer.feed(piece) for piece in pieces) == b""
    return ChatCompletion.model_validate_json(writer.whole(reason, USAGE)), writer


def put_together(chunks: list[dict[str, Any]]) -> ChatCompletion:
    state = ChatCompletionStreamState()
    for chunk in chunks:
        state.handle_chunk(ChatCompletionChunk.model_validate(chunk))
    return state.current_completion_snapshot


def what_it_says(answer: ChatCompletion) -> dict[str, Any]:
    (choice,) = answer.choices
    return {
        "id": answer.id,
        "created": answer.created,
        "model": answer.model,
        "usage": answer.usage and answer.usage.to_dict(),
        "finish_reason": choice.finish_reason,
        "content": choice.message.content,
        "refusal": choice.message.refusal,
        "role": choice.message.role,
        "calls": [
            (call.id, call.type, call.function.name, call.function.arguments)
            if call.type == "function"
            else call
            for call in choice.message.tool_calls or ()
        ],
    }


pieces = st.lists(
    st.sampled_from(
        [
            *(
                "",
                "Hi ",
                "é😀\n",
                '"',
                LOOK,
                "; ",
                "\n",
                '{"name": "look", ',
                '"parameters": {"q": "',
                "x",
                '"}}',
            ),
            *('{"a": 1}', '{"name": "nobody", "parameters": {}}', "{", "}", "<|python_tag|>", '{"name": "lo'),
        ]
    ),
    max_size=8,
)
asks = st.sampled_from(
    [
        {},
        {"tools": TOOLS},
        {"tools": TOOLS, "parallel_tool_calls": False},
        {"tools": TOOLS, "tool_choice": "required"},
        {"tools": TOOLS, "tool_choice": {"type": "function", "function": {"name": "look"}}},
        {"tools": TOOLS, "tool_choice": "none"},
    ]
)


@settings(max_examples=150)
@given(pieces, asks, st.sampled_from(["stop", "length"]))
@example([], {}, "stop")
@example(["{"], {"tools": TOOLS}, "length")
@example([LOOK, LOOK], {"tools": TOOLS, "parallel_tool_calls": False}, "stop")
def test_a_streamed_answer_put_together_by_the_sdk_is_the_whole_one(
    pieces: list[str], ask: dict[str, Any], reason: str
) -> None:
    chunks, streaming = streamed(pieces, reason, stream_options={"include_usage": True}, **ask)
    answer, waiting = whole(pieces, reason, **ask)
    assert what_it_says(put_together(chunks)) == what_it_says(answer)
    assert streaming.complete is waiting.complete
    assert streaming.problem() == waiting.problem()


@given(pieces, asks)
def test_every_chunk_says_whose_it_is_and_only_the_first_and_last_are_special(
    pieces: list[str], ask: dict[str, Any]
) -> None:
    chunks, _ = streamed(pieces, **ask)
    assert {(chunk["id"], chunk["object"], chunk["created"], chunk["model"]) for chunk in chunks} == {
        (f"chatcmpl-{HEAD.id_hex}", "chat.completion.chunk", HEAD.created_unix_s, "llama")
    }
    choices = [chunk["choices"] for chunk in chunks]
    assert all(len(each) == 1 and each[0]["index"] == 0 for each in choices)
    assert ["role" in each[0]["delta"] for each in choices] == [True] + [False] * (len(chunks) - 1)
    assert [bool(each[0]["finish_reason"]) for each in choices] == [False] * (len(chunks) - 1) + [True]
    assert choices[-1][0]["delta"] == {}
    assert all("usage" not in chunk for chunk in chunks)


def test_usage_is_the_last_chunk_and_has_no_choice() -> None:
    chunks, _ = streamed(["Hi"], stream_options={"include_usage": True})
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"] == {"prompt_tokens": 11, "completion_tokens": 4, "total_tokens": 15}
    assert all("usage" not in chunk for chunk in chunks[:-1])


@pytest.mark.parametrize(
    ("fields", "pieces", "reason", "finish"),
    [
        ({}, ["Hi"], "stop", "stop"),
        ({}, ["Hi"], "length", "length"),
        ({}, [], "stop", "stop"),
        ({"tools": TOOLS}, ["Hi"], "stop", "stop"),
        ({"tools": TOOLS}, [LOOK], "stop", "tool_calls"),
        ({"tools": TOOLS}, [LOOK[:-9]], "length", "length"),
        ({"tools": TOOLS, "tool_choice": "required"}, [LOOK], "stop", "tool_calls"),
        # As OpenAI has it where the request named the function.
        (
            {"tools": TOOLS, "tool_choice": {"type": "function", "function": {"name": "look"}}},
            [LOOK],
            "stop",
            "stop",
        ),
        # Without tools, or with a choice of none, JSON that looks like a call is an answer.
        ({}, [LOOK], "stop", "stop"),
        ({"tools": TOOLS, "tool_choice": "none"}, [LOOK], "stop", "stop"),
    ],
)
def test_an_answer_says_why_it_ended(
    fields: dict[str, Any], pieces: list[str], reason: str, finish: str
) -> None:
    answer, _ = whole(pieces, reason, **fields)
    chunks, _ = streamed(pieces, reason, **fields)
    assert answer.choices[0].finish_reason == chunks[-1]["choices"][0]["finish_reason"] == finish


def test_calls_have_ids_of_their_own_and_no_text() -> None:
    answer, writer = whole([LOOK, "; ", LOOK], tools=TOOLS)
    message = answer.choices[0].message
    assert message.content is None
    assert message.tool_calls is not None
    assert len({call.id for call in message.tool_calls}) == 2
    assert all(call.id.startswith("call_") for call in message.tool_calls)
    assert not writer.complete


def test_a_call_streams_its_name_first_and_then_its_arguments() -> None:
    chunks, _ = streamed(['{"name": "look", "parameters": {"q"', ': "x"', "}}"], tools=TOOLS)
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks]
    first = deltas[0]["tool_calls"][0]
    assert deltas[0]["content"] is None
    assert (first["index"], first["type"], first["function"]) == (
        0,
        "function",
        {"name": "look", "arguments": ""},
    )
    assert [delta["tool_calls"][0]["function"]["arguments"] for delta in deltas[1:-1]] == [
        '{"q"',
        ': "x"',
        "}",
    ]


@pytest.mark.parametrize("pieces", [[LOOK + "; " + LOOK], [LOOK, "; ", LOOK], list(LOOK + LOOK)])
def test_without_parallel_calls_the_first_is_the_only_one_and_ends_the_answer(pieces: list[str]) -> None:
    answer, writer = whole(pieces, tools=TOOLS, parallel_tool_calls=False)
    assert len(answer.choices[0].message.tool_calls or ()) == 1
    assert answer.choices[0].finish_reason == "tool_calls"
    assert writer.complete
    chunks, writer = streamed(pieces, tools=TOOLS, parallel_tool_calls=False)
    assert len(put_together(chunks).choices[0].message.tool_calls or ()) == 1
    assert writer.complete
    assert writer.feed("more") == b""


def test_what_runs_away_after_a_call_ends_the_answer() -> None:
    answer, writer = whole([LOOK, "assistant\n\nIt is sunny."], tools=TOOLS)
    assert writer.complete
    assert answer.choices[0].message.content is None


NAMED = {"type": "function", "function": {"name": "look"}}


@pytest.mark.parametrize(
    ("fields", "text", "problem"),
    [
        ({}, "anything", ""),
        ({"response_format": {"type": "json_object"}}, "{}", ""),
        ({"response_format": {"type": "json_object"}}, "[]", "it is JSON, but no object"),
        ({"response_format": SCHEMA}, '{"a": 1}', ""),
        ({"response_format": SCHEMA}, "{}", "it: "),
        ({"response_format": SCHEMA}, "", "it is not JSON"),
        ({"response_format": SCHEMA, "tools": TOOLS}, '{"a": 1}', ""),
        ({"response_format": SCHEMA, "tools": TOOLS}, "{}", "it: "),
        ({"response_format": SCHEMA, "tools": TOOLS}, '{"name": "lo', "it is not JSON"),
        # A call is no answer yet, and needs no format.
        ({"response_format": SCHEMA, "tools": TOOLS}, LOOK, ""),
        ({"tools": TOOLS}, '{"name": "look", "parameters": {"any": "thing"}}', ""),
        ({"tools": TOOLS}, '{"name": "sort", "parameters": {"to": "a"}}', ""),
        ({"tools": TOOLS}, '{"name": "sort", "parameters": {"to": "c"}}', "the arguments of sort: to: "),
        ({"tools": TOOLS}, '{"name": "sort"}', "the arguments of sort: it: "),
        ({"tools": TOOLS}, '{"name": "sort", "parameters": "a"}', "the arguments of sort: "),
        ({"tools": TOOLS}, '{"name": "sort", "parameters": {"to": "a}}', "the arguments of sort: "),
        ({"tools": TOOLS}, LOOK + '{"name": "sort", "parameters": {}}', "the arguments of sort: it: "),
        ({"tools": TOOLS, "tool_choice": "required"}, LOOK, ""),
        ({"tools": TOOLS, "tool_choice": "required"}, "Hi", "a tool call was demanded"),
        ({"tools": TOOLS, "tool_choice": NAMED}, '{"name": "nobody"}', "a tool call was demanded"),
    ],
)
def test_an_answer_is_held_to_what_was_demanded(fields: dict[str, Any], text: str, problem: str) -> None:
    for _, writer in (whole(list(text), **fields), streamed([text], **fields)):
        assert writer.problem().startswith(problem)
        assert bool(writer.problem()) is bool(problem)


# A completion of a text


def text_writer(**fields: Any) -> Writer:
    return TextWriter(HEAD, parse_completion({"model": "m", "prompt": "Once", **fields}, Defaults()))


@given(st.lists(st.text(max_size=5), max_size=6), st.sampled_from(["stop", "length"]), st.booleans())
def test_a_streamed_text_put_together_is_the_whole_one(pieces: list[str], reason: str, usage: bool) -> None:
    waiting, streaming = text_writer(), text_writer(stream=True, stream_options={"include_usage": usage})
    assert b"".join(waiting.feed(piece) for piece in pieces) == b""
    answer = Completion.model_validate_json(waiting.whole(reason, USAGE))
    stream = b"".join(streaming.feed(piece) for piece in pieces)
    chunks = documents(stream + streaming.end(reason, USAGE))
    choices = [choice for chunk in chunks for choice in chunk["choices"]]
    assert "".join(choice["text"] for choice in choices) == answer.choices[0].text == "".join(pieces)
    assert [choice["finish_reason"] for choice in choices] == [None] * (len(choices) - 1) + [reason]
    assert answer.choices[0].finish_reason == reason
    assert {(chunk["id"], chunk["object"], chunk["model"], chunk["created"]) for chunk in chunks} == {
        (answer.id, "text_completion", "llama", HEAD.created_unix_s)
    }
    assert answer.usage is not None
    assert answer.usage.to_dict() == USAGE
    assert [chunk["usage"] for chunk in chunks if not chunk["choices"]] == [USAGE] * usage
    assert waiting.problem() == streaming.problem() == ""
