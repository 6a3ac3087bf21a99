"""What the classifier is shown of a request, in the dialect of each API."""

from __future__ import annotations

import json
from typing import Any

import pytest

from services.router.core import wire
from services.router.core.catalog import CHAT, COMPLETIONS, EMBEDDINGS, MESSAGES, RESPONSES
from services.router.core.shown import opening, seen

USER = {"role": "user", "content": "Hi"}
SYSTEM = {"role": "system", "content": "Be brief."}
PARTS = [
    {"type": "text", "text": "one"},
    {"type": "image_url", "image_url": {}},
    {"type": "text", "text": "two"},
]
SCHEMA = {"type": "object", "properties": {"b": {"type": "string"}, "a": {"type": "integer"}}}
SORTED = '{"properties":{"a":{"type":"integer"},"b":{"type":"string"}},"type":"object"}'


def request(api: str, **fields: Any) -> wire.Request:
    field = {CHAT: "messages", MESSAGES: "messages", COMPLETIONS: "prompt"}.get(api, "input")
    asked = {field: [USER] if field == "messages" else "Hi"}
    return wire.parse_request(api, json.dumps({"model": "m", **asked, **fields}).encode())


@pytest.mark.parametrize(
    ("api", "fields", "system", "turns"),
    [
        (CHAT, {}, "", ["Hi"]),
        (CHAT, {"messages": [SYSTEM, {"role": "user", "content": PARTS}]}, "Be brief.", ["one\ntwo"]),
        (
            CHAT,
            {"messages": [SYSTEM, {"role": "developer", "content": PARTS}, USER]},
            "Be brief.\none\ntwo",
            ["Hi"],
        ),
        (CHAT, {"messages": [{"role": "assistant", "content": "Welcome."}, USER]}, "", ["Welcome.", "Hi"]),
        (CHAT, {"messages": [{"role": "assistant", "content": None}]}, "", [""]),
        (MESSAGES, {"system": "Be brief."}, "Be brief.", ["Hi"]),
        (MESSAGES, {"system": PARTS}, "one\ntwo", ["Hi"]),
        (MESSAGES, {"system": 5}, "", ["Hi"]),
        (RESPONSES, {"instructions": "Be brief."}, "Be brief.", ["Hi"]),
        (RESPONSES, {"instructions": "One.", "input": [SYSTEM, USER]}, "One.\nBe brief.", ["Hi"]),
        (RESPONSES, {"input": [{"type": "reasoning"}, {"content": PARTS}, USER]}, "", ["", "one\ntwo"]),
        (RESPONSES, {"input": [{"role": 3, "content": "x"}]}, "", ["x"]),
        (RESPONSES, {"input": None}, "", []),
        (COMPLETIONS, {}, "", ["Hi"]),
        (COMPLETIONS, {"prompt": ["a", "b"]}, "", ["a"]),
        (EMBEDDINGS, {"input": ["a", "b"]}, "", ["a"]),
        (EMBEDDINGS, {"input": [1, 2]}, "", []),
        (EMBEDDINGS, {"input": [[1, 2]]}, "", []),
    ],
)
def test_the_texts_of_who_built_it_and_of_who_uses_it_are_told_apart(
    api: str, fields: dict[str, Any], system: str, turns: list[str]
) -> None:
    shown = seen(request(api, **fields))
    assert (shown.system_prompt, list(shown.turns)) == (system, turns)
    assert shown.input_chars == len(system) + sum(map(len, turns))


@pytest.mark.parametrize(
    "later",
    [
        [{"role": "assistant", "content": "Hello"}],
        [{"role": "assistant", "content": "Hello"}, {"role": "user", "content": "Next"}],
        # A reminder at the end, which some applications move along with the conversation.
        [{"role": "assistant", "content": "Hello"}, {"role": "user", "content": "Next"}, SYSTEM],
    ],
)
def test_what_comes_after_the_users_first_message_is_not_shown_but_known(later: list[dict[str, Any]]) -> None:
    first, whole = request(CHAT, messages=[SYSTEM, USER]), request(CHAT, messages=[SYSTEM, USER, *later])
    assert seen(whole) == seen(first)
    assert (opening(first).continues, opening(whole).continues) == (False, True)


@pytest.mark.parametrize(
    ("api", "tools", "names"),
    [
        (CHAT, [{"type": "function", "function": {"name": "b"}}, {"function": {"name": "a"}}], ("b", "a")),
        (
            MESSAGES,
            [{"name": "a"}, {"type": "web_search_20250305", "name": "web_search"}],
            ("a", "web_search"),
        ),
        (RESPONSES, [{"type": "function", "name": "a"}, {"type": "file_search"}], ("a", "file_search")),
        (CHAT, [None, 5, {}, {"function": {"name": 5}}, {"function": 5}], ()),
        (CHAT, "tools", ()),
        (CHAT, None, ()),
    ],
)
def test_tools_are_shown_by_name(api: str, tools: object, names: tuple[str, ...]) -> None:
    assert seen(request(api, tools=tools)).tool_names == names


@pytest.mark.parametrize(
    ("api", "fields", "schema"),
    [
        (
            CHAT,
            {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}}},
            SORTED,
        ),
        (RESPONSES, {"text": {"format": {"type": "json_schema", "name": "x", "schema": SCHEMA}}}, SORTED),
        (MESSAGES, {"output_config": {"format": {"type": "json_schema", "schema": SCHEMA}}}, SORTED),
        (MESSAGES, {"output_format": {"type": "json_schema", "schema": SCHEMA}}, SORTED),
        (CHAT, {"response_format": {"type": "json_object"}}, ""),
        (CHAT, {"response_format": {"type": "json_schema", "json_schema": {"schema": "x"}}}, ""),
        (CHAT, {"response_format": {"type": "json_schema"}}, ""),
        (CHAT, {"response_format": "x"}, ""),
        (RESPONSES, {"text": {"format": {"type": "text"}}}, ""),
        (RESPONSES, {"text": 5}, ""),
        (MESSAGES, {"output_config": {"format": 5}}, ""),
    ],
)
def test_the_answers_schema_is_shown_with_sorted_keys(api: str, fields: dict[str, Any], schema: str) -> None:
    shown = seen(request(api, **fields))
    assert shown.response_schema == schema
    assert shown.has_response_schema is bool(schema)


def test_a_long_request_is_shown_by_head_and_tail() -> None:
    text = "a" * 5000 + "b" * 5000
    shown = seen(
        request(CHAT, messages=[{"role": "system", "content": text}, {"role": "user", "content": text}])
    )
    assert shown.system_prompt == shown.turns[0] == "a" * 1024 + "b" * 1024
    assert shown.input_chars == 20_000
