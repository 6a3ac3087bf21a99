"""What a request may ask of a server that takes one prompt: read, left out without harm, or refused."""

from collections.abc import Callable
from typing import Any

import pytest

from services.common.errors import DomainError, Reason
from services.router.core.sovereign.plan import Plan, parse_chat, parse_completion
from services.router.core.sovereign.sampling import Defaults
from services.router.core.sovereign.tools import NO_TOOLS

USER = {"role": "user", "content": "Hi"}
TOOL = {"type": "function", "function": {"name": "look"}}
SCHEMA = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}}}


def chat(**fields: Any) -> Plan:
    return parse_chat({"model": "m", "messages": [USER], **fields}, Defaults())


def completion(**fields: Any) -> Plan:
    return parse_completion({"model": "m", "prompt": "Once", **fields}, Defaults())


HARMLESS = {
    "user": "ann",
    "metadata": {"a": "b"},
    "store": True,
    "service_tier": "flex",
    "safety_identifier": "x",
    "prompt_cache_key": "x",
    "prompt_cache_retention": "24h",
}
NOTHING: dict[str, list[Any]] = {
    "n": [1, None],
    "logprobs": [False, None],
    "top_logprobs": [0, None],
    "logit_bias": [{}, None],
    "modalities": [["text"], None],
    "functions": [[], None],
    "best_of": [1, None],
    "echo": [False, None],
    "suffix": ["", None],
    "reasoning_effort": [None],
    "audio": [None],
    "anything": [None],
}
SOMETHING: dict[str, list[Any]] = {
    "n": [2, 0, -1, 1.5, "1", True, [1]],
    "logprobs": [True, 0, 1, 5, "false"],
    "top_logprobs": [1, 20, False, "0"],
    "logit_bias": [{"50256": -100}, [], False],
    "modalities": [["text", "audio"], ["audio"], [], "text"],
    "functions": [[{"name": "look"}], {}],
    "function_call": ["auto", "none", {"name": "look"}],
    "best_of": [2, True],
    "echo": [True, 0],
    "suffix": ["end", False],
    "audio": [{"voice": "alloy", "format": "wav"}],
    "prediction": [{"type": "content", "content": "x"}],
    "reasoning_effort": ["low"],
    "verbosity": ["low"],
    "web_search_options": [{}],
    "min_p": [0.1],
    "guided_json": [{}],
    "": [1],
    "Stream": [True],
    "x" * 1000: [1],
}


@pytest.mark.parametrize("read", [chat, completion])
def test_what_says_nothing_of_the_answer_changes_nothing(read: Callable[..., Plan]) -> None:
    assert read(**HARMLESS) == read()


@pytest.mark.parametrize("read", [chat, completion])
@pytest.mark.parametrize(
    ("field", "value"), [(field, value) for field in NOTHING for value in NOTHING[field]]
)
def test_a_value_that_asks_for_nothing_passes(read: Callable[..., Plan], field: str, value: object) -> None:
    assert read(**{field: value}) == read()


@pytest.mark.parametrize("read", [chat, completion])
@pytest.mark.parametrize(
    ("field", "value"),
    [(field, value) for field in SOMETHING for value in SOMETHING[field]],
    ids=lambda value: repr(value)[:40],
)
def test_what_can_t_be_done_is_refused_by_name(read: Callable[..., Plan], field: str, value: object) -> None:
    with pytest.raises(DomainError) as caught:
        read(**{field: value})
    assert caught.value.reason is Reason.FEATURE_NOT_SUPPORTED
    assert caught.value.metadata["field"] == field[:80]
    assert f"`{field[:80]}`" in caught.value.message


def test_a_chat_is_read() -> None:
    plan = chat(
        messages=[{"role": "developer", "content": "Be brief."}, USER],
        stream=True,
        stream_options={"include_usage": True, "include_obfuscation": False},
        temperature=0,
        seed=-1,
        stop="END",
        max_completion_tokens=7,
        tools=[TOOL],
        tool_choice="required",
        parallel_tool_calls=False,
        response_format=SCHEMA,
    )
    assert plan.prompt is None
    assert [turn["role"] for turn in plan.turns] == ["system", "user"]
    assert plan.turns[0]["content"].startswith("Be brief.\n\nAnswer with JSON")
    assert (plan.sampling.temperature, plan.sampling.seed, plan.sampling.max_tokens) == (0, 2**64 - 1, 7)
    assert (set(plan.tools.names), plan.tools.parallel, plan.tools.opening) == ({"look"}, False, '{"name":')
    assert plan.format is not None
    assert plan.streamed
    assert plan.include_usage


@pytest.mark.parametrize(
    ("options", "wanted"),
    [(None, False), ({}, False), ({"include_usage": False}, False), ({"include_usage": None}, False)],
)
def test_usage_is_included_only_when_it_is_asked_for(options: Any, wanted: bool) -> None:
    assert chat(stream=True, stream_options=options).include_usage is wanted


@pytest.mark.parametrize("value", ["yes", 1, 0, [], {"a": 1}])
@pytest.mark.parametrize("read", [chat, completion])
def test_include_usage_is_true_or_false(read: Callable[..., Plan], value: object) -> None:
    with pytest.raises(DomainError) as caught:
        read(stream=True, stream_options={"include_usage": value})
    assert caught.value.reason is Reason.INVALID_REQUEST
    assert caught.value.metadata["field"] == "stream_options.include_usage"


@pytest.mark.parametrize(("prompt", "text"), [("Once", "Once"), (["Once"], "Once"), ("", ""), ([""], "")])
def test_a_prompt_is_complete_as_it_is(prompt: object, text: str) -> None:
    plan = completion(prompt=prompt)
    assert (plan.prompt, plan.turns, plan.tools, plan.format) == (text, [], NO_TOOLS, None)


@pytest.mark.parametrize("prompt", [["a", "b"], [1, 2, 3], [[1, 2]], [], [None], [{}]])
def test_several_prompts_or_tokens_are_refused(prompt: object) -> None:
    with pytest.raises(DomainError) as caught:
        completion(prompt=prompt)
    assert caught.value.reason is Reason.FEATURE_NOT_SUPPORTED
    assert caught.value.metadata["field"] == "prompt"


@pytest.mark.parametrize(
    ("read", "field", "value"),
    [
        (completion, "tools", [TOOL]),
        (completion, "tool_choice", "required"),
        (completion, "response_format", SCHEMA),
        (completion, "response_format", {"type": "json_object"}),
        (completion, "messages", [USER]),
        (chat, "prompt", "Once"),
    ],
)
def test_what_belongs_to_the_other_call_is_not_dropped_in_silence(
    read: Callable[..., Plan], field: str, value: object
) -> None:
    with pytest.raises(DomainError) as caught:
        read(**{field: value})
    assert caught.value.reason is Reason.FEATURE_NOT_SUPPORTED
    assert caught.value.metadata["field"] == field


@pytest.mark.parametrize(
    "fields",
    [
        {"tools": []},
        {"tool_choice": "none"},
        {"response_format": {"type": "text"}},
        {"parallel_tool_calls": True},
    ],
)
def test_a_completion_may_say_that_it_wants_no_tools_and_no_format(fields: dict[str, Any]) -> None:
    assert completion(**fields) == completion()


def test_a_plan_leaves_the_request_as_it_was() -> None:
    messages = [{"role": "system", "content": "Be brief."}, USER]
    chat(messages=messages, response_format=SCHEMA, tools=[TOOL])
    assert messages == [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]


def test_no_type_in_any_place_of_a_request_is_a_defect(harm: Callable[..., list[Any]]) -> None:
    document = {
        "temperature": 1,
        "stop": ["END"],
        "stream_options": {"include_usage": True},
        "tools": [{"type": "function", "function": {"name": "look", "parameters": {}, "strict": True}}],
        "tool_choice": {"type": "function", "function": {"name": "look"}},
        "response_format": SCHEMA,
        "logit_bias": {},
        "metadata": {"a": "b"},
    }

    def read(fields: Any) -> None:
        if not isinstance(fields["stream_options"], dict | None):
            return  # does not get as far as here
        try:
            chat(**fields)
        except DomainError as error:
            if error.reason is not Reason.FEATURE_NOT_SUPPORTED:
                raise

    assert harm(document, read, Reason.INVALID_REQUEST) == []
