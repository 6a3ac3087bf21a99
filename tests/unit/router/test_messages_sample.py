"""A sample of the Messages API is handed over as a chat that asks the cloud the same, or not at all."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.sampling import Sampling
from services.common.words import Target
from services.router.chat_proto import to_request
from services.router.core import catalog, sse
from services.router.core.chat_to_messages import to_messages
from services.router.core.messages_sample import plain
from services.router.core.sampling import Bar, BarredError, Origin, Sample
from services.router.submission import submission

ORIGIN = Origin("triage", Sampling(bytes(16), 1, 10_000, bytes(16)), 0)
USER = {"role": "user", "content": "Hi"}
CACHED = {"cache_control": {"type": "ephemeral"}}
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOL = {"name": "look", "description": "Looks.", "input_schema": SCHEMA}
CALL = {"type": "tool_use", "id": "t1", "name": "look", "input": {"city": "Ghent", "deep": {"a": [1, None]}}}
RESULT = {"type": "tool_result", "tool_use_id": "t1", "content": "found"}
PNG = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBOR"}}
LINK = {"type": "image", "source": {"type": "url", "url": "https://example.org/a.png"}}


def text(said: str, **fields: Any) -> dict[str, Any]:
    return {"type": "text", "text": said, **fields}


def upstream(protocol: str, target: Target = Target.CLOUD, provider: str = "p") -> catalog.Route:
    apis = frozenset({catalog.MESSAGES if protocol == catalog.ANTHROPIC else catalog.CHAT})
    return catalog.Route(catalog.Upstream("u", target, protocol, "", provider, "", (), apis, True), "m")


CLAUDE, OPENAI = upstream(catalog.ANTHROPIC), upstream(catalog.OPENAI)
HOME = upstream(catalog.TRITON, Target.SOVEREIGN)


def ask(*messages: Any, **fields: Any) -> dict[str, Any]:
    return {"model": "m", "max_tokens": 9, "messages": list(messages) or [USER], **fields}


def message(*content: dict[str, Any], stop: str = "end_turn") -> bytes:
    return json.dumps({"id": "a", "model": "m", "content": content, "stop_reason": stop}).encode()


def sample(document: dict[str, Any], *routes: catalog.Route, answer: bytes = b"", **fields: Any) -> Sample:
    """A sample of the Messages API."""
    said = answer or message(text("Hello"))
    streamed = bool(document.get("stream"))
    return Sample(
        *(ORIGIN, b"r" * 16, b"l" * 16, document, 1, said, streamed, b"", "crm", "", Target.CLOUD),
        *(False, None),
        api=catalog.MESSAGES,
        routes=routes or (HOME, CLAUDE),
        **fields,
    )


def asked(document: dict[str, Any], *routes: catalog.Route) -> dict[str, Any]:
    """The chat completion that a leg asks with."""
    chat = submission(sample(document, *routes), 10**6).chat
    return dict(to_request(chat, streamed=False).document)


def asked_again(document: dict[str, Any]) -> dict[str, Any]:
    """The Messages request that Anthropic gets of a leg, but for the model."""
    return to_messages(asked(document))


TEXTS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=9)
NAMES = st.from_regex(r"[a-zA-Z0-9_-]{1,9}", fullmatch=True)
SCALARS = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | TEXTS
INPUTS = st.dictionaries(TEXTS, SCALARS | st.lists(SCALARS, max_size=2), max_size=2)
TEXT_BLOCKS = st.builds(text, TEXTS)
IMAGES = st.sampled_from([PNG, LINK])


def one_or_more(blocks: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[Any]:
    """What a turn has of them, a single text as a string."""
    several = st.lists(blocks, min_size=1, max_size=3)
    return several.map(lambda made: made[0]["text"] if len(made) == 1 and made[0]["type"] == "text" else made)


CALLS = st.builds(
    lambda ident, name, given: {"type": "tool_use", "id": ident, "name": name, "input": given},
    *(NAMES, NAMES, INPUTS),
)
RESULTS = st.builds(
    lambda ident, content: {"type": "tool_result", "tool_use_id": ident, "content": content},
    *(NAMES, one_or_more(TEXT_BLOCKS)),
)
ROUND = st.tuples(
    st.lists(TEXT_BLOCKS, max_size=2),
    st.lists(CALLS, min_size=1, max_size=2),
    st.lists(RESULTS, min_size=1, max_size=2),
    st.lists(TEXT_BLOCKS | IMAGES, max_size=2),
).map(
    lambda made: [
        {"role": "assistant", "content": [*made[0], *made[1]]},
        {"role": "user", "content": [*made[2], *made[3]]},
    ]
)
SPOKEN = st.tuples(one_or_more(TEXT_BLOCKS), one_or_more(TEXT_BLOCKS | IMAGES)).map(
    lambda made: [{"role": "assistant", "content": made[0]}, {"role": "user", "content": made[1]}]
)
TOOLS = st.builds(
    lambda name, more: {"name": name, "input_schema": SCHEMA, **more},
    NAMES,
    st.fixed_dictionaries({}, optional={"description": TEXTS, "strict": st.booleans()}),
)
REQUESTS = st.builds(
    lambda first, rounds, fields, tools: {
        "max_tokens": 9,
        "messages": [{"role": "user", "content": first}, *(turn for turns in rounds for turn in turns)],
        **fields,
        **tools,
    },
    one_or_more(TEXT_BLOCKS | IMAGES),
    st.lists(ROUND | SPOKEN, max_size=3),
    st.fixed_dictionaries(
        {},
        optional={
            "max_tokens": st.integers(1, 2**40),
            "system": one_or_more(TEXT_BLOCKS),
            "temperature": st.floats(0, 1) | st.sampled_from([0, 1]),
            "top_p": st.floats(0, 1, exclude_min=True),
            "stop_sequences": st.lists(TEXTS, min_size=1, max_size=4),
            "metadata": st.builds(lambda user: {"user_id": user}, TEXTS),
            "output_config": st.just({"format": {"type": "json_schema", "schema": SCHEMA}}),
        },
    ),
    st.just({})
    | st.fixed_dictionaries(
        {"tools": st.lists(TOOLS, min_size=1, max_size=2)},
        optional={
            "tool_choice": st.sampled_from(
                [
                    *({"type": "any"}, {"type": "none"}, {"type": "tool", "name": "look"}),
                    {"type": "any", "disable_parallel_tool_use": True},
                    {"type": "auto", "disable_parallel_tool_use": True},
                ]
            )
        },
    ),
)
"""Messages requests, each in the only form that says what it says."""


@given(REQUESTS)
def test_anthropic_gets_of_a_leg_what_it_got_of_the_application(request: dict[str, Any]) -> None:
    assert asked_again({"model": "m", **request}) == request


def marked(value: Any) -> Any:
    """The same question, said with all that is left to a default."""
    if isinstance(value, list):
        return [marked(item) for item in value]
    if not isinstance(value, dict):
        return value
    if value.get("type") == "tool_use":
        return {**value, "caller": {"type": "direct"}, **CACHED}
    made = {key: item if key in ("input_schema", "source") else marked(item) for key, item in value.items()}
    if value.get("type") == "text":
        made |= {"citations": None, **CACHED}
    if value.get("type") == "tool_result":
        made |= {"is_error": False, **CACHED}
        if isinstance(made["content"], str):
            made["content"] = [text(made["content"])]
    if "input_schema" in value:
        made |= {"type": "custom", **CACHED}
    if "role" in value and isinstance(made["content"], str):
        made["content"] = [text(made["content"], **CACHED)]
    return made


@given(REQUESTS)
def test_marks_of_a_cache_and_what_is_the_default_change_nothing(request: dict[str, Any]) -> None:
    said = {**marked({**request, "system": request.get("system")}), "top_k": None, "service_tier": "auto"}
    said |= {"model": "m", "cache_control": {"type": "ephemeral"}, "metadata": request.get("metadata", {})}
    assert plain(asked_again(said)) == plain(request)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        # Consecutive turns of the same role are one, for Anthropic.
        (
            ask(USER, {"role": "user", "content": "there"}),
            ask({"role": "user", "content": [text("Hi"), text("there")]}),
        ),
        (
            ask({"role": "user", "content": [RESULT]}, USER),
            ask({"role": "user", "content": [RESULT, text("Hi")]}),
        ),
        (ask(tool_choice={"type": "auto", "disable_parallel_tool_use": False}), ask()),
        (ask(output_config={"format": None, "effort": None}, metadata={"user_id": None}), ask()),
        (ask(system=[], tools=[], stop_sequences=[]), ask()),
        (
            ask({"role": "user", "content": [{**RESULT, "content": []}]}),
            ask({"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1"}]}),
        ),
    ],
)
def test_two_that_ask_the_same_are_the_same(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert plain(one) == plain(other)
    assert plain(asked_again(one)) == plain(one)


@pytest.mark.parametrize(
    "document",
    [
        ask(top_k=5),
        ask(thinking={"type": "enabled", "budget_tokens": 1024}),
        # Some models think unless they are told not to, and a chat can't tell them.
        ask(thinking={"type": "disabled"}),
        ask(service_tier="standard_only"),
        ask(output_config={"effort": "low"}),
        ask(container="c"),
        ask(tools=[{"type": "web_search_20250305", "name": "web_search"}]),
        ask(tools=[{**TOOL, "input_examples": [{"city": "Ghent"}]}]),
        ask(tools=[{**TOOL, "defer_loading": True}]),
        ask(metadata={"user_id": "u", "more": 1}),
        ask({"role": "user", "content": [{"type": "document", "source": {}}]}),
        ask({"role": "user", "content": [text("x", citations=[{"type": "char_location"}])]}),
        ask(
            USER,
            {
                "role": "assistant",
                "content": [{"type": "thinking", "thinking": "Hm", "signature": "s"}, text("Hi")],
            },
            USER,
        ),
        ask(
            USER,
            {"role": "assistant", "content": [{"type": "redacted_thinking", "data": "x"}, CALL]},
            {"role": "user", "content": [RESULT]},
        ),
        # In a chat, a text comes before the calls, and results come before a text.
        ask(USER, {"role": "assistant", "content": [CALL, text("x")]}, {"role": "user", "content": [RESULT]}),
        ask({"role": "user", "content": [text("x"), RESULT]}),
        ask({"role": "user", "content": [{**RESULT, "is_error": True}]}),
        ask({"role": "user", "content": [{**RESULT, "content": [PNG]}]}),
        ask({"role": "system", "content": "Be brief."}, USER),
    ],
    ids=str,
)
def test_what_has_no_form_as_a_chat_is_not_compared(document: dict[str, Any]) -> None:
    with pytest.raises(BarredError) as caught:
        submission(sample(document), 10**6)
    assert caught.value.bar is Bar.FORM


def test_a_legs_chat_must_be_one_that_the_contract_carries() -> None:
    with pytest.raises(BarredError) as caught:
        submission(sample(ask(stop_sequences=list("abcde"))), 10**6)
    assert caught.value.bar is Bar.SHAPE


def test_instructions_in_the_middle_stay_there() -> None:
    document = ask(USER, {"role": "assistant", "content": "x"}, USER, {"role": "system", "content": "Brief."})
    assert asked_again(document)["messages"] == document["messages"]


EVERYTHING = ask(
    {"role": "user", "content": [text("x"), PNG, LINK]},
    {"role": "assistant", "content": [text("x"), CALL]},
    {"role": "user", "content": [RESULT, text("y")]},
    system=[text("Be"), text("brief.")],
    tools=[TOOL],
    tool_choice={"type": "any", "disable_parallel_tool_use": True},
    metadata={"user_id": "u"},
    stop_sequences=["x"],
    output_config={"format": {"type": "json_schema", "schema": SCHEMA}},
)


def test_whatever_is_written_in_a_request_is_asked_again_or_not_compared(harm: Callable[..., Any]) -> None:
    compared = 0

    def read(document: Any) -> None:
        nonlocal compared
        messages = document["messages"]
        # The doors have checked these.
        if not isinstance(messages, list) or not all(
            isinstance(item, dict)
            and isinstance(item.get("role"), str)
            and isinstance(item.get("content"), (str, list, type(None)))
            for item in messages
        ):
            return
        if not isinstance(document["model"], str) or not messages:
            return
        try:
            again = asked_again(document)
        except BarredError:
            return
        compared += 1
        assert json.dumps(plain(again), sort_keys=True) == json.dumps(plain(document), sort_keys=True)

    assert harm(EVERYTHING, read, None) == []
    assert compared > 20


# Before a cloud that speaks chat completions, the application's request was a chat already.


def test_a_cloud_that_speaks_chats_is_asked_the_chat_that_it_was_asked() -> None:
    document = ask(
        {"role": "user", "content": [text("one"), text("two")]},
        {
            "role": "assistant",
            "content": [{"type": "thinking", "thinking": "x", "signature": "s"}, text("a")],
        },
        USER,
        system=[text("Be"), text("brief.")],
    )
    chat = {
        "model": "m",
        "messages": [
            {"role": "system", "content": "Be\nbrief."},
            {"role": "user", "content": "one\ntwo"},
            {"role": "assistant", "content": "a"},
            USER,
        ],
    }
    assert asked(document, HOME, OPENAI) == {**chat, "max_tokens": 9}
    assert asked(document, HOME, upstream(catalog.OPENAI, provider="openai")) == {
        **chat,
        "max_completion_tokens": 9,
    }


@pytest.mark.parametrize(
    ("headers", "route", "compared"),
    [
        ({}, CLAUDE, True),
        ({"anthropic-version": "2023-06-01", "user-agent": "x"}, CLAUDE, True),
        ({"anthropic-version": "2026-10-21"}, CLAUDE, True),
        ({"anthropic-version": "2030-01-01"}, CLAUDE, False),
        ({"anthropic-beta": "context-1m-2025-08-07"}, CLAUDE, False),
        ({"anthropic-beta": "context-1m-2025-08-07"}, OPENAI, True),
    ],
)
def test_what_is_asked_for_in_headers_no_leg_can_ask_for(
    headers: dict[str, str], route: catalog.Route, compared: bool
) -> None:
    item = sample(ask(), route, headers=headers)
    if compared:
        assert submission(item, 10**6).chat.messages
        return
    with pytest.raises(BarredError) as caught:
        submission(item, 10**6)
    assert caught.value.bar is Bar.FORM


# The answer


def event(kind: str, **fields: Any) -> bytes:
    return sse.event(json.dumps({"type": kind, **fields}).encode(), kind)


STREAM = b"".join(
    [
        event("message_start", message={"id": "a", "model": "m", "usage": {"input_tokens": 1}}),
        event("content_block_start", index=0, content_block=text("")),
        event("content_block_delta", index=0, delta={"type": "text_delta", "text": "Let me "}),
        event("content_block_delta", index=0, delta={"type": "text_delta", "text": "look."}),
        event("content_block_stop", index=0),
        event("content_block_start", index=1, content_block={**CALL, "input": {}}),
        event(
            "content_block_delta", index=1, delta={"type": "input_json_delta", "partial_json": '{"city":"B"}'}
        ),
        event("content_block_stop", index=1),
        event("message_delta", delta={"stop_reason": "tool_use"}, usage={"output_tokens": 3}),
        event("message_stop"),
    ]
)
CALLED = {**CALL, "input": {"city": "B"}}


@pytest.mark.parametrize(
    ("answer", "streamed", "said", "calls"),
    [
        (message(text("Hello")), False, "Hello", []),
        (message(text("Let me look."), CALLED), False, "Let me look.", [("look", '{"city":"B"}')]),
        (STREAM, True, "Let me look.", [("look", '{"city":"B"}')]),
        # As it is told of a model that wrote no JSON.
        (message({**CALL, "input": {"_invalid_json": '{"city'}}), False, "", [("look", '{"city')]),
    ],
)
def test_an_answer_is_its_text_and_its_calls(
    answer: bytes, streamed: bool, said: str, calls: list[tuple[str, str]]
) -> None:
    made = submission(sample(ask(stream=streamed), answer=answer), 10**6).answer
    assert "".join(part.text for part in made.content) == said
    assert [(call.name, call.arguments_json) for call in made.tool_calls] == calls
    assert made.name == ""


def test_a_refusal_is_told_by_its_name() -> None:
    made = submission(sample(ask(), answer=message(stop="refusal")), 10**6).answer
    assert made.name == "refusal"
    assert made.content[0].text


@pytest.mark.parametrize(
    "answer", [b"no JSON", b"{}", message({"type": "server_tool_use", "id": "s", "name": "x", "input": {}})]
)
def test_an_answer_that_a_chat_has_no_place_for_is_not_compared(answer: bytes) -> None:
    with pytest.raises(BarredError) as caught:
        submission(sample(ask(), answer=answer), 10**6)
    assert caught.value.bar is Bar.FORM


@pytest.mark.parametrize(
    ("one", "other", "together"),
    [
        (ask({"role": "user", "content": [text("Hi", **CACHED)]}), ask(), True),
        (ask(system="x"), ask(system="y"), False),
        (ask(), ask(USER, USER), False),
    ],
)
def test_the_same_texts_are_one_cluster(one: dict[str, Any], other: dict[str, Any], together: bool) -> None:
    clusters = {submission(sample(item), 10**6).cluster for item in (one, other)}
    assert (len(clusters) == 1) is together


def test_the_user_that_a_request_names_is_its_tenant() -> None:
    tenants = {
        submission(sample(ask(metadata={"user_id": user})), 10**6).tenant for user in ("ann", "bob", "ann")
    }
    assert len(tenants) == 2
