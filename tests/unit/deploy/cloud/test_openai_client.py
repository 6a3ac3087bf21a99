"""OpenAI's own client, unchanged, against the stand-in."""

import base64
import json
from typing import Any, Literal

import openai
import pytest
from openai import AsyncOpenAI
from pydantic import BaseModel

MODEL = "stand-in-mini"
WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Tells the weather of a city",
        "parameters": {
            "type": "object",
            "properties": {
                "location": {"type": "string"},
                "days": {"type": "integer"},
                "unit": {"enum": ["celsius", "fahrenheit"]},
                "note": {"type": "string"},
            },
            "required": ["location", "days", "unit"],
        },
    },
}
TIME: Any = {"type": "function", "function": {"name": "get_time", "description": "Tells the time"}}
ASKED: Any = [{"role": "user", "content": "How is the weather in Paris, in fahrenheit, over 3 days?"}]


def user(content: Any) -> Any:
    return [{"role": "user", "content": content}]


async def test_chat(client: AsyncOpenAI, text: str) -> None:
    answer = await client.chat.completions.create(model=MODEL, messages=user(text), temperature=0)
    content = answer.choices[0].message.content
    assert content is not None
    assert "workload" in content
    assert all(part in text for part in content.split(". "))
    assert (answer.model, answer.system_fingerprint) == (MODEL, "stand-in")
    assert answer.choices[0].finish_reason == "stop"
    usage = answer.usage
    assert usage is not None
    assert usage.prompt_tokens_details is not None
    assert usage.completion_tokens_details is not None
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens > 100
    assert usage.prompt_tokens_details.cached_tokens == 0
    assert usage.completion_tokens_details.reasoning_tokens == 0
    assert answer._request_id


async def test_a_short_question_is_told_what_this_is(client: AsyncOpenAI) -> None:
    messages = user("What is the capital of France?")
    answer = await client.chat.completions.create(model=MODEL, messages=messages)
    content = answer.choices[0].message.content or ""
    assert "stand-in cloud" in content
    assert "capital, France" in content


async def test_a_question_about_an_earlier_text(client: AsyncOpenAI, text: str) -> None:
    messages = [*user(text), {"role": "assistant", "content": "I see."}, *user("What are cats fond of?")]
    answer = await client.chat.completions.create(model=MODEL, messages=messages, temperature=0)
    assert "Cats are fond of boxes." in (answer.choices[0].message.content or "")


async def test_limits_stops_and_choices(client: AsyncOpenAI, text: str) -> None:
    short = await client.chat.completions.create(
        model=MODEL, messages=user(text), max_completion_tokens=5, n=3
    )
    assert [choice.index for choice in short.choices] == [0, 1, 2]
    assert {choice.finish_reason for choice in short.choices} == {"length"}
    assert short.usage is not None
    assert short.usage.completion_tokens == 15
    stopped = await client.chat.completions.create(
        model=MODEL, messages=user("Who are you?"), stop=["stand-in"]
    )
    assert stopped.choices[0].message.content == "This is the "
    assert stopped.choices[0].finish_reason == "stop"


async def test_noise_and_seeds(client: AsyncOpenAI, text: str) -> None:
    async def draw(**options: Any) -> str:
        answer = await client.chat.completions.create(
            model=MODEL, messages=user(text), temperature=2, **options
        )
        return answer.choices[0].message.content or ""

    assert len({await draw() for _ in range(20)}) > 1
    assert len({await draw(seed=5) for _ in range(5)}) == 1


async def test_streaming(client: AsyncOpenAI, text: str) -> None:
    options: Any = {"model": MODEL, "messages": user(text), "temperature": 0}
    whole = await client.chat.completions.create(**options)
    stream = await client.chat.completions.create(
        **options, stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]
    assert chunks[0].choices[0].delta.role == "assistant"
    assert "".join(c.choices[0].delta.content or "" for c in chunks[:-1]) == whole.choices[0].message.content
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert chunks[-1].choices == []
    assert chunks[-1].usage == whole.usage
    assert all(chunk.usage is None and "usage" in chunk.model_fields_set for chunk in chunks[:-1])
    plain = await client.chat.completions.create(**options, stream=True)
    assert not any("usage" in chunk.model_fields_set for chunk in [chunk async for chunk in plain])


async def test_a_tool_is_called_and_its_result_is_told(client: AsyncOpenAI) -> None:
    answer = await client.chat.completions.create(model=MODEL, messages=ASKED, tools=[TIME, WEATHER])
    message = answer.choices[0].message
    assert answer.choices[0].finish_reason == "tool_calls"
    assert message.content is None
    assert message.tool_calls is not None
    call: Any = message.tool_calls[0]
    assert call.function.name == "get_weather"
    assert json.loads(call.function.arguments) == {"location": "Paris", "days": 3, "unit": "fahrenheit"}
    result: Any = {"role": "tool", "tool_call_id": call.id, "content": '{"temperature": 71}'}
    told = await client.chat.completions.create(
        model=MODEL, messages=[*ASKED, message.to_dict(), result], tools=[TIME, WEATHER]
    )
    assert told.choices[0].message.content == "The tool answered: temperature 71."


async def test_tool_choice(client: AsyncOpenAI) -> None:
    async def called(content: str, choice: Any) -> str | None:
        answer = await client.chat.completions.create(
            model=MODEL, messages=user(content), tools=[TIME, WEATHER], tool_choice=choice
        )
        calls: Any = answer.choices[0].message.tool_calls
        return calls[0].function.name if calls else None

    assert await called("Write a poem", "auto") is None
    assert await called("Write a poem", "required") is not None
    assert await called("The weather?", "none") is None
    assert await called("The weather?", {"type": "function", "function": {"name": "get_time"}}) == "get_time"


async def test_instructions_can_say_to_call_a_tool(client: AsyncOpenAI) -> None:
    async def called(instructions: str) -> bool:
        messages: Any = [{"role": "system", "content": instructions}, *user("Write a poem")]
        answer = await client.chat.completions.create(model=MODEL, messages=messages, tools=[TIME, WEATHER])
        return answer.choices[0].finish_reason == "tool_calls"

    assert await called("You sort requests. Call the tool that fits best.")
    assert not await called("You are kind. Call a tool if you need to know something.")
    assert not await called("You may see the result of a tool.")


async def test_a_streamed_tool_call(client: AsyncOpenAI) -> None:
    async with client.chat.completions.stream(model=MODEL, messages=ASKED, tools=[WEATHER]) as stream:
        async for _ in stream:
            pass
        final = await stream.get_final_completion()
    calls = final.choices[0].message.tool_calls
    assert calls is not None
    assert json.loads(calls[0].function.arguments)["location"] == "Paris"
    assert final.choices[0].finish_reason == "tool_calls"


class Item(BaseModel):
    name: str
    price: float
    note: str | None


class Order(BaseModel):
    customer: str
    urgency: Literal["low", "high"]
    items: list[Item]
    paid: bool


async def test_structured_outputs(client: AsyncOpenAI) -> None:
    content = "Customer: Ann Lee. She wants a Lamp for 19.90 with high urgency."
    answer = await client.chat.completions.parse(model=MODEL, messages=user(content), response_format=Order)
    order = answer.choices[0].message.parsed
    assert order is not None
    assert (order.customer, order.urgency, order.items[0].price) == ("Ann Lee", "high", 19.9)
    response = await client.responses.parse(model=MODEL, input=content, text_format=Order)
    assert response.output_parsed == order


async def test_a_json_object(client: AsyncOpenAI) -> None:
    answer = await client.chat.completions.create(
        model=MODEL,
        messages=user('Give JSON with "title" and "city". City: Bonn.'),
        response_format={"type": "json_object"},
    )
    assert json.loads(answer.choices[0].message.content or "")["city"] == "Bonn"
    with pytest.raises(openai.BadRequestError, match="must contain the word 'json'"):
        await client.chat.completions.create(
            model=MODEL, messages=user("x"), response_format={"type": "json_object"}
        )


async def test_images(client: AsyncOpenAI) -> None:
    def picture(url: str) -> Any:
        return user(
            [{"type": "text", "text": "What is it?"}, {"type": "image_url", "image_url": {"url": url}}]
        )

    url = "data:image/png;base64," + base64.b64encode(b"x" * 1000).decode()
    seen = await client.chat.completions.create(model=MODEL, messages=picture(url))
    unseen = await client.chat.completions.create(model=MODEL, messages=user("What is it?"))
    assert "1 image (image/png, 1000 bytes)" in (seen.choices[0].message.content or "")
    assert seen.usage is not None
    assert unseen.usage is not None
    assert seen.usage.prompt_tokens - unseen.usage.prompt_tokens == 85
    with pytest.raises(openai.BadRequestError, match="Invalid image URL"):
        await client.chat.completions.create(model=MODEL, messages=picture("data:image/png;base64,?"))


async def test_a_long_prefix_is_cached(client: AsyncOpenAI, text: str) -> None:
    async def cached(content: str) -> int | None:
        answer = await client.chat.completions.create(model=MODEL, messages=user(content))
        assert answer.usage is not None
        assert answer.usage.prompt_tokens_details is not None
        return answer.usage.prompt_tokens_details.cached_tokens

    assert await cached(text * 12) == 0
    first = await cached(text * 12 + " And now?")
    assert first is not None
    assert first >= 1024
    assert first % 128 == 0
    assert await cached(text) == await cached(text) == 0


async def test_completions(client: AsyncOpenAI, text: str) -> None:
    answer = await client.completions.create(model=MODEL, prompt=[text, "Who are you?"], max_tokens=50)
    assert len(answer.choices) == 2
    assert "stand-in" in answer.choices[1].text
    stream = await client.completions.create(
        model=MODEL, prompt="Who are you?", stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]
    said = "".join(chunk.choices[0].text for chunk in chunks[:-1])
    assert said
    assert answer.choices[1].text.startswith(said)
    assert chunks[-2].choices[0].finish_reason == "length"
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == 16


async def test_embeddings(client: AsyncOpenAI) -> None:
    packed = await client.embeddings.create(model="stand-in-embed", input=["a cat", "a dog"])
    plain = await client.embeddings.create(
        model="stand-in-embed", input=["a cat", "a dog"], encoding_format="float"
    )
    assert [item.index for item in plain.data] == [0, 1]
    for one, other in zip(packed.data, plain.data, strict=True):
        assert len(one.embedding) == 256
        assert one.embedding == pytest.approx(other.embedding, abs=1e-6)
    by_number = await client.embeddings.create(model="stand-in-embed", input=[[1, 2, 3]], dimensions=8)
    assert by_number.usage.prompt_tokens == 3
    assert len(by_number.data[0].embedding) == 8


async def test_responses(client: AsyncOpenAI, text: str) -> None:
    answer = await client.responses.create(model=MODEL, input=text, temperature=0)
    assert answer.status == "completed"
    assert "workload" in answer.output_text
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.input_tokens + answer.usage.output_tokens
    cut = await client.responses.create(model=MODEL, input=text, max_output_tokens=3)
    assert cut.status == "incomplete"
    assert cut.incomplete_details is not None
    assert cut.incomplete_details.reason == "max_output_tokens"


async def test_streamed_responses(client: AsyncOpenAI, text: str) -> None:
    whole = await client.responses.create(model=MODEL, input=text, temperature=0)
    stream = await client.responses.create(model=MODEL, input=text, temperature=0, stream=True)
    events: list[Any] = [event async for event in stream]
    assert [event.sequence_number for event in events] == list(range(len(events)))
    deltas = [event for event in events if event.type == "response.output_text.delta"]
    assert [event.type for event in events if event not in deltas] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]
    assert "".join(event.delta for event in deltas) == whole.output_text == events[-1].response.output_text
    async with client.responses.stream(model=MODEL, input=text, temperature=0) as helper:
        assert (await helper.get_final_response()).output_text == whole.output_text


async def test_a_tool_through_responses(client: AsyncOpenAI) -> None:
    tool: Any = {**WEATHER["function"], "type": "function", "strict": False}
    answer = await client.responses.create(model=MODEL, input=ASKED, tools=[tool])
    call: Any = answer.output[0]
    assert call.type == "function_call"
    assert json.loads(call.arguments)["days"] == 3
    result: Any = {"type": "function_call_output", "call_id": call.call_id, "output": "Sunny"}
    told = await client.responses.create(model=MODEL, input=[*ASKED, call.to_dict(), result], tools=[tool])
    assert told.output_text == "The tool answered: Sunny."
    async with client.responses.stream(model=MODEL, input=ASKED, tools=[tool]) as stream:
        final: Any = await stream.get_final_response()
    assert json.loads(final.output[0].arguments)["location"] == "Paris"


async def test_models(client: AsyncOpenAI) -> None:
    found = {model.id: model.owned_by async for model in client.models.list()}
    assert found == {MODEL: "homeward-stand-in", "stand-in-embed": "homeward-stand-in"}
    assert (await client.models.retrieve(MODEL)).id == MODEL
    with pytest.raises(openai.NotFoundError):
        await client.models.retrieve("gpt-9")


async def test_errors(client: AsyncOpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as unknown:
        await client.chat.completions.create(model="gpt-9", messages=ASKED)
    assert (unknown.value.code, unknown.value.param) == ("model_not_found", "model")
    with pytest.raises(openai.NotFoundError):
        await client.chat.completions.create(model="stand-in-embed", messages=ASKED)


@pytest.mark.parametrize(
    ("wrong", "param"),
    [
        ({"temperature": "hot"}, "temperature"),
        ({"temperature": 3}, "temperature"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": 1.5}, "max_tokens"),
        ({"n": True}, "n"),
        ({"stop": 5}, "stop"),
        ({"stop": ["a", 1]}, "stop[1]"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
        ({"messages": []}, "messages"),
        ({"messages": "hello"}, "messages"),
        ({"messages": [{"role": "king", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
        ({"messages": [{"role": "tool", "tool_call_id": "x", "content": "y"}]}, "messages.[0].role"),
        ({"tools": [{"type": "magic"}]}, "tools[0].type"),
        ({"tools": [{"type": "function", "function": {}}]}, "tools[0].function.name"),
        ({"tool_choice": "auto"}, "tool_choice"),
        ({"response_format": {"type": "xml"}}, "response_format.type"),
        ({"seed": "x"}, "seed"),
    ],
)
async def test_a_wrong_field_is_named(client: AsyncOpenAI, wrong: dict[str, Any], param: str) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        await client.chat.completions.create(model=MODEL, messages=ASKED, extra_body=wrong)
    assert (caught.value.param, caught.value.type) == (param, "invalid_request_error")
