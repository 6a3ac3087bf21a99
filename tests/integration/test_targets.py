"""The unmodified OpenAI SDK: one table of uses, the same on the sovereign and on the cloud target.

What differs is listed in docs/compatibility.md, and by the tests at the end.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any, Literal

import openai
import pytest
from openai import AsyncOpenAI
from openai.types.chat import ChatCompletion
from openai.types.chat.chat_completion_message_function_tool_call import Function
from pydantic import BaseModel

from services.router.core.sovereign.structured import instruction
from tests.support.stack import HOME, Stack
from training import public_rows

pytestmark = pytest.mark.asyncio(loop_scope="module")

PROMPTS = public_rows.prompts()
VOICE, BANK = PROMPTS["voice-domain"], PROMPTS["bank-intent"]
DOMAINS = VOICE["json"]["response_format"]["json_schema"]["schema"]["properties"]["domain"]["enum"]
TEXT = "how do i say hello in italian"
MODELS = {"sovereign": "small-llama", "cloud": "gpt-4o-mini"}


class Domain(BaseModel):
    """The schema of voice-domain, as an application in Python would write it."""

    domain: Literal[
        "auto_and_commute",
        "banking",
        "credit_cards",
        "home",
        "kitchen_and_dining",
        "meta",
        "small_talk",
        "travel",
        "utility",
        "work",
    ]


@pytest.fixture(scope="module")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """A stack with both targets."""
    async with Stack(tmp_path_factory.mktemp("targets"), HOME) as running:
        await running.start()
        yield running


@pytest.fixture(params=MODELS)
def target(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def asks(system: str, text: str = TEXT) -> list[Any]:
    return [{"role": "system", "content": system}, {"role": "user", "content": text}]


def voice(target: str, **more: Any) -> dict[str, Any]:
    """A call of the voice assistant's workload."""
    form = VOICE["json"]
    return {
        "model": MODELS[target],
        "messages": asks(form["system"]),
        "response_format": form["response_format"],
        "temperature": 0,
        **more,
    }


def text(target: str, **more: Any) -> dict[str, Any]:
    """The same without a format that the answer is held to, so that it may be cut."""
    form = VOICE["json"]
    schema = form["response_format"]["json_schema"]["schema"]
    return {
        "model": MODELS[target],
        "messages": asks(f"{form['system']}\n\n{instruction(schema)}"),
        "temperature": 0,
        **more,
    }


def tool(target: str, **more: Any) -> dict[str, Any]:
    """The same as a tool call."""
    form = VOICE["tool"]
    return {
        "model": MODELS[target],
        "messages": asks(form["system"]),
        "tools": form["tools"],
        "temperature": 0,
        **more,
    }


def called(answer: ChatCompletion) -> list[Function]:
    """The functions that an answer calls; it calls nothing else."""
    calls = answer.choices[0].message.tool_calls or []
    functions = [call.function for call in calls if call.type == "function"]
    assert len(functions) == len(calls)
    return functions


async def test_a_structured_answer_meets_its_schema(client: AsyncOpenAI, target: str) -> None:
    raw = await client.chat.completions.with_raw_response.create(**voice(target))
    answer = raw.parse()
    assert raw.headers["x-homeward-target"] == target
    choice = answer.choices[0]
    assert choice.finish_reason == "stop"
    assert json.loads(choice.message.content or "")["domain"] in DOMAINS
    assert answer.model == MODELS[target]
    usage = answer.usage
    assert usage is not None
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
    assert usage.prompt_tokens > 20
    assert usage.completion_tokens > 0


async def test_the_sdk_parses_an_answer_into_a_pydantic_model(client: AsyncOpenAI, target: str) -> None:
    answer = await client.chat.completions.parse(
        model=MODELS[target],
        messages=asks(VOICE["json"]["system"]),
        response_format=Domain,
        temperature=0,
    )
    parsed = answer.choices[0].message.parsed
    assert parsed is not None
    assert parsed.domain in DOMAINS


async def test_a_stream_adds_up_to_the_whole_answer(client: AsyncOpenAI, target: str) -> None:
    whole = await client.chat.completions.create(**voice(target, seed=7))
    chunks = [
        chunk
        async for chunk in await client.chat.completions.create(
            **voice(target, seed=7, stream=True, stream_options={"include_usage": True})
        )
    ]
    deltas = [chunk.choices[0] for chunk in chunks if chunk.choices]
    assert deltas[0].delta.role == "assistant"
    assert "".join(delta.delta.content or "" for delta in deltas) == whole.choices[0].message.content
    assert [delta.finish_reason for delta in deltas if delta.finish_reason] == ["stop"]
    assert chunks[-1].usage == whole.usage
    assert not chunks[-1].choices
    assert len({chunk.id for chunk in chunks}) == 1


async def test_usage_that_nobody_asked_for_is_not_streamed(client: AsyncOpenAI, target: str) -> None:
    chunks = [chunk async for chunk in await client.chat.completions.create(**voice(target, stream=True))]
    assert all(chunk.usage is None for chunk in chunks)


async def test_a_tool_is_called_with_arguments_that_meet_its_schema(client: AsyncOpenAI, target: str) -> None:
    answer = await client.chat.completions.create(**tool(target))
    choice = answer.choices[0]
    assert choice.finish_reason == "tool_calls"
    calls = choice.message.tool_calls or []
    assert len(calls) == 1
    assert calls[0].type == "function"
    assert calls[0].function.name == "route_request"
    assert json.loads(calls[0].function.arguments)["domain"] in DOMAINS
    assert calls[0].id


async def test_a_streamed_tool_call_comes_in_pieces_that_add_up(client: AsyncOpenAI, target: str) -> None:
    whole = await client.chat.completions.create(**tool(target, seed=7))
    (wanted,) = called(whole)
    names, arguments, ids, reasons = "", "", [], []
    async for chunk in await client.chat.completions.create(**tool(target, seed=7, stream=True)):
        for choice in chunk.choices:
            reasons += [choice.finish_reason] if choice.finish_reason else []
            for call in choice.delta.tool_calls or []:
                assert call.index == 0
                assert call.function is not None
                ids += [call.id] if call.id else []
                names += call.function.name or ""
                arguments += call.function.arguments or ""
    assert reasons == ["tool_calls"]
    assert len(ids) == 1
    assert names == wanted.name
    assert json.loads(arguments) == json.loads(wanted.arguments)


@pytest.mark.parametrize(
    ("choice", "reason"),
    [
        ("required", "tool_calls"),
        ({"type": "function", "function": {"name": "route_request"}}, "stop"),
    ],
)
async def test_a_tool_call_can_be_demanded(
    client: AsyncOpenAI, target: str, choice: Any, reason: str
) -> None:
    answer = await client.chat.completions.create(**tool(target, tool_choice=choice))
    assert answer.choices[0].finish_reason == reason
    assert [function.name for function in called(answer)] == ["route_request"]


async def test_a_tool_call_can_be_forbidden(client: AsyncOpenAI, target: str) -> None:
    answer = await client.chat.completions.create(**tool(target, tool_choice="none", max_tokens=8))
    assert not answer.choices[0].message.tool_calls


async def test_a_tools_result_is_answered(client: AsyncOpenAI, target: str) -> None:
    first = await client.chat.completions.create(**tool(target))
    message = first.choices[0].message
    call = (message.tool_calls or [])[0]
    turns = [
        *asks(VOICE["tool"]["system"]),
        message.model_dump(exclude_none=True),
        {"role": "tool", "tool_call_id": call.id, "content": '{"queued": true}'},
    ]
    answer = await client.chat.completions.create(**tool(target, messages=turns, max_tokens=40))
    assert answer.choices[0].message.content
    assert not answer.choices[0].message.tool_calls


async def test_a_stop_word_ends_the_answer_before_it(client: AsyncOpenAI, target: str) -> None:
    whole = await client.chat.completions.create(**text(target))
    said = whole.choices[0].message.content or ""
    word = said[len(said) // 2 :][:3]
    for streamed in (False, True):
        got = await _text(client, text(target, stop=[word]), streamed)
        assert got == (said[: said.index(word)], "stop")


@pytest.mark.parametrize("field", ["max_tokens", "max_completion_tokens"])
async def test_a_limit_cuts_an_answer(client: AsyncOpenAI, target: str, field: str) -> None:
    answer = await client.chat.completions.create(**text(target, **{field: 2}))
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage is not None
    assert 0 < answer.usage.completion_tokens <= 2


async def test_the_same_seed_gives_the_same_answer(client: AsyncOpenAI, target: str) -> None:
    form = BANK["json"]
    call: dict[str, Any] = {
        "model": MODELS[target],
        "messages": asks(form["system"], "there is a charge that i do not know"),
        "temperature": 1.5,
        "seed": 1234,
        "max_tokens": 30,
    }
    texts = {(await client.chat.completions.create(**call)).choices[0].message.content for _ in range(3)}
    assert len(texts) == 1


async def test_messages_may_come_in_parts_and_from_a_developer(client: AsyncOpenAI, target: str) -> None:
    plain = await client.chat.completions.create(**voice(target))
    parts = await client.chat.completions.create(
        **voice(
            target,
            messages=[
                {"role": "developer", "content": VOICE["json"]["system"]},
                {"role": "user", "content": [{"type": "text", "text": TEXT}]},
            ],
        )
    )
    assert parts.choices[0].message.content == plain.choices[0].message.content


async def test_a_text_is_completed(client: AsyncOpenAI, target: str) -> None:
    answer = await client.completions.create(
        model=MODELS[target], prompt="The bank said", max_tokens=4, temperature=0
    )
    assert answer.object == "text_completion"
    assert answer.choices[0].finish_reason in ("stop", "length")
    assert answer.usage is not None
    assert answer.usage.completion_tokens <= 4


@pytest.mark.parametrize(
    "wrong",
    [
        {"temperature": 9},
        {"messages": [{"role": "clown", "content": "hello"}]},
        {"tools": [{"type": "function", "function": {"name": "spaces are wrong"}}]},
        {"tool_choice": "required"},
    ],
    ids=lambda wrong: next(iter(wrong)),
)
async def test_a_wrong_request_is_a_bad_request(
    client: AsyncOpenAI, target: str, wrong: dict[str, Any]
) -> None:
    with pytest.raises(openai.BadRequestError):
        await client.chat.completions.create(**voice(target, **wrong))


# --- what differs ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("n", 2),
        ("logprobs", True),
        ("logit_bias", {"50": 1}),
        ("prediction", {"type": "content", "content": ""}),
    ],
)
async def test_what_the_contract_lacks_is_refused_by_name_at_home(
    client: AsyncOpenAI, field: str, value: Any
) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        await client.chat.completions.create(**voice("sovereign", **{field: value}))
    assert refused.value.code == "feature_not_supported"
    assert field in refused.value.message


async def test_a_prompt_beyond_the_context_is_told_before_it_is_sent(client: AsyncOpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        await client.chat.completions.create(
            **voice("sovereign", messages=asks(VOICE["json"]["system"], "hello " * 3000))
        )
    assert refused.value.code == "context_length_exceeded"


async def _text(client: AsyncOpenAI, call: dict[str, Any], streamed: bool) -> tuple[str, str | None]:
    if not streamed:
        answer = await client.chat.completions.create(**call)
        return answer.choices[0].message.content or "", answer.choices[0].finish_reason
    text, reason = "", None
    async for chunk in await client.chat.completions.create(**call, stream=True):
        for choice in chunk.choices:
            text += choice.delta.content or ""
            reason = choice.finish_reason or reason
    return text, reason
