"""The request of a chat completion as a Messages request: field by field, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from services.common.errors import DomainError, Reason
from services.router.core import wire
from services.router.core.catalog import CHAT
from services.router.core.chat_to_messages import DEFAULT_MAX_TOKENS, to_messages

USER = {"role": "user", "content": "Hi"}
SCHEMA = {"type": "object", "properties": {"at": {"type": "string"}}}
CALL = {"id": "t1", "type": "function", "function": {"name": "look", "arguments": '{"at":[1,"x"]}'}}
TOOL_USE = {"type": "tool_use", "id": "t1", "name": "look", "input": {"at": [1, "x"]}}
TOOL = {"type": "function", "function": {"name": "look", "parameters": SCHEMA}}
CACHED = {"cache_control": {"type": "ephemeral"}}


def ask(*messages: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"model": "asked", "messages": list(messages) or [USER], **fields}


def text(said: str, **fields: Any) -> dict[str, Any]:
    return {"type": "text", "text": said, **fields}


def image(url: str, **fields: Any) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url, **fields}}


@pytest.mark.parametrize(
    ("fields", "asked"),
    [
        ({}, {"max_tokens": DEFAULT_MAX_TOKENS}),
        ({"max_tokens": 9}, {"max_tokens": 9}),
        ({"max_completion_tokens": 9}, {"max_tokens": 9}),
        ({"max_completion_tokens": 8, "max_tokens": 9}, {"max_tokens": 8}),
        ({"temperature": 0, "top_p": 0.5}, {"temperature": 0, "top_p": 0.5}),
        ({"temperature": 1.0}, {"temperature": 1.0}),
        ({"stop": "END"}, {"stop_sequences": ["END"]}),
        ({"stop": ["a", "b"]}, {"stop_sequences": ["a", "b"]}),
        ({"stop": []}, {}),
        ({"user": "u1"}, {"metadata": {"user_id": "u1"}}),
        ({"safety_identifier": "u2"}, {"metadata": {"user_id": "u2"}}),
        ({"stream": True, "stream_options": {"include_usage": True}}, {}),
        ({"response_format": {"type": "text"}}, {}),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA}}},
            {"output_config": {"format": {"type": "json_schema", "schema": SCHEMA}}},
        ),
        (
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "n", "schema": SCHEMA, "description": "d", "strict": True},
                }
            },
            {"output_config": {"format": {"type": "json_schema", "schema": {"description": "d", **SCHEMA}}}},
        ),
        ({"tools": [TOOL]}, {"tools": [{"name": "look", "input_schema": SCHEMA}]}),
        (
            {
                "tools": [
                    {**TOOL, "function": {**TOOL["function"], "description": "d", "strict": True}, **CACHED}
                ]
            },
            {
                "tools": [
                    {"name": "look", "description": "d", "strict": True, "input_schema": SCHEMA, **CACHED}
                ]
            },
        ),
        (
            {"tools": [{"type": "function", "function": {"name": "now", "strict": None}}]},
            {"tools": [{"name": "now", "input_schema": {"type": "object", "properties": {}}}]},
        ),
        ({"tools": []}, {}),
        ({"tool_choice": "auto"}, {"tool_choice": {"type": "auto"}}),
        ({"tool_choice": "required"}, {"tool_choice": {"type": "any"}}),
        ({"tool_choice": "none"}, {"tool_choice": {"type": "none"}}),
        (
            {"tool_choice": {"type": "function", "function": {"name": "look"}}},
            {"tool_choice": {"type": "tool", "name": "look"}},
        ),
        # What says nothing of the answer, or asks for nothing.
        ({"metadata": {"a": "b"}, "store": True, "service_tier": "auto", "prompt_cache_key": "k"}, {}),
        ({"n": 1, "logprobs": False, "top_logprobs": 0, "logit_bias": {}, "modalities": ["text"]}, {}),
        ({"frequency_penalty": 0.0, "presence_penalty": 0, "seed": None, "functions": []}, {}),
        ({"parallel_tool_calls": False}, {}),
        ({"unknown": None}, {}),
    ],
)
def test_each_field_becomes_its_counterpart(fields: dict[str, Any], asked: dict[str, Any]) -> None:
    assert to_messages(ask(**fields)) == {"messages": [USER], "max_tokens": DEFAULT_MAX_TOKENS, **asked}


@pytest.mark.parametrize(
    ("choice", "asked"),
    [
        (None, {"type": "auto", "disable_parallel_tool_use": True}),
        ("required", {"type": "any", "disable_parallel_tool_use": True}),
        ("none", {"type": "none"}),
    ],
)
def test_parallel_calls_are_forbidden_in_the_choice(choice: str | None, asked: dict[str, Any]) -> None:
    document = ask(tools=[TOOL], tool_choice=choice, parallel_tool_calls=False)
    assert to_messages(document)["tool_choice"] == asked


@pytest.mark.parametrize(
    ("messages", "asked"),
    [
        ([{"role": "system", "content": "Be brief."}, USER], {"system": "Be brief.", "messages": [USER]}),
        (
            [
                {"role": "system", "content": "Be"},
                {"role": "developer", "content": [text("brief"), text("now.", **CACHED)]},
                USER,
            ],
            {"system": [text("Be"), text("brief"), text("now.", **CACHED)], "messages": [USER]},
        ),
        # Later instructions stay where they were said.
        (
            [USER, {"role": "developer", "content": "Be brief."}],
            {"messages": [USER, {"role": "system", "content": "Be brief."}]},
        ),
        ([{"role": "user", "content": [text("Hi")]}], {"messages": [USER]}),
        (
            [{"role": "user", "content": [text("a"), text("b")]}],
            {"messages": [{"role": "user", "content": [text("a"), text("b")]}]},
        ),
        (
            [
                {
                    "role": "user",
                    "content": [
                        text("What?"),
                        image("https://example.org/a.png", detail="auto"),
                        image("data:image/png;base64,iVBOR"),
                    ],
                }
            ],
            {
                "messages": [
                    {
                        "role": "user",
                        "content": [
                            text("What?"),
                            {"type": "image", "source": {"type": "url", "url": "https://example.org/a.png"}},
                            {
                                "type": "image",
                                "source": {"type": "base64", "media_type": "image/png", "data": "iVBOR"},
                            },
                        ],
                    }
                ]
            },
        ),
        # As OpenAI's SDK sends back an answer.
        (
            [
                USER,
                {
                    **{"role": "assistant", "content": "Hello", "refusal": None, "annotations": []},
                    **{"audio": None, "function_call": None, "tool_calls": None},
                },
            ],
            {"messages": [USER, {"role": "assistant", "content": "Hello"}]},
        ),
        (
            [USER, {"role": "assistant", "content": None, "refusal": "No."}],
            {"messages": [USER, {"role": "assistant", "content": "No."}]},
        ),
        (
            [USER, {"role": "assistant", "content": "Let me look.", "tool_calls": [CALL]}],
            {"messages": [USER, {"role": "assistant", "content": [text("Let me look."), TOOL_USE]}]},
        ),
        # The Messages API takes no empty text.
        (
            [USER, {"role": "assistant", "content": "", "tool_calls": [CALL]}],
            {"messages": [USER, {"role": "assistant", "content": [TOOL_USE]}]},
        ),
        # All results, and what is said with them, are one turn.
        (
            [
                {"role": "assistant", "content": None, "tool_calls": [CALL]},
                {"role": "tool", "tool_call_id": "t1", "content": "found", "name": "look"},
                {"role": "tool", "tool_call_id": "t2", "content": [text("a"), text("b")]},
                {"role": "tool", "tool_call_id": "t3", "content": ""},
                {"role": "user", "content": "And now?"},
                {"role": "user", "content": "Well?"},
            ],
            {
                "messages": [
                    {"role": "assistant", "content": [TOOL_USE]},
                    {
                        "role": "user",
                        "content": [
                            {"type": "tool_result", "tool_use_id": "t1", "content": "found"},
                            {"type": "tool_result", "tool_use_id": "t2", "content": [text("a"), text("b")]},
                            {"type": "tool_result", "tool_use_id": "t3"},
                            text("And now?"),
                        ],
                    },
                    {"role": "user", "content": "Well?"},
                ]
            },
        ),
    ],
)
def test_messages_become_turns(messages: list[dict[str, Any]], asked: dict[str, Any]) -> None:
    assert to_messages(ask(*messages)) == {"max_tokens": DEFAULT_MAX_TOKENS, **asked}


@pytest.mark.parametrize(
    ("arguments", "given"), [("", {}), ("{}", {}), ('{"a":', {"_invalid_json": '{"a":'}), (None, {})]
)
def test_arguments_that_a_model_wrote_are_sent_back_to_it(arguments: object, given: dict[str, Any]) -> None:
    call = {"id": "t1", "function": {"name": "look", "arguments": arguments}}
    (turn,) = to_messages(ask({"role": "assistant", "content": None, "tool_calls": [call]}))["messages"]
    assert turn["content"][0]["input"] == given


UNABLE, BAD = Reason.FEATURE_NOT_SUPPORTED, Reason.INVALID_REQUEST


@pytest.mark.parametrize(
    ("document", "field", "reason"),
    [
        (ask(n=2), "n", UNABLE),
        (ask(n=True), "n", UNABLE),
        (ask(logprobs=True), "logprobs", UNABLE),
        (ask(top_logprobs=5), "top_logprobs", UNABLE),
        (ask(logit_bias={"50": -1}), "logit_bias", UNABLE),
        (ask(frequency_penalty=0.5), "frequency_penalty", UNABLE),
        (ask(presence_penalty=-1), "presence_penalty", UNABLE),
        (ask(seed=0), "seed", UNABLE),
        (ask(modalities=["text", "audio"]), "modalities", UNABLE),
        (ask(functions=[{"name": "look"}]), "functions", UNABLE),
        (ask(reasoning_effort="low"), "reasoning_effort", UNABLE),
        (ask(top_k=5), "top_k", UNABLE),
        (ask(added_tomorrow=False), "added_tomorrow", UNABLE),
        (ask(temperature=1.2), "temperature", UNABLE),
        (ask(temperature="hot"), "temperature", BAD),
        (ask(response_format={"type": "json_object"}), "response_format", UNABLE),
        (ask(response_format={"type": "json_schema"}), "response_format.json_schema.schema", BAD),
        (ask(tool_choice={"type": "allowed_tools"}), "tool_choice", UNABLE),
        (ask(tools=[{"type": "custom", "custom": {"name": "x"}}]), "tools[0]", UNABLE),
        (
            ask(tools=[{"type": "function", "function": {"name": "x", "new": 1}}]),
            "tools[0].function.new",
            UNABLE,
        ),
        (ask(tools={}), "tools", BAD),
        (ask({"role": "user", "content": "x", "name": "ann"}), "messages[0].name", UNABLE),
        (ask({"role": "user", "content": "x", "new": 0}), "messages[0].new", UNABLE),
        (ask({"role": "function", "name": "f", "content": "x"}), "messages[0].role", UNABLE),
        (ask({"role": "odd", "content": "x"}), "messages[0].role", BAD),
        (ask({"role": "tool", "content": "x"}), "messages[0].tool_call_id", BAD),
        (ask({"role": "assistant", "audio": {"id": "a"}}), "messages[0].audio", UNABLE),
        (
            ask({"role": "user", "content": [text("x"), {"type": "input_audio", "input_audio": {}}]}),
            "messages[0].content[1]",
            UNABLE,
        ),
        (
            ask({"role": "user", "content": [image("https://x", detail="low")]}),
            "messages[0].content[0].image_url.detail",
            UNABLE,
        ),
        (
            ask({"role": "user", "content": [image("data:image/svg+xml,<svg/>")]}),
            "messages[0].content[0].image_url.url",
            UNABLE,
        ),
        (ask({"role": "system", "content": [image("https://x")]}), "messages[0].content[0]", UNABLE),
        (ask({"role": "user", "content": [text("x", new=1)]}), "messages[0].content[0].new", UNABLE),
        (ask({"role": "user", "content": [text("x"), 5]}), "messages[0].content[1].type", BAD),
    ],
)
def test_what_has_no_counterpart_is_refused_by_name(
    document: dict[str, Any], field: str, reason: Reason
) -> None:
    with pytest.raises(DomainError) as caught:
        to_messages(document)
    assert caught.value.reason is reason
    assert caught.value.metadata["field"] == field
    assert caught.value.message.startswith(f"`{field}`")


EVERYTHING = ask(
    {"role": "system", "content": [text("x")]},
    {"role": "user", "content": [text("x"), image("data:image/png;base64,x"), image("https://x")]},
    {"role": "assistant", "content": [{"type": "refusal", "refusal": "x"}], "tool_calls": [CALL]},
    {"role": "tool", "tool_call_id": "t1", "content": [text("x")]},
    tools=[TOOL],
    tool_choice={"type": "function", "function": {"name": "look"}},
    response_format={"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA}},
    temperature=0.5,
    stop=["x"],
    user="u",
    stream_options={"include_usage": True},
)


def test_a_request_with_other_types_is_refused_or_passed_on_but_does_no_harm(
    harm: Callable[..., Any],
) -> None:
    def read(document: object) -> None:
        try:
            to_messages(wire.parse_request(CHAT, json.dumps(document).encode()).document)
        except DomainError as error:
            # Either is the application's to mend.
            if error.reason is not UNABLE:
                raise

    assert harm(EVERYTHING, read, BAD) == []
