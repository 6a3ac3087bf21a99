"""What the stand-in chooses, through its HTTP door, on real rows that its heads were not trained on."""

import asyncio
import json
from typing import Any

import pytest
from openai import AsyncOpenAI

from training import public_rows

PROMPTS = public_rows.prompts()
MODEL = "stand-in-mini"

Rows = list[tuple[str, str]]


ROWS: dict[str, Rows] = {
    "voice-domain": [(row.text, row.domain) for row in public_rows.clinc150("test")[::15]],
    "bank-intent": [(row.text, row.category) for row in public_rows.banking77("test")[::10]],
}


async def ask(client: AsyncOpenAI, workload: str, form: str, text: str, **options: Any) -> str:
    """The label that the stand-in gives a text, asked as an application would: json, tool or text."""
    request = PROMPTS[workload][form]
    answer: Any = await client.chat.completions.create(
        model=MODEL,
        messages=[{"role": "system", "content": request["system"]}, {"role": "user", "content": text}],
        **{key: value for key, value in request.items() if key != "system"},
        **options,
    )
    message = answer.choices[0].message
    if form == "text":
        return str(message.content)
    content = message.content if form == "json" else message.tool_calls[0].function.arguments
    return str(json.loads(content)[PROMPTS[workload]["property"]])


async def labels(client: AsyncOpenAI, workload: str, first_seed: int, temperature: float) -> list[str]:
    return [
        await ask(client, workload, "json", text, seed=first_seed + index, temperature=temperature)
        for index, (text, _) in enumerate(ROWS[workload])
    ]


@pytest.mark.parametrize(("workload", "at_least"), [("voice-domain", 0.9), ("bank-intent", 0.85)])
async def test_a_taught_choice_is_mostly_right(client: AsyncOpenAI, workload: str, at_least: float) -> None:
    given = await labels(client, workload, 0, temperature=0)
    truth = [label for _, label in ROWS[workload]]
    right = sum(one == other for one, other in zip(given, truth, strict=True))
    assert at_least < right / len(truth) < 1


@pytest.mark.parametrize("workload", list(ROWS))
async def test_a_choice_is_the_same_however_it_is_asked_for(client: AsyncOpenAI, workload: str) -> None:
    for text, _ in ROWS[workload][::20]:
        given = {form: await ask(client, workload, form, text, temperature=0) for form in ("json", "tool")}
        given["text"] = await ask(client, workload, "text", text, temperature=0)
        assert len(set(given.values())) == 1, (text, given)


async def test_some_of_the_taught_labels_are_enough(client: AsyncOpenAI) -> None:
    schema = {"type": "object", "properties": {"team": {"enum": ["travel", "kitchen_and_dining", "work"]}}}
    answer = await client.chat.completions.create(
        model=MODEL,
        messages=[{"role": "user", "content": "how long should i boil an egg"}],
        response_format={"type": "json_schema", "json_schema": {"name": "team", "schema": schema}},
        temperature=0,
    )
    assert json.loads(answer.choices[0].message.content or "") == {"team": "kitchen_and_dining"}


async def test_two_calls_differ_now_and_then(client: AsyncOpenAI) -> None:
    rows = len(ROWS["bank-intent"])
    still = [await labels(client, "bank-intent", seed, temperature=0) for seed in (1, 10_001)]
    assert still[0] == still[1]
    usual = [await labels(client, "bank-intent", seed, temperature=1) for seed in (1, 10_001, 1)]
    assert usual[0] == usual[2]
    differ = sum(one != other for one, other in zip(usual[0], usual[1], strict=True))
    assert 0.005 < differ / rows < 0.08
    hot = [await labels(client, "bank-intent", seed, temperature=2) for seed in (1, 10_001)]
    assert sum(one != other for one, other in zip(*hot, strict=True)) > differ


async def test_without_a_seed_two_calls_differ_too(client: AsyncOpenAI) -> None:
    # The same words, so that each is as likely as the other.
    schema = {"type": "object", "properties": {"side": {"enum": ["left_side", "left-side"]}}}

    async def draw() -> str:
        answer = await client.chat.completions.create(
            model=MODEL,
            messages=[{"role": "user", "content": "Where is the door?"}],
            response_format={"type": "json_schema", "json_schema": {"name": "side", "schema": schema}},
            n=128,
        )
        return " ".join(choice.message.content or "" for choice in answer.choices)

    assert await draw() != await draw()


ZERO_SHOT: list[tuple[str, list[str], str]] = [
    ("The striker scored twice in the final.", ["sports", "finance", "politics"], "sports"),
    ("Parliament votes on the new law tomorrow.", ["sports", "finance", "politics"], "politics"),
    ("I love this product, it works great!", ["positive", "negative"], "positive"),
    ("You charged my card twice this month.", ["billing", "bug", "feature_request"], "billing"),
    ("The app crashes when I open the settings.", ["billing", "bug", "feature_request"], "bug"),
    ("Which wine goes with salmon?", ["foodAndDrink", "carRepair", "realEstate"], "foodAndDrink"),
]
"""(message, options, the one that fits); no option's words are in its message."""


@pytest.mark.parametrize(("text", "options", "expected"), ZERO_SHOT)
async def test_other_options_are_chosen_by_their_meaning(
    client: AsyncOpenAI, text: str, options: list[str], expected: str
) -> None:
    for order in (options, options[::-1]):
        answer = await client.chat.completions.create(
            model=MODEL,
            messages=[
                {"role": "system", "content": f"Sort the message. Answer with one of: {', '.join(order)}."},
                {"role": "user", "content": text},
            ],
            temperature=0,
        )
        assert answer.choices[0].message.content == expected


async def test_descriptions_help_to_choose(client: AsyncOpenAI) -> None:
    options = [
        {"const": "A7", "description": "orders, parcels and their delivery"},
        {"const": "B2", "description": "passwords and signing in"},
        {"const": "C9", "description": "invoices and payments"},
    ]
    schema = {"type": "object", "properties": {"queue": {"oneOf": options}}}
    for text, queue in [("Where is my parcel?", "A7"), ("I can't log in", "B2"), ("I paid twice", "C9")]:
        answer = await client.chat.completions.create(
            model=MODEL,
            messages=[{"role": "user", "content": text}],
            response_format={"type": "json_schema", "json_schema": {"name": "queue", "schema": schema}},
            temperature=0,
        )
        assert json.loads(answer.choices[0].message.content or "") == {"queue": queue}


async def test_choices_are_streamed_and_stop_at_their_limit(client: AsyncOpenAI) -> None:
    messages: Any = [
        {"role": "system", "content": PROMPTS["bank-intent"]["text"]["system"]},
        {"role": "user", "content": "I am still waiting on my card?"},
    ]
    stream = await client.chat.completions.create(model=MODEL, messages=messages, temperature=0, stream=True)
    assert "".join([chunk.choices[0].delta.content or "" async for chunk in stream]) == "card_arrival"
    cut = await client.chat.completions.create(
        model=MODEL, messages=messages, temperature=0, max_completion_tokens=1
    )
    assert (cut.choices[0].message.content, cut.choices[0].finish_reason) == ("card", "length")
    assert cut.usage is not None
    assert cut.usage.completion_tokens == 1


async def test_many_choices_at_once_are_each_their_own(client: AsyncOpenAI) -> None:
    rows = ROWS["voice-domain"][:40]
    alone = [await ask(client, "voice-domain", "json", text, temperature=0) for text, _ in rows]
    together = await asyncio.gather(
        *(ask(client, "voice-domain", "json", text, temperature=0) for text, _ in rows)
    )
    assert together == alone
