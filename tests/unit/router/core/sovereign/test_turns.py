"""Messages as OpenAI's clients send them, and the turns that a chat template gets."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.errors import DomainError, Reason
from services.router.core.sovereign.turns import parse_turns


def call(call_id: str, name: str = "look", arguments: Any = '{"q": 1}') -> dict[str, Any]:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def asks(*ids: str, **fields: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": None, "tool_calls": [call(each) for each in ids], **fields}


def result(call_id: str, content: Any = "found") -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": call_id, "content": content}


def short(turns: list[dict[str, Any]]) -> list[str]:
    return [
        "call " + "+".join(call["id"] for call in turn["tool_calls"])
        if turn.get("tool_calls")
        else f"{turn['role']} {turn.get('tool_call_id') or turn['content']}"
        for turn in turns
    ]


@pytest.mark.parametrize(
    ("messages", "turns"),
    [
        ([{"role": "user", "content": "Hi"}], [{"role": "user", "content": "Hi"}]),
        ([{"role": "user", "content": ""}], [{"role": "user", "content": ""}]),
        ([{"role": "user"}], [{"role": "user", "content": ""}]),
        ([{"role": "user", "content": []}], [{"role": "user", "content": ""}]),
        (
            [{"role": "user", "content": [{"type": "text", "text": "H"}, {"type": "text", "text": "i"}]}],
            [{"role": "user", "content": "H\ni"}],
        ),
        # What a client may say of a message besides is no template's business.
        ([{"role": "user", "content": "Hi", "name": "ann"}], [{"role": "user", "content": "Hi"}]),
        ([{"role": "developer", "content": "Be brief."}], [{"role": "system", "content": "Be brief."}]),
        # As the SDK writes back the message that it got.
        (
            [
                {
                    **{"role": "assistant", "content": "Hello", "refusal": None, "annotations": []},
                    **{"audio": None, "function_call": None, "tool_calls": None},
                }
            ],
            [{"role": "assistant", "content": "Hello"}],
        ),
        (
            [{"role": "assistant", "content": "Hello", "tool_calls": []}],
            [{"role": "assistant", "content": "Hello"}],
        ),
        (
            [{"role": "assistant", "content": None, "refusal": "No."}],
            [{"role": "assistant", "content": "No."}],
        ),
        (
            [{"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]}],
            [{"role": "assistant", "content": "No."}],
        ),
        (
            [result("a", [{"type": "text", "text": "found"}])],
            [{"role": "tool", "content": "found", "tool_call_id": "a"}],
        ),
    ],
)
def test_a_message_becomes_a_turn(messages: list[dict[str, Any]], turns: list[dict[str, Any]]) -> None:
    assert parse_turns(messages) == turns


@pytest.mark.parametrize(
    ("messages", "turns"),
    [
        # Several at the beginning are one, whatever they are called; later ones stay where they are.
        (["system a", "system b", "user c"], ["system a\n\nb", "user c"]),
        (["system a", "developer b"], ["system a\n\nb"]),
        (["developer a", "user b", "system c", "system d"], ["system a", "user b", "system c", "system d"]),
        (["user a", "system b"], ["user a", "system b"]),
        (["user a", "user b"], ["user a", "user b"]),
    ],
)
def test_system_messages_at_the_beginning_are_one(messages: list[str], turns: list[str]) -> None:
    split = [message.partition(" ") for message in messages]
    assert short(parse_turns([{"role": role, "content": text} for role, _, text in split])) == turns


@pytest.mark.parametrize(
    ("messages", "turns"),
    [
        ([asks("a"), result("a")], ["call a", "tool a"]),
        ([asks("a", "b"), result("a"), result("b")], ["call a", "tool a", "call b", "tool b"]),
        # In the order of the calls, not of the results.
        ([asks("a", "b"), result("b"), result("a")], ["call a", "tool a", "call b", "tool b"]),
        # A result that is missing, one that nobody asked for, one that comes late.
        ([asks("a", "b"), result("b")], ["call a", "call b", "tool b"]),
        (
            [asks("a", "b"), result("a"), result("z"), result("b")],
            ["call a", "tool a", "call b", "tool b", "tool z"],
        ),
        (
            [asks("a", "b"), result("a"), {"role": "user", "content": "so"}, result("b")],
            ["call a", "tool a", "call b", "user so", "tool b"],
        ),
        ([result("a"), asks("a", "b"), result("b")], ["tool a", "call a", "call b", "tool b"]),
        # Ids that come twice, as some models write them.
        ([asks("a", "a"), result("a"), result("a")], ["call a", "tool a", "call a", "tool a"]),
        ([asks("a", "b"), result("a"), result("a")], ["call a", "tool a", "call b", "tool a"]),
        (
            [asks("a", "b"), result("a"), result("b"), asks("a", "b"), result("b"), result("a")],
            ["call a", "tool a", "call b", "tool b"] * 2,
        ),
        ([asks("a", "b")], ["call a", "call b"]),
    ],
)
def test_each_call_has_a_turn_of_its_own_and_its_result_behind_it(
    messages: list[dict[str, Any]], turns: list[str]
) -> None:
    assert short(parse_turns(messages)) == turns


def test_results_with_the_same_id_keep_their_order() -> None:
    turns = parse_turns([asks("a", "a"), result("a", "one"), result("a", "two")])
    assert [turn["content"] for turn in turns if turn["role"] == "tool"] == ["one", "two"]


ids = st.sampled_from("abc")
messages = st.one_of(
    st.builds(lambda text: {"role": "user", "content": text}, st.sampled_from("xyz")),
    st.builds(lambda text: {"role": "system", "content": text}, st.sampled_from("xyz")),
    st.lists(ids, min_size=1, max_size=4).map(lambda each: asks(*each)),
    st.builds(result, ids, st.sampled_from(["one", "two"])),
)


@given(st.lists(messages, max_size=12))
def test_nothing_that_was_said_is_lost_or_said_twice(messages: list[dict[str, Any]]) -> None:
    turns = parse_turns(messages)

    def said(turns: list[dict[str, Any]], role: str) -> Counter[str]:
        return Counter(
            part
            for turn in turns
            if turn["role"] == role
            for part in [f"{turn.get('tool_call_id')} {turn['content']}"]
            if not turn.get("tool_calls")
        )

    for role in ("user", "tool"):
        assert said(turns, role) == said(messages, role)
    called = [each["id"] for turn in messages for each in turn.get("tool_calls", ())]
    assert [each["id"] for turn in turns for each in turn.get("tool_calls", ())] == called
    assert all(len(turn.get("tool_calls", "x")) == 1 for turn in turns)


def test_arguments_are_a_dictionary_for_the_template() -> None:
    (turn,) = parse_turns([{**asks(), "tool_calls": [call("a", arguments='{"q": "\\u00e9", "n": 1.5}')]}])
    assert turn["tool_calls"] == [
        {"id": "a", "type": "function", "function": {"name": "look", "arguments": {"q": "é", "n": 1.5}}}
    ]


def test_no_arguments_may_be_no_text() -> None:
    (turn,) = parse_turns([{**asks(), "tool_calls": [call("a", arguments="")]}])
    assert turn["tool_calls"][0]["function"]["arguments"] == {}


NO_ARGUMENTS: list[Any] = ["{", "[]", "5", "null", "look", {}, None]
BAD, UNABLE = Reason.INVALID_REQUEST, Reason.FEATURE_NOT_SUPPORTED


def user(*parts: Any) -> dict[str, Any]:
    return {"role": "user", "content": list(parts)}


@pytest.mark.parametrize(
    ("message", "reason", "field"),
    [
        ({"role": "owner", "content": "x"}, BAD, "messages[1].role"),
        ({"role": "", "content": "x"}, BAD, "messages[1].role"),
        ({"role": "System", "content": "x"}, BAD, "messages[1].role"),
        ({"role": "function", "name": "look", "content": "x"}, UNABLE, "messages[1].role"),
        (user({"type": "image_url", "image_url": {"url": "x"}}), UNABLE, "messages[1].content[0]"),
        (user({"type": "text", "text": "x"}, {"type": "input_audio"}), UNABLE, "messages[1].content[1]"),
        (user({"type": "file", "file": {}}), UNABLE, "messages[1].content[0]"),
        (user({"text": "x"}), BAD, "messages[1].content[0].type"),
        (user({"type": 5}), BAD, "messages[1].content[0].type"),
        (user("x"), BAD, "messages[1].content[0].type"),
        (user(None), BAD, "messages[1].content[0].type"),
        (user({"type": "text"}), BAD, "messages[1].content[0].text"),
        (user({"type": "text", "text": None}), BAD, "messages[1].content[0].text"),
        (user({"type": "text", "text": ["x"]}), BAD, "messages[1].content[0].text"),
        (result(""), BAD, "messages[1].tool_call_id"),
        ({"role": "tool", "content": "x"}, BAD, "messages[1].tool_call_id"),
        ({"role": "tool", "tool_call_id": 5, "content": "x"}, BAD, "messages[1].tool_call_id"),
        ({"role": "assistant", "audio": {"id": "a"}}, UNABLE, "messages[1].audio"),
        ({"role": "assistant", "function_call": {"name": "f"}}, UNABLE, "messages[1].function_call"),
        ({"role": "assistant", "tool_calls": {"id": "a"}}, BAD, "messages[1].tool_calls"),
        ({"role": "assistant", "tool_calls": "look"}, BAD, "messages[1].tool_calls"),
        ({"role": "assistant", "tool_calls": [None]}, BAD, "messages[1].tool_calls[0]"),
        ({"role": "assistant", "tool_calls": [{"id": "a"}]}, BAD, "messages[1].tool_calls[0]"),
        (
            {"role": "assistant", "tool_calls": [{"id": "a", "type": "custom", "custom": {"name": "f"}}]},
            UNABLE,
            "messages[1].tool_calls[0].type",
        ),
        (
            {"role": "assistant", "tool_calls": [call("a"), call("b", name="")]},
            BAD,
            "messages[1].tool_calls[1].function.name",
        ),
        *(
            (
                {"role": "assistant", "tool_calls": [call("a", arguments=arguments)]},
                BAD,
                "messages[1].tool_calls[0].function.arguments",
            )
            for arguments in NO_ARGUMENTS
        ),
    ],
)
def test_what_is_no_message_is_refused_by_its_field(
    message: dict[str, Any], reason: Reason, field: str
) -> None:
    with pytest.raises(DomainError) as caught:
        parse_turns([{"role": "user", "content": "Hi"}, message])
    assert caught.value.reason is reason
    assert caught.value.metadata["field"] == field


def test_no_type_in_any_place_of_a_conversation_is_a_defect(harm: Callable[..., list[Any]]) -> None:
    conversation = [
        {"role": "user", "content": [{"type": "text", "text": "Hi"}]},
        {"role": "assistant", "content": None, "refusal": "No.", "tool_calls": [call("a"), call("b")]},
        {"role": "tool", "tool_call_id": "a", "content": "found"},
    ]

    def read(messages: Any) -> None:
        # A role that is none and a message that is none do not get as far as here.
        if not all(isinstance(each, dict) and isinstance(each.get("role"), str) for each in messages):
            return
        try:
            parse_turns(messages)
        except DomainError as error:
            if error.reason is not UNABLE:
                raise

    assert harm(conversation, read, BAD) == []
