"""The unmodified OpenAI SDK gets what it expects of an API of OpenAI's."""

from __future__ import annotations

import array
import asyncio
import base64
import hashlib
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import openai
import orjson
import pytest
from openai import AsyncOpenAI
from pydantic import BaseModel

from tests.support.stack import SECRETS, Stack

pytestmark = pytest.mark.asyncio(loop_scope="module")

ALIAS, SERVED, EMBEDDING = "gpt-4o-mini", "stand-in-mini", "stand-in-embed"
HURRIED_KEY = "hw-test-hurried"
HURRIED = f"""
[keys.hurried]
sha256 = "{hashlib.sha256(HURRIED_KEY.encode()).hexdigest()}"
requests_per_minute = 2
"""
QUESTION = {"role": "user", "content": "Where is my card? It was sent on 2024-05-01 to Ghent."}
PIXEL = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJ"
    "RU5ErkJggg=="
)
WEATHER: dict[str, Any] = {
    "name": "get_weather",
    "description": "Tells the weather in a city.",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
        "additionalProperties": False,
    },
}
ASKS_WEATHER = {"role": "user", "content": "What is the weather in Bruges?"}
FAULT = "x-stand-in-fault"


class Parcel(BaseModel):
    """An answer in a fixed form."""

    city: str
    sent: str
    late: bool


@pytest.fixture(scope="module")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """A stack with a key that may ask twice a minute."""
    async with Stack(tmp_path_factory.mktemp("openai"), HURRIED) as running:
        await running.start()
        yield running


async def arrived(stack: Stack) -> dict[str, Any]:
    """The body of the request that reached the cloud last."""
    async with aiohttp.ClientSession() as session, session.get(f"{stack.cloud}/stand-in/last") as response:
        last = await response.json()
    document: dict[str, Any] = orjson.loads(base64.b64decode(last["body"]))
    return document


async def gather(stream: AsyncIterator[Any], events: list[Any]) -> None:
    """Adds the events of a stream as they come, so that those before an error are kept."""
    async for event in stream:
        events.append(event)


# --- chat completions --------------------------------------------------------------------------------


@pytest.mark.parametrize("model", [ALIAS, SERVED])
async def test_a_chat_is_answered_under_the_model_that_was_asked_for(client: AsyncOpenAI, model: str) -> None:
    answer = await client.chat.completions.create(model=model, messages=[QUESTION])
    assert answer.model == model
    assert answer.choices[0].message.content
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert answer.usage.prompt_tokens > 0
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


async def test_headers_tell_what_became_of_a_chat(client: AsyncOpenAI) -> None:
    trace_id = "4bf92f3577b34da6a3ce929d0e0e4736"
    raw = await client.chat.completions.with_raw_response.create(
        model=ALIAS,
        messages=[{"role": "system", "content": "You triage tickets."}, QUESTION],
        extra_headers={"traceparent": f"00-{trace_id}-00f067aa0ba902b7-01"},
    )
    assert raw.headers["x-homeward-workload"] == "ticket-triage"
    assert raw.headers["x-homeward-evidence"] == "fingerprint"
    assert raw.headers["x-homeward-target"] == "cloud"
    assert raw.headers["x-homeward-upstream"] == "cloud"
    assert raw.headers["x-homeward-model"] == SERVED
    assert int(raw.headers["x-homeward-policy-version"]) >= 1
    assert raw.headers["x-homeward-trace-id"] == trace_id
    assert raw.parse().model == ALIAS


async def test_the_synchronous_client_is_answered_too(stack: Stack) -> None:
    def ask() -> str | None:
        with openai.OpenAI(base_url=stack.base_url, api_key=SECRETS.api_key, max_retries=0) as client:
            answer = client.chat.completions.create(model=ALIAS, messages=[QUESTION])
            return answer.choices[0].message.content

    assert await asyncio.to_thread(ask)


async def test_a_stream_without_include_usage_carries_no_usage(client: AsyncOpenAI, stack: Stack) -> None:
    stream = await client.chat.completions.create(model=ALIAS, messages=[QUESTION], stream=True, seed=1)
    chunks = [chunk async for chunk in stream]
    assert all("usage" not in chunk.to_dict() for chunk in chunks)
    assert all(chunk.choices for chunk in chunks), "no chunk that only the usage needed"
    assert {chunk.model for chunk in chunks} == {ALIAS}
    assert chunks[-1].choices[0].finish_reason == "stop"
    whole = await client.chat.completions.create(model=ALIAS, messages=[QUESTION], seed=1)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert text == whole.choices[0].message.content


@pytest.mark.parametrize("options", [{"include_usage": False}, {"include_obfuscation": False}])
async def test_other_stream_options_do_not_bring_usage_either(
    client: AsyncOpenAI, options: dict[str, bool]
) -> None:
    stream = await client.chat.completions.create(
        model=SERVED, messages=[QUESTION], stream=True, stream_options=options
    )
    chunks = [chunk async for chunk in stream]
    assert all("usage" not in chunk.to_dict() for chunk in chunks)
    assert all(chunk.choices for chunk in chunks)


@pytest.mark.parametrize("model", [ALIAS, SERVED])
async def test_a_stream_with_include_usage_ends_with_it(client: AsyncOpenAI, model: str) -> None:
    stream = await client.chat.completions.create(
        model=model, messages=[QUESTION], stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]
    *before, last = chunks
    assert last.choices == []
    assert last.usage is not None
    assert last.usage.completion_tokens > 0
    assert last.model == model
    assert all(chunk.usage is None and chunk.choices for chunk in before)


async def test_the_streaming_helper_gathers_the_answer(client: AsyncOpenAI) -> None:
    async with client.chat.completions.stream(model=ALIAS, messages=[QUESTION]) as stream:
        kinds = [event.type async for event in stream]
        final = await stream.get_final_completion()
    assert "content.delta" in kinds
    assert final.choices[0].message.content
    assert final.model == ALIAS


async def test_a_tool_is_called_and_its_result_is_understood(client: AsyncOpenAI) -> None:
    tools = [{"type": "function", "function": WEATHER}]
    asked = await client.chat.completions.create(model=ALIAS, messages=[ASKS_WEATHER], tools=tools)
    assert asked.choices[0].finish_reason == "tool_calls"
    (call,) = asked.choices[0].message.tool_calls or ()
    assert call.function.name == "get_weather"
    assert isinstance(orjson.loads(call.function.arguments)["city"], str)
    result = {"role": "tool", "tool_call_id": call.id, "content": '{"sky":"overcast"}'}
    history = [ASKS_WEATHER, asked.choices[0].message.to_dict(), result]
    answer = await client.chat.completions.create(model=ALIAS, messages=history, tools=tools)
    assert answer.choices[0].finish_reason == "stop"
    assert "overcast" in (answer.choices[0].message.content or "")


async def test_a_tool_call_is_streamed_piece_by_piece(client: AsyncOpenAI) -> None:
    stream = await client.chat.completions.create(
        model=ALIAS,
        messages=[ASKS_WEATHER],
        tools=[{"type": "function", "function": WEATHER}],
        tool_choice={"type": "function", "function": {"name": "get_weather"}},
        stream=True,
    )
    choices = [chunk.choices[0] async for chunk in stream]
    deltas = [call for choice in choices for call in choice.delta.tool_calls or ()]
    assert len(deltas) > 2
    first, *rest = deltas
    assert first.id
    assert first.function is not None
    assert first.function.name == "get_weather"
    assert {delta.index for delta in deltas} == {0}
    assert all(delta.id is None for delta in rest)
    arguments = "".join(delta.function.arguments or "" for delta in deltas if delta.function)
    assert isinstance(orjson.loads(arguments)["city"], str)
    # As OpenAI has it where the request names the tool.
    assert choices[-1].finish_reason == "stop"


async def test_an_answer_is_parsed_into_a_model_of_the_applications(client: AsyncOpenAI) -> None:
    answer = await client.chat.completions.parse(model=ALIAS, messages=[QUESTION], response_format=Parcel)
    parcel = answer.choices[0].message.parsed
    assert isinstance(parcel, Parcel)
    assert parcel.city


@pytest.mark.parametrize("url", [PIXEL, "https://example.org/cat.png"])
async def test_an_image_reaches_the_model(client: AsyncOpenAI, stack: Stack, url: str) -> None:
    parts = [{"type": "text", "text": "What is this?"}, {"type": "image_url", "image_url": {"url": url}}]
    answer = await client.chat.completions.create(
        model=ALIAS, messages=[{"role": "user", "content": parts}], temperature=0
    )
    assert "1 image" in (answer.choices[0].message.content or "")
    assert (await arrived(stack))["messages"][0]["content"] == parts


async def test_fields_that_nobody_knows_reach_the_cloud(client: AsyncOpenAI, stack: Stack) -> None:
    extra = {"x_unknown": {"a": [1, 2.5, None]}, "reasoning_effort": "low"}
    await client.chat.completions.create(model=ALIAS, messages=[QUESTION], extra_body=extra)
    body = await arrived(stack)
    assert body["x_unknown"] == extra["x_unknown"]
    assert body["reasoning_effort"] == "low"
    assert body["model"] == SERVED


# --- the other calls ---------------------------------------------------------------------------------


@pytest.mark.parametrize("texts", ["one text", ["two", "texts"]])
async def test_texts_are_embedded(client: AsyncOpenAI, texts: str | list[str]) -> None:
    answer = await client.embeddings.create(model=EMBEDDING, input=texts)
    assert answer.model == EMBEDDING
    assert len(answer.data) == (1 if isinstance(texts, str) else len(texts))
    assert all(len(item.embedding) == 256 for item in answer.data)
    assert answer.usage.prompt_tokens > 0


async def test_embeddings_are_the_same_in_either_encoding(client: AsyncOpenAI) -> None:
    packed = await client.embeddings.create(model=EMBEDDING, input="a text", encoding_format="base64")
    plain = await client.embeddings.create(model=EMBEDDING, input="a text", encoding_format="float")
    raw = packed.data[0].embedding
    assert isinstance(raw, str), "the SDK leaves what was asked for in base64 as it is"
    numbers = array.array("f", base64.b64decode(raw))
    assert list(numbers) == pytest.approx(plain.data[0].embedding)


async def test_a_text_is_completed(client: AsyncOpenAI) -> None:
    answer = await client.completions.create(model=ALIAS, prompt="The card was sent.", max_tokens=4)
    assert answer.model == ALIAS
    assert answer.choices[0].text
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 4


async def test_a_completion_is_streamed_without_usage(client: AsyncOpenAI) -> None:
    stream = await client.completions.create(model=ALIAS, prompt="The card was sent.", stream=True)
    chunks = [chunk async for chunk in stream]
    assert "".join(chunk.choices[0].text for chunk in chunks)
    assert all("usage" not in chunk.to_dict() for chunk in chunks)
    assert {chunk.model for chunk in chunks} == {ALIAS}


async def test_a_response_is_created(client: AsyncOpenAI) -> None:
    response = await client.responses.create(
        model=ALIAS, instructions="You triage tickets.", input="Where is my card?"
    )
    assert response.model == ALIAS
    assert response.status == "completed"
    assert response.output_text
    assert response.usage is not None
    assert response.usage.output_tokens > 0


async def test_a_response_is_streamed_under_the_model_that_was_asked_for(client: AsyncOpenAI) -> None:
    async with client.responses.stream(model=ALIAS, input="Where is my card?") as stream:
        events = [event async for event in stream]
        final = await stream.get_final_response()
    assert events[0].type == "response.created"
    assert events[0].response.model == ALIAS
    assert events[-1].type == "response.completed"
    assert final.model == ALIAS
    assert final.output_text == "".join(
        event.delta for event in events if event.type == "response.output_text.delta"
    )


async def test_a_response_is_parsed_into_a_model_of_the_applications(client: AsyncOpenAI) -> None:
    response = await client.responses.parse(
        model=ALIAS, input="Sent on 2024-05-01 to Ghent.", text_format=Parcel
    )
    assert isinstance(response.output_parsed, Parcel)


async def test_a_response_calls_a_tool_and_takes_its_result(client: AsyncOpenAI) -> None:
    tools = [{"type": "function", **WEATHER}]
    asked = await client.responses.create(model=ALIAS, input=[ASKS_WEATHER], tools=tools)
    (call,) = asked.output
    assert call.type == "function_call"
    result = {"type": "function_call_output", "call_id": call.call_id, "output": '{"sky":"overcast"}'}
    answer = await client.responses.create(
        model=ALIAS, input=[ASKS_WEATHER, call.to_dict(), result], tools=tools
    )
    assert "overcast" in answer.output_text


async def test_models_are_listed_and_found_by_name(client: AsyncOpenAI) -> None:
    names = [model.id async for model in client.models.list()]
    assert ALIAS in names
    for name in (*names, SERVED):
        assert (await client.models.retrieve(name)).id == name


# --- errors ------------------------------------------------------------------------------------------


async def test_a_wrong_key_is_an_authentication_error(client: AsyncOpenAI) -> None:
    stranger = client.with_options(api_key="hw-nobody")
    with pytest.raises(openai.AuthenticationError) as caught:
        await stranger.chat.completions.create(model=ALIAS, messages=[QUESTION])
    assert caught.value.code == "key_invalid"
    assert "hw-nobody" not in str(caught.value)
    with pytest.raises(openai.AuthenticationError):
        await stranger.models.list()


@pytest.mark.parametrize("call", ["chat", "stream", "responses", "embeddings", "models"])
async def test_an_unknown_model_is_a_not_found_error(client: AsyncOpenAI, call: str) -> None:
    calls = {
        "chat": lambda: client.chat.completions.create(model="gpt-9", messages=[QUESTION]),
        "stream": lambda: client.chat.completions.create(model="gpt-9", messages=[QUESTION], stream=True),
        "responses": lambda: client.responses.create(model="gpt-9", input="x"),
        "embeddings": lambda: client.embeddings.create(model="gpt-9", input="x"),
        "models": lambda: client.models.retrieve("gpt-9"),
    }
    with pytest.raises(openai.NotFoundError) as caught:
        await calls[call]()
    assert caught.value.code == "model_not_found"
    assert "gpt-9" in caught.value.message


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"messages": []}, "messages"),
        ({"messages": [{"content": "no role"}]}, "messages[0]"),
        ({"messages": [QUESTION], "model": ""}, "model"),
        ({"messages": [QUESTION], "temperature": 9}, "temperature"),
        ({"messages": [QUESTION], "extra_body": {"stream": "yes"}}, "stream"),
    ],
)
async def test_a_wrong_field_is_a_bad_request_error_that_names_it(
    client: AsyncOpenAI, fields: dict[str, Any], param: str
) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        await client.chat.completions.create(**{"model": ALIAS, **fields})
    assert caught.value.param == param
    assert caught.value.type == "invalid_request_error"


async def test_a_used_up_key_is_a_rate_limit_error_that_says_when_to_come_back(client: AsyncOpenAI) -> None:
    hurried = client.with_options(api_key=HURRIED_KEY)
    for _ in range(2):
        await hurried.chat.completions.create(model=ALIAS, messages=[QUESTION])
    with pytest.raises(openai.RateLimitError) as caught:
        await hurried.chat.completions.create(model=ALIAS, messages=[QUESTION])
    assert 1 <= int(caught.value.response.headers["retry-after"]) <= 30
    assert caught.value.code == "rate_limited"
    # Another key has its own limit.
    assert (await client.chat.completions.create(model=ALIAS, messages=[QUESTION])).choices


async def test_a_failing_cloud_is_an_internal_server_error(client: AsyncOpenAI) -> None:
    with pytest.raises(openai.InternalServerError) as caught:
        await client.chat.completions.create(
            model=ALIAS, messages=[QUESTION], extra_headers={FAULT: "status=500"}
        )
    assert caught.value.status_code == 500
    # The next request is served: three failures in a row are not yet a broken upstream.
    assert (await client.chat.completions.create(model=ALIAS, messages=[QUESTION])).choices


@pytest.mark.parametrize("call", ["chat", "completions"])
async def test_a_stream_that_is_cut_is_an_error_and_not_an_end(client: AsyncOpenAI, call: str) -> None:
    headers = {FAULT: "cut=4"}
    calls = {
        "chat": lambda: client.chat.completions.create(
            model=ALIAS, messages=[QUESTION], stream=True, extra_headers=headers
        ),
        "completions": lambda: client.completions.create(
            model=ALIAS, prompt="The card.", stream=True, extra_headers=headers
        ),
    }
    events: list[Any] = []
    with pytest.raises(openai.APIError) as caught:
        await gather(await calls[call](), events)
    assert len(events) == 4
    assert caught.value.code == "upstream_broken"
    # The upstream is in order again at the next call.
    assert (await client.chat.completions.create(model=ALIAS, messages=[QUESTION])).choices


async def test_a_streamed_response_that_is_cut_ends_with_the_apis_own_error_event(
    client: AsyncOpenAI,
) -> None:
    # The SDK raises nothing here: in the Responses API an error is an event like the others.
    headers = {FAULT: "cut=4"}
    stream = await client.responses.create(model=ALIAS, input="Where?", stream=True, extra_headers=headers)
    *before, last = [event async for event in stream]
    assert len(before) == 4
    assert last.type == "error"
    assert last.code == "upstream_broken"
    assert "broke off" in last.message
    async with client.responses.stream(model=ALIAS, input="Where?", extra_headers=headers) as helper:
        with pytest.raises(RuntimeError, match=r"response\.completed"):
            await helper.get_final_response()
    assert (await client.responses.create(model=ALIAS, input="Where?")).status == "completed"


async def test_the_error_event_of_a_response_has_the_next_sequence_number(client: AsyncOpenAI) -> None:
    stream = await client.responses.create(
        model=ALIAS, input="Where?", stream=True, extra_headers={FAULT: "cut=4"}
    )
    numbers = [event.sequence_number async for event in stream]
    assert numbers == [0, 1, 2, 3, 4]
    assert (await client.responses.create(model=ALIAS, input="Where?")).status == "completed"
