"""`POST /v1/chat/completions`."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import zip_longest
from typing import Any

from deploy.local.cloud import messages, models, options, tokens
from deploy.local.cloud.ask import Answer, Ask
from deploy.local.cloud.fields import Fields
from deploy.local.cloud.generate import Generator
from deploy.local.cloud.reply import DONE, Event, Reply, event, new_id, usage_document


async def reply(document: dict[str, Any], generator: Generator) -> Reply:
    """Answers a request.

    Raises:
        ApiError: the request is wrong.
    """
    fields = Fields(document)
    ask = _read(fields)
    streamed, with_usage = fields.flag("stream"), options.include_usage(fields)
    answers = await generator.answers(ask)
    usage = generator.usage(ask, answers)
    head = {
        "id": new_id("chatcmpl-"),
        "object": "chat.completion",
        "created": int(time.time()),
        "model": ask.model,
        "service_tier": "default",
        "system_fingerprint": models.FINGERPRINT,
    }

    def whole() -> dict[str, Any]:
        choices = [_choice(index, answer) for index, answer in enumerate(answers)]
        return {**head, "choices": choices, "usage": usage_document(usage)}

    def events() -> Iterator[Event]:
        chunk = {**head, "object": "chat.completion.chunk"}
        if with_usage:
            chunk["usage"] = None
        streams = [list(_deltas(index, answer)) for index, answer in enumerate(answers)]
        # The choices come side by side, as they do at OpenAI.
        for choices in zip_longest(*streams):
            for choice in choices:
                if choice is not None:
                    yield event({**chunk, "choices": [choice]}, tokens=_carries_tokens(choice))
        if with_usage:
            yield event({**chunk, "choices": [], "usage": usage_document(usage)})
        yield Event(DONE)

    return Reply("chat", ask.model, usage, whole, events if streamed else None)


def _read(fields: Fields) -> Ask:
    model = models.named(fields, models.TEXT, "v1/chat/completions")
    turns = messages.read(fields)
    tools = options.tools(fields, flat=False)
    prompt = " ".join(turn.text for turn in turns)
    newer, older = fields.whole("max_completion_tokens", 1), fields.whole("max_tokens", 1)
    fields.flag("logprobs")
    return Ask(
        model=model,
        turns=turns,
        tools=tools,
        tool_choice=options.tool_choice(fields, tools, flat=False),
        max_tokens=newer if newer is not None else older,
        stop=fields.texts("stop", 4),
        n=fields.whole("n", 1, options.MAX_CHOICES) or 1,
        **options.answer_format(fields.inner("response_format"), prompt, flat=False),
        **options.sampling(fields),
    )


def _choice(index: int, answer: Answer) -> dict[str, Any]:
    message: dict[str, Any] = {
        "role": "assistant",
        "content": None if answer.call else answer.text,
        "refusal": None,
        "annotations": [],
    }
    if answer.call:
        function = {"name": answer.call.name, "arguments": answer.call.arguments}
        message["tool_calls"] = [{"id": answer.call.id, "type": "function", "function": function}]
    return {"index": index, "message": message, "logprobs": None, "finish_reason": answer.finish}


def _deltas(index: int, answer: Answer) -> Iterator[dict[str, Any]]:
    def choice(delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
        return {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish}

    if answer.call is None:
        yield choice({"role": "assistant", "content": "", "refusal": None})
        for token in tokens.split(answer.text):
            yield choice({"content": token})
    else:
        function = {"name": answer.call.name, "arguments": ""}
        first = {"index": 0, "id": answer.call.id, "type": "function", "function": function}
        yield choice({"role": "assistant", "content": None, "refusal": None, "tool_calls": [first]})
        for token in tokens.split(answer.call.arguments):
            yield choice({"tool_calls": [{"index": 0, "function": {"arguments": token}}]})
    yield choice({}, answer.finish)


def _carries_tokens(choice: dict[str, Any]) -> int:
    return int(bool(choice["delta"]) and "role" not in choice["delta"])
