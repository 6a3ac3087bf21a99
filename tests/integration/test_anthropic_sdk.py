"""The unmodified Anthropic SDK gets what it expects, from an upstream that speaks its API and from others."""

from __future__ import annotations

import asyncio
import base64
import os
from collections.abc import AsyncIterator, Mapping
from typing import Any

import aiohttp
import anthropic
import openai
import orjson
import pytest
from anthropic import AsyncAnthropic
from grpc import aio
from homeward.common.v1 import chat_pb2
from homeward.router.v1 import router_pb2, router_pb2_grpc
from openai import AsyncOpenAI

from tests.support import anthropic_upstream
from tests.support.anthropic_upstream import AnthropicUpstream
from tests.support.stack import SECRETS, Stack

pytestmark = pytest.mark.asyncio(loop_scope="module")

ALIAS, SERVED = "gpt-4o-mini", "stand-in-mini"
CLAUDE = "claude-test-1"
SETTINGS = """
[upstreams.claude]
protocol = "anthropic"
base_url = "{plain}"
api_key = "sk-ant-upstream"
apis = ["messages"]
models = ["claude-*"]

[[prices]]
provider = "claude"
model = "claude-*"
input_usd_per_mtok = 3
cached_input_usd_per_mtok = 0.30
cache_write_usd_per_mtok = 3.75
output_usd_per_mtok = 15

[upstreams.dated]
protocol = "anthropic"
base_url = "{dated}"
api_key = "sk-ant-upstream"
apis = ["messages"]

[models.claude-alias]
routes = [{{ upstream = "dated", model = "claude-real" }}]

[models.either]
routes = [{{ upstream = "claude", model = "claude-real" }}, {{ upstream = "cloud", model = "stand-in-mini" }}]

[upstreams.keyless]
protocol = "anthropic"
base_url = "{plain}"
api_key = "sk-ant-wrong"
apis = ["messages"]

[models.locked-out]
routes = [{{ upstream = "keyless", model = "claude-real" }}]

[upstreams.european]
protocol = "anthropic"
base_url = "{plain}"
api_key = "sk-ant-upstream"
apis = ["messages"]
region = "eu"

[models.european]
routes = [{{ upstream = "european", model = "claude-real" }}]

[data_classes.european]
targets = ["cloud"]
regions = ["eu"]

[workloads.letters]
owner = "crm-team"
task_type = "summarization"
data_class = "european"
"""
QUESTION = {"role": "user", "content": "Where is my card? It was sent on 2024-05-01 to Ghent."}
ASKS_WEATHER = {"role": "user", "content": "What is the weather in Bruges?"}
WEATHER: dict[str, Any] = {
    "name": "get_weather",
    "description": "Tells the weather in a city.",
    "input_schema": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
    },
}
TIME: dict[str, Any] = {
    "name": "get_time",
    "description": "Tells the hour.",
    "input_schema": {"type": "object", "properties": {"zone": {"type": "string"}}, "required": ["zone"]},
}
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
FAULT = "x-stand-in-fault"


@pytest.fixture(scope="module")
async def upstream() -> AsyncIterator[AnthropicUpstream]:
    """An upstream that answers under the name that it was asked for."""
    server = AnthropicUpstream()
    async with server.running():
        yield server


@pytest.fixture(scope="module")
async def dated() -> AsyncIterator[AnthropicUpstream]:
    """An upstream whose answers have the model's full name, as Anthropic's do for an alias."""
    server = AnthropicUpstream("-20250929")
    async with server.running():
        yield server


@pytest.fixture(scope="module")
async def stack(
    tmp_path_factory: pytest.TempPathFactory, upstream: AnthropicUpstream, dated: AnthropicUpstream
) -> AsyncIterator[Stack]:
    settings = SETTINGS.format(plain=upstream.base_url, dated=dated.base_url)
    async with Stack(tmp_path_factory.mktemp("anthropic"), settings) as running:
        await running.start()
        yield running


@pytest.fixture(scope="module")
async def client(stack: Stack) -> AsyncIterator[AsyncAnthropic]:
    base_url = stack.base_url.removesuffix("/v1")
    async with AsyncAnthropic(base_url=base_url, api_key=SECRETS.api_key, max_retries=0) as made:
        yield made


@pytest.fixture
def traced() -> tuple[str, dict[str, str]]:
    """A trace of the test's own: its id, and the header that makes a request part of it."""
    trace_id = os.urandom(16).hex()
    return trace_id, {"traceparent": f"00-{trace_id}-00f067aa0ba902b7-01"}


async def arrived(stack: Stack) -> dict[str, Any]:
    """The chat completion that reached the cloud last."""
    async with aiohttp.ClientSession() as session, session.get(f"{stack.cloud}/stand-in/last") as response:
        last = await response.json()
    assert last["path"] == "/v1/chat/completions"
    document: dict[str, Any] = orjson.loads(base64.b64decode(last["body"]))
    return document


async def post(stack: Stack, body: bytes, headers: Mapping[str, str]) -> tuple[aiohttp.ClientResponse, bytes]:
    """A request without the SDK, for what must be seen byte by byte."""
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{stack.base_url}/messages", data=body, headers=headers) as response,
    ):
        return response, await response.read()


# --- translated for a server that speaks chat completions --------------------------------------------


@pytest.mark.parametrize("model", [ALIAS, SERVED])
async def test_a_message_is_answered_under_the_model_that_was_asked_for(
    client: AsyncAnthropic, model: str
) -> None:
    answer = await client.messages.create(model=model, max_tokens=100, messages=[QUESTION])
    assert answer.type == "message"
    assert answer.role == "assistant"
    assert answer.model == model
    assert answer.stop_reason == "end_turn"
    assert answer.content[0].type == "text"
    assert answer.content[0].text
    assert answer.usage.input_tokens > 0
    assert answer.usage.output_tokens > 0


async def test_an_answer_that_is_too_long_stops_at_max_tokens(client: AsyncAnthropic) -> None:
    answer = await client.messages.create(model=ALIAS, max_tokens=3, messages=[QUESTION])
    assert answer.stop_reason == "max_tokens"
    assert answer.usage.output_tokens == 3


async def test_the_synchronous_client_is_answered_too(stack: Stack) -> None:
    def ask() -> str:
        base_url = stack.base_url.removesuffix("/v1")
        with anthropic.Anthropic(base_url=base_url, api_key=SECRETS.api_key, max_retries=0) as client:
            return client.messages.create(model=ALIAS, max_tokens=50, messages=[QUESTION]).content[0].text

    assert await asyncio.to_thread(ask)


async def test_a_stream_gives_its_text_and_then_the_whole_message(client: AsyncAnthropic) -> None:
    async with client.messages.stream(model=ALIAS, max_tokens=100, messages=[QUESTION]) as stream:
        text = "".join([piece async for piece in stream.text_stream])
        final = await stream.get_final_message()
    assert text
    assert final.content[0].text == text
    assert final.model == ALIAS
    assert final.stop_reason == "end_turn"
    assert final.usage.input_tokens > 0
    assert final.usage.output_tokens > 0


async def test_streamed_events_come_in_the_order_of_the_messages_api(client: AsyncAnthropic) -> None:
    stream = await client.messages.create(model=ALIAS, max_tokens=100, messages=[QUESTION], stream=True)
    kinds = [event.type async for event in stream]
    deltas = kinds.count("content_block_delta")
    assert deltas > 1
    assert kinds == [
        "message_start",
        "content_block_start",
        *["content_block_delta"] * deltas,
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]


async def test_a_system_prompt_names_the_workload_and_comes_first(
    client: AsyncAnthropic, stack: Stack
) -> None:
    raw = await client.messages.with_raw_response.create(
        model=ALIAS, max_tokens=20, system="You triage tickets.", messages=[QUESTION]
    )
    assert raw.headers["x-homeward-workload"] == "ticket-triage"
    assert raw.headers["x-homeward-model"] == SERVED
    messages = (await arrived(stack))["messages"]
    assert messages == [{"role": "system", "content": "You triage tickets."}, QUESTION]


async def test_sampling_goes_through_the_translation(client: AsyncAnthropic, stack: Stack) -> None:
    await client.messages.create(
        model=ALIAS,
        max_tokens=20,
        system=[{"type": "text", "text": "One."}, {"type": "text", "text": "Two."}],
        messages=[QUESTION],
        stop_sequences=["END"],
        metadata={"user_id": "u-1"},
        extra_body={"temperature": 0.5, "top_p": 0.9},
    )
    body = await arrived(stack)
    assert body["messages"][0] == {"role": "system", "content": "One.\nTwo."}
    wanted = {
        "model": SERVED,
        "max_tokens": 20,
        "temperature": 0.5,
        "top_p": 0.9,
        "stop": ["END"],
        "user": "u-1",
    }
    assert {key: body[key] for key in wanted} == wanted


async def test_a_tool_is_called_and_its_result_is_understood(client: AsyncAnthropic, stack: Stack) -> None:
    asked = await client.messages.create(
        model=ALIAS, max_tokens=100, messages=[ASKS_WEATHER], tools=[WEATHER]
    )
    assert asked.stop_reason == "tool_use"
    (call,) = asked.content
    assert call.type == "tool_use"
    assert call.name == "get_weather"
    assert isinstance(call.input["city"], str)
    result = {"type": "tool_result", "tool_use_id": call.id, "content": '{"sky":"overcast"}'}
    answer = await client.messages.create(
        model=ALIAS,
        max_tokens=100,
        messages=[
            ASKS_WEATHER,
            {"role": "assistant", "content": [call.to_dict()]},
            {"role": "user", "content": [result]},
        ],
        tools=[WEATHER],
    )
    assert answer.stop_reason == "end_turn"
    assert "overcast" in answer.content[0].text
    user, assistant, tool = (await arrived(stack))["messages"]
    assert user == ASKS_WEATHER
    assert assistant["tool_calls"][0]["id"] == call.id
    assert tool == {"role": "tool", "tool_call_id": call.id, "content": '{"sky":"overcast"}'}


async def test_a_tool_call_is_streamed_piece_by_piece(client: AsyncAnthropic) -> None:
    async with client.messages.stream(
        model=ALIAS, max_tokens=100, messages=[ASKS_WEATHER], tools=[WEATHER]
    ) as stream:
        events = [event async for event in stream]
        final = await stream.get_final_message()
    pieces = [event.partial_json for event in events if event.type == "input_json"]
    assert len(pieces) > 1
    assert final.stop_reason == "tool_use"
    (call,) = final.content
    assert call.type == "tool_use"
    assert call.id
    assert call.name == "get_weather"
    assert call.input == orjson.loads("".join(pieces))


@pytest.mark.parametrize(
    ("choice", "called"),
    [
        ({"type": "auto"}, "get_weather"),
        ({"type": "any"}, "get_weather"),
        ({"type": "tool", "name": "get_time"}, "get_time"),
        ({"type": "none"}, None),
    ],
    ids=lambda value: value["type"] if isinstance(value, dict) else "",
)
async def test_a_tool_choice_is_followed(
    client: AsyncAnthropic, choice: dict[str, str], called: str | None
) -> None:
    answer = await client.messages.create(
        model=ALIAS, max_tokens=100, messages=[ASKS_WEATHER], tools=[WEATHER, TIME], tool_choice=choice
    )
    assert [block.name for block in answer.content if block.type == "tool_use"] == (
        [called] if called else []
    )
    assert (answer.stop_reason == "tool_use") is (called is not None)

    async with client.messages.stream(
        model=ALIAS, max_tokens=100, messages=[ASKS_WEATHER], tools=[WEATHER, TIME], tool_choice=choice
    ) as stream:
        final = await stream.get_final_message()
    assert (final.stop_reason == "tool_use") is (called is not None)


@pytest.mark.parametrize(
    ("source", "url"),
    [
        (
            {"type": "base64", "media_type": "image/png", "data": PIXEL},
            f"data:image/png;base64,{PIXEL}",
        ),
        ({"type": "url", "url": "https://example.org/cat.png"}, "https://example.org/cat.png"),
    ],
    ids=["base64", "url"],
)
async def test_an_image_reaches_the_model(
    client: AsyncAnthropic, stack: Stack, source: dict[str, str], url: str
) -> None:
    blocks = [{"type": "image", "source": source}, {"type": "text", "text": "What is this?"}]
    answer = await client.messages.create(
        model=ALIAS, max_tokens=100, messages=[{"role": "user", "content": blocks}]
    )
    assert "1 image" in answer.content[0].text
    (message,) = (await arrived(stack))["messages"]
    assert message["content"][0] == {"type": "image_url", "image_url": {"url": url}}


async def test_tokens_from_the_cache_are_counted_apart(client: AsyncAnthropic) -> None:
    # Long enough for the stand-in's prompt cache, and of this test alone.
    text = f"{os.urandom(8).hex()} " + "The card was sent to Ghent and did not arrive. " * 200
    messages = [{"role": "user", "content": text}]
    first = await client.messages.create(model=ALIAS, max_tokens=5, messages=messages)
    again = await client.messages.create(model=ALIAS, max_tokens=5, messages=messages)
    assert first.usage.cache_read_input_tokens == 0
    assert again.usage.cache_read_input_tokens is not None
    assert again.usage.cache_read_input_tokens >= 1024
    assert again.usage.input_tokens + again.usage.cache_read_input_tokens == first.usage.input_tokens


async def test_a_translated_leg_is_booked_as_messages(
    client: AsyncAnthropic, stack: Stack, traced: tuple[str, dict[str, str]]
) -> None:
    trace_id, headers = traced
    async with client.messages.stream(
        model=ALIAS, max_tokens=20, messages=[QUESTION], extra_headers=headers
    ) as stream:
        final = await stream.get_final_message()
    (leg,) = await stack.legs(1, where=f"trace_id = '{trace_id}'")
    assert (leg["api"], leg["streamed"], leg["upstream"]) == ("messages", True, "cloud")
    assert (leg["model_requested"], leg["model"], leg["outcome"]) == (ALIAS, SERVED, "ok")
    assert leg["output_tokens"] == final.usage.output_tokens
    assert leg["usage_source"] == "upstream"


# --- errors ------------------------------------------------------------------------------------------


async def test_an_unknown_model_is_a_not_found_error(client: AsyncAnthropic) -> None:
    with pytest.raises(anthropic.NotFoundError) as caught:
        await client.messages.create(model="gpt-9", max_tokens=5, messages=[QUESTION])
    assert caught.value.body["type"] == "error"
    assert caught.value.body["error"]["type"] == "not_found_error"
    assert "gpt-9" in caught.value.body["error"]["message"]


async def test_a_wrong_key_is_an_authentication_error(client: AsyncAnthropic) -> None:
    stranger = client.with_options(api_key="hw-nobody")
    with pytest.raises(anthropic.AuthenticationError) as caught:
        await stranger.messages.create(model=ALIAS, max_tokens=5, messages=[QUESTION])
    assert caught.value.body["error"]["type"] == "authentication_error"
    with pytest.raises(anthropic.AuthenticationError):
        await stranger.models.list()


DOCUMENT = {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "A text."}}


CALLED = {
    "role": "assistant",
    "content": [{"type": "tool_use", "id": "toolu_1", "name": "get_weather", "input": {"city": "Bruges"}}],
}
SHOWN = {
    "role": "user",
    "content": [
        {
            "type": "tool_result",
            "tool_use_id": "toolu_1",
            "content": [
                {
                    "type": "image",
                    "source": {"type": "base64", "media_type": "image/png", "data": PIXEL},
                }
            ],
        }
    ],
}
"""A tool that answers with a picture, which the `tool` role of chat completions can't carry."""


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        # The SDK has no argument for it any more, the API still takes it.
        ("top_k", {"extra_body": {"top_k": 5}}),
        ("thinking", {"thinking": {"type": "enabled", "budget_tokens": 1024}}),
        ("tools[0]", {"tools": [{"type": "web_search_20250305", "name": "web_search"}]}),
        ("messages[0].content[0]", {"messages": [{"role": "user", "content": [DOCUMENT]}]}),
        ("messages[2].content[0]", {"messages": [ASKS_WEATHER, CALLED, SHOWN]}),
        ("container", {"container": "container_01"}),
        ("inference_geo", {"inference_geo": "eu"}),
        ("speed", {"speed": "fast"}),
    ],
)
@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
async def test_what_can_not_be_translated_is_refused_by_name(
    client: AsyncAnthropic, name: str, fields: dict[str, Any], streamed: bool
) -> None:
    request: dict[str, Any] = {"model": ALIAS, "max_tokens": 2000, "messages": [QUESTION], **fields}
    with pytest.raises(anthropic.BadRequestError) as caught:
        await client.messages.create(**request, stream=streamed)
    assert caught.value.body["error"]["type"] == "invalid_request_error"
    assert f"`{name}" in caught.value.body["error"]["message"]


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
async def test_a_request_asks_for_no_region_that_its_data_class_does_not_allow(
    client: AsyncAnthropic, upstream: AnthropicUpstream, streamed: bool
) -> None:
    asked: dict[str, Any] = {"model": "european", "max_tokens": 20, "messages": [QUESTION]}
    letters: dict[str, Any] = {"stream": streamed, "extra_headers": {"x-homeward-workload": "letters"}}
    before = len(upstream.requests)
    for region in ("us", "global"):
        with pytest.raises(anthropic.PermissionDeniedError, match=r"`inference_geo`.*'letters'.* only eu"):
            await client.messages.create(**asked, **letters, inference_geo=region)
    assert len(upstream.requests) == before
    await client.messages.create(**asked, **letters, inference_geo="eu")
    # A workload whose data may be anywhere asks for what it likes.
    await client.messages.create(**asked, inference_geo="us")
    sent = [received.document["inference_geo"] for received in upstream.requests[before:]]
    assert sent == ["eu", "us"]


async def test_an_error_of_the_cloud_comes_in_anthropics_shape(client: AsyncAnthropic) -> None:
    with pytest.raises(anthropic.BadRequestError) as caught:
        await client.messages.create(
            model=ALIAS, max_tokens=5, messages=[QUESTION], extra_body={"temperature": 9}
        )
    assert caught.value.body["error"]["type"] == "invalid_request_error"
    assert "temperature" in caught.value.body["error"]["message"]


async def test_a_stream_that_is_cut_is_an_error_and_not_an_end(client: AsyncAnthropic) -> None:
    texts: list[str] = []

    async def read() -> None:
        async with client.messages.stream(
            model=ALIAS, max_tokens=100, messages=[QUESTION], extra_headers={FAULT: "cut=4"}
        ) as stream:
            async for text in stream.text_stream:
                texts.append(text)

    with pytest.raises(anthropic.APIStatusError) as caught:
        await read()
    assert texts
    assert caught.value.body["error"]["type"] == "api_error"
    assert (await client.messages.create(model=ALIAS, max_tokens=5, messages=[QUESTION])).content


async def test_models_are_listed_and_found_by_name(client: AsyncAnthropic) -> None:
    names = [model.id async for model in client.models.list()]
    assert ALIAS in names
    assert (await client.models.retrieve(CLAUDE)).id == CLAUDE
    with pytest.raises(anthropic.NotFoundError):
        await client.models.retrieve("gpt-9")


# --- passed through to a server that speaks the Messages API -----------------------------------------

ODD_BODY = (
    b'{ "model" :\t"claude-test-1",  "max_tokens":1e3, "temperature": 1.0,\n'
    b' "unknown": [123456789012345678901, {"b":1,"a":2}], "top_k":5,\r\n'
    b' "messages":[{"role":"user","content":"caf\\u00e9 \\/ \xc3\xa9"}]  }'
)


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("carrier", ["x-api-key", "Authorization"])
async def test_body_and_answer_pass_byte_for_byte_and_keys_are_exchanged(
    stack: Stack, upstream: AnthropicUpstream, streamed: bool, carrier: str
) -> None:
    body = ODD_BODY.replace(b" }", b', "stream":true }') if streamed else ODD_BODY
    secret = SECRETS.api_key if carrier == "x-api-key" else f"Bearer {SECRETS.api_key}"
    headers = {
        carrier: secret,
        "anthropic-version": "2023-06-01",
        "anthropic-beta": "one-2025-01-01,two-2025-02-02",
        "Content-Type": "application/json",
    }
    response, answer = await post(stack, body, headers)
    assert response.status == 200
    assert upstream.last.path == "/v1/messages"
    assert upstream.last.body == body
    assert upstream.last.headers["anthropic-version"] == "2023-06-01"
    assert upstream.last.headers["anthropic-beta"] == "one-2025-01-01,two-2025-02-02"
    assert upstream.last.headers["x-api-key"] == anthropic_upstream.KEY
    assert "authorization" not in upstream.last.headers
    assert SECRETS.api_key.encode() not in upstream.last.wire
    assert answer == upstream.sent
    assert response.headers["request-id"] == anthropic_upstream.REQUEST_ID
    assert response.headers["x-homeward-upstream"] == "claude"


async def test_a_version_is_sent_even_if_the_application_names_none(
    stack: Stack, upstream: AnthropicUpstream
) -> None:
    response, _ = await post(stack, ODD_BODY, {"x-api-key": SECRETS.api_key})
    assert response.status == 200
    assert upstream.last.headers["anthropic-version"]


async def test_the_sdk_is_answered_as_by_anthropic(
    client: AsyncAnthropic, upstream: AnthropicUpstream
) -> None:
    raw = await client.beta.messages.with_raw_response.create(
        model=CLAUDE,
        max_tokens=100,
        extra_body={"top_k": 5},
        system=[{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}],
        messages=[QUESTION],
        betas=["context-1m-2025-08-07"],
    )
    assert upstream.last.body == raw.http_request.content
    assert upstream.last.headers["anthropic-beta"] == "context-1m-2025-08-07"
    assert upstream.last.headers["user-agent"].startswith("AsyncAnthropic")
    message = await raw.parse()
    assert message.content[0].text == f"You said: {QUESTION['content']}"
    assert message.usage.cache_read_input_tokens == anthropic_upstream.USAGE["cache_read_input_tokens"]


async def test_the_sdk_streams_as_from_anthropic(client: AsyncAnthropic) -> None:
    async with client.messages.stream(model=CLAUDE, max_tokens=100, messages=[QUESTION]) as stream:
        text = "".join([piece async for piece in stream.text_stream])
        final = await stream.get_final_message()
    assert text == f"You said: {QUESTION['content']}"
    assert final.usage.output_tokens == anthropic_upstream.USAGE["output_tokens"]


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
async def test_tools_go_round_through_an_upstream_of_anthropics_protocol(
    client: AsyncAnthropic, streamed: bool
) -> None:
    async def ask(messages: list[Any]) -> Any:
        request = {"model": CLAUDE, "max_tokens": 100, "messages": messages, "tools": [WEATHER]}
        if not streamed:
            return await client.messages.create(**request)
        async with client.messages.stream(**request) as stream:
            return await stream.get_final_message()

    asked = await ask([ASKS_WEATHER])
    assert asked.stop_reason == "tool_use"
    assert asked.content[0].input == {"city": "Bruges"}
    result = {"type": "tool_result", "tool_use_id": asked.content[0].id, "content": "overcast"}
    turns = [{"role": "assistant", "content": asked.content}, {"role": "user", "content": [result]}]
    answer = await ask([ASKS_WEATHER, *turns])
    assert "overcast" in answer.content[0].text


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
async def test_cached_tokens_of_each_kind_are_booked_and_priced(
    stack: Stack, streamed: bool, traced: tuple[str, dict[str, str]]
) -> None:
    trace_id, headers = traced
    body = ODD_BODY.replace(b" }", b', "stream":true }') if streamed else ODD_BODY
    await post(stack, body, {**headers, "x-api-key": SECRETS.api_key})
    (leg,) = await stack.legs(1, where=f"trace_id = '{trace_id}'")
    counts = [leg[f"{name}_tokens"] for name in ("input", "cached_input", "cache_write", "output")]
    assert counts == [11, 3000, 200, 7]
    assert leg["usage_source"] == "upstream"
    # Dollars per million tokens are a thousand nano-dollars per token.
    assert leg["cost_nanos"] == 11 * 3_000 + 3000 * 300 + 200 * 3_750 + 7 * 15_000
    assert (leg["api"], leg["upstream"], leg["model"]) == ("messages", "claude", CLAUDE)
    assert leg["streamed"] is streamed


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
async def test_tokens_of_thinking_are_booked_apart_from_those_of_the_answer(
    stack: Stack, streamed: bool, traced: tuple[str, dict[str, str]]
) -> None:
    trace_id, headers = traced
    document = {"model": CLAUDE, "max_tokens": 2000, "messages": [QUESTION], "stream": streamed}
    document["thinking"] = {"type": "enabled", "budget_tokens": 1024}
    await post(stack, orjson.dumps(document), {**headers, "x-api-key": SECRETS.api_key})
    columns = "output_tokens, reasoning_tokens, cost_nanos"
    (leg,) = await stack.legs(1, columns, where=f"trace_id = '{trace_id}'")
    assert (leg["output_tokens"], leg["reasoning_tokens"]) == (5, 2)
    assert leg["cost_nanos"] == 11 * 3_000 + 3000 * 300 + 200 * 3_750 + 7 * 15_000


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
async def test_an_alias_is_seen_as_asked_and_booked_as_served(
    client: AsyncAnthropic,
    stack: Stack,
    dated: AnthropicUpstream,
    streamed: bool,
    traced: tuple[str, dict[str, str]],
) -> None:
    trace_id, headers = traced
    request = {"model": "claude-alias", "max_tokens": 9, "messages": [QUESTION], "extra_headers": headers}
    if streamed:
        async with client.messages.stream(**request) as stream:
            answer = await stream.get_final_message()
    else:
        answer = await client.messages.create(**request)
    assert answer.model == "claude-alias"
    assert dated.last.document["model"] == "claude-real"
    (leg,) = await stack.legs(1, "model, model_requested", where=f"trace_id = '{trace_id}'")
    assert leg == {"model": "claude-real-20250929", "model_requested": "claude-alias"}


async def test_an_error_of_anthropics_passes_unchanged(
    client: AsyncAnthropic, upstream: AnthropicUpstream
) -> None:
    with pytest.raises(anthropic.BadRequestError) as caught:
        await client.messages.create(model=CLAUDE, messages=[QUESTION], max_tokens=0)
    assert caught.value.body == orjson.loads(upstream.sent)
    assert caught.value.body["error"]["message"] == "max_tokens: must be at least 1"


async def test_a_refusal_of_homewards_own_key_is_not_the_applications_error(client: AsyncAnthropic) -> None:
    with pytest.raises(anthropic.InternalServerError) as caught:
        await client.messages.create(model="locked-out", max_tokens=9, messages=[QUESTION])
    assert caught.value.status_code == 502
    assert caught.value.body["error"]["type"] == "api_error"
    assert "sk-ant-wrong" not in str(caught.value)
    assert "invalid x-api-key" not in str(caught.value)


# --- chat completions translated for a server that speaks the Messages API ----------------------------


@pytest.fixture(scope="module")
async def chat(stack: Stack) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(base_url=stack.base_url, api_key=SECRETS.api_key, max_retries=0) as made:
        yield made


async def test_the_openai_sdk_is_answered_by_an_upstream_of_anthropics_protocol(
    chat: AsyncOpenAI, upstream: AnthropicUpstream
) -> None:
    answer = await chat.chat.completions.create(
        model=CLAUDE,
        messages=[{"role": "system", "content": "Be brief."}, QUESTION],
        max_completion_tokens=50,
        temperature=0.5,
        stop="END",
        user="u-1",
    )
    assert upstream.last.path == "/v1/messages"
    assert upstream.last.headers["x-api-key"] == anthropic_upstream.KEY
    assert "authorization" not in upstream.last.headers
    assert upstream.last.document == {
        "model": CLAUDE,
        "max_tokens": 50,
        "system": "Be brief.",
        "messages": [QUESTION],
        "temperature": 0.5,
        "stop_sequences": ["END"],
        "metadata": {"user_id": "u-1"},
    }
    (choice,) = answer.choices
    assert (answer.model, answer.object) == (CLAUDE, "chat.completion")
    assert answer.created > 1_700_000_000
    assert choice.message.content == f"You said: {QUESTION['content']}"
    assert choice.finish_reason == "stop"
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (3211, 7)
    assert answer.usage.prompt_tokens_details.cached_tokens == 3000


async def test_the_openai_sdk_streams_from_it(chat: AsyncOpenAI) -> None:
    stream = await chat.chat.completions.create(
        model=CLAUDE, messages=[QUESTION], stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]
    deltas = [chunk.choices[0] for chunk in chunks if chunk.choices]
    said = "".join(choice.delta.content or "" for choice in deltas)
    assert said == f"You said: {QUESTION['content']}"
    assert len(deltas) > 3
    assert deltas[-1].finish_reason == "stop"
    assert (chunks[-1].usage.prompt_tokens, chunks[-1].usage.completion_tokens) == (3211, 7)


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
async def test_functions_go_round_through_it(
    chat: AsyncOpenAI, upstream: AnthropicUpstream, streamed: bool
) -> None:
    tools = [
        {"type": "function", "function": {"name": tool["name"], "parameters": tool["input_schema"]}}
        for tool in (WEATHER, TIME)
    ]
    request: dict[str, Any] = {"model": CLAUDE, "messages": [ASKS_WEATHER], "tools": tools}
    named = {"type": "function", "function": {"name": "get_time"}}
    if streamed:
        async with chat.chat.completions.stream(**request, tool_choice=named) as stream:
            asked = (await stream.get_final_completion()).choices[0]
    else:
        asked = (await chat.chat.completions.create(**request, tool_choice=named)).choices[0]
    (call,) = asked.message.tool_calls
    assert (call.function.name, orjson.loads(call.function.arguments)) == ("get_time", {"city": "Bruges"})
    assert asked.finish_reason == "tool_calls"
    # As SDKs send an answer back: with all its fields.
    turns = [asked.message.to_dict(exclude_unset=False), {"role": "tool", "tool_call_id": call.id}]
    turns[0].pop("parsed", None)
    for item in turns[0]["tool_calls"]:
        item["function"].pop("parsed_arguments", None)
    turns[1]["content"] = "overcast"
    answer = await chat.chat.completions.create(**{**request, "messages": [ASKS_WEATHER, *turns]})
    assert "overcast" in answer.choices[0].message.content
    assert upstream.last.document["messages"][1:] == [
        {
            "role": "assistant",
            "content": [{"type": "tool_use", "id": call.id, "name": "get_time", "input": {"city": "Bruges"}}],
        },
        {
            "role": "user",
            "content": [{"type": "tool_result", "tool_use_id": call.id, "content": "overcast"}],
        },
    ]


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
async def test_a_translated_chat_is_booked_and_priced_to_the_token(
    chat: AsyncOpenAI, stack: Stack, streamed: bool, traced: tuple[str, dict[str, str]]
) -> None:
    trace_id, headers = traced
    made = await chat.chat.completions.create(
        model=CLAUDE, messages=[QUESTION], stream=streamed, extra_headers=headers
    )
    if streamed:
        # Usage that nobody asked for is not shown, and booked all the same.
        assert not [chunk async for chunk in made if chunk.usage]
    (leg,) = await stack.legs(1, where=f"trace_id = '{trace_id}'")
    counts = [leg[f"{name}_tokens"] for name in ("input", "cached_input", "cache_write", "output")]
    assert counts == [11, 3000, 200, 7]
    assert leg["cost_nanos"] == 11 * 3_000 + 3000 * 300 + 200 * 3_750 + 7 * 15_000
    assert (leg["api"], leg["upstream"], leg["outcome"]) == ("chat.completions", "claude", "ok")
    assert leg["streamed"] is streamed


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
async def test_what_it_withholds_is_a_refusal(chat: AsyncOpenAI, streamed: bool) -> None:
    question = {"role": "user", "content": anthropic_upstream.WITHHELD}
    made = await chat.chat.completions.create(model=CLAUDE, messages=[question], stream=streamed)
    if streamed:
        choices = [choice async for chunk in made for choice in chunk.choices]
        refusal = "".join(choice.delta.refusal or "" for choice in choices)
        finish = choices[-1].finish_reason
    else:
        refusal, finish = made.choices[0].message.refusal, made.choices[0].finish_reason
    assert refusal
    assert finish == "content_filter"


async def test_errors_of_it_come_in_openais_shape(chat: AsyncOpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        await chat.chat.completions.create(model=CLAUDE, messages=[QUESTION], max_tokens=0)
    assert caught.value.body["message"] == "max_tokens: must be at least 1"
    assert (caught.value.type, caught.value.code) == ("invalid_request_error", "invalid_request_error")


@pytest.mark.parametrize(
    ("field", "fields"),
    [
        ("n", {"n": 2}),
        ("seed", {"seed": 7}),
        ("temperature", {"temperature": 1.5}),
        ("response_format", {"response_format": {"type": "json_object"}}),
        ("added_tomorrow", {"extra_body": {"added_tomorrow": 1}}),
    ],
)
async def test_what_it_can_not_do_is_refused_by_name(
    chat: AsyncOpenAI, upstream: AnthropicUpstream, field: str, fields: dict[str, Any]
) -> None:
    before = len(upstream.requests)
    with pytest.raises(openai.BadRequestError) as caught:
        await chat.chat.completions.create(model=CLAUDE, messages=[QUESTION], **fields)
    assert (caught.value.code, caught.value.param) == ("feature_not_supported", field)
    assert len(upstream.requests) == before


async def test_what_it_can_not_do_another_server_of_the_model_does(
    chat: AsyncOpenAI, upstream: AnthropicUpstream
) -> None:
    before = len(upstream.requests)
    raw = await chat.chat.completions.with_raw_response.create(model="either", messages=[QUESTION], n=2)
    assert len(raw.parse().choices) == 2
    assert raw.headers["x-homeward-upstream"] == "cloud"
    assert len(upstream.requests) == before
    raw = await chat.chat.completions.with_raw_response.create(model="either", messages=[QUESTION])
    assert raw.headers["x-homeward-upstream"] == "claude"


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
async def test_the_grpc_door_is_answered_by_it(stack: Stack, streamed: bool) -> None:
    asked = chat_pb2.Chat(
        model=CLAUDE,
        messages=[chat_pb2.Message(role=chat_pb2.ROLE_USER, content=[chat_pb2.ContentPart(text="Hello")])],
    )
    metadata = (("authorization", f"Bearer {SECRETS.api_key}"),)
    async with aio.insecure_channel(stack.grpc) as channel:
        door = router_pb2_grpc.RouterServiceStub(channel)
        if streamed:
            request = router_pb2.CompleteStreamRequest(chat=asked)
            responses = [item async for item in door.CompleteStream(request, metadata=metadata)]
            said = "".join(item.delta.text for item in responses)
            usage = responses[-1].end.usage
        else:
            answer = await door.Complete(router_pb2.CompleteRequest(chat=asked), metadata=metadata)
            said, usage = answer.choices[0].message.content[0].text, answer.usage
    assert said == "You said: Hello"
    assert (usage.input_tokens, usage.cached_input_tokens, usage.cache_write_tokens) == (11, 3000, 200)
