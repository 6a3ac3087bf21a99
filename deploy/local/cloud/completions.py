"""`POST /v1/completions`, the older API for text without roles."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from deploy.local.cloud import models, options, tokens
from deploy.local.cloud.ask import Answer, Ask, Turn, Usage
from deploy.local.cloud.errors import invalid
from deploy.local.cloud.fields import Fields
from deploy.local.cloud.generate import Generator
from deploy.local.cloud.reply import DONE, Event, Reply, event, new_id, usage_document

DEFAULT_MAX_TOKENS = 16
"""OpenAI's default for this API."""


async def reply(document: dict[str, Any], generator: Generator) -> Reply:
    """Answers a request.

    Raises:
        ApiError: the request is wrong.
    """
    fields = Fields(document)
    asks = _read(fields)
    streamed, with_usage = fields.flag("stream"), options.include_usage(fields)
    echo = fields.flag("echo")
    answers: list[tuple[str, Answer]] = []
    usage = Usage(0, 0, 0)
    for ask in asks:
        given = await generator.answers(ask)
        cost = generator.usage(ask, given)
        usage = Usage(
            usage.prompt + cost.prompt, usage.cached + cost.cached, usage.completion + cost.completion
        )
        answers += [(ask.turns[0].text if echo else "", answer) for answer in given]
    head = {
        "id": new_id("cmpl-"),
        "object": "text_completion",
        "created": int(time.time()),
        "model": asks[0].model,
        "system_fingerprint": models.FINGERPRINT,
    }

    def whole() -> dict[str, Any]:
        choices = [
            _choice(index, before + answer.text, answer.finish)
            for index, (before, answer) in enumerate(answers)
        ]
        return {**head, "choices": choices, "usage": usage_document(usage)}

    def events() -> Iterator[Event]:
        chunk = {**head, "usage": None} if with_usage else head
        for index, (before, answer) in enumerate(answers):
            if before:
                yield event({**chunk, "choices": [_choice(index, before, None)]})
            for token in tokens.split(answer.text):
                yield event({**chunk, "choices": [_choice(index, token, None)]}, tokens=1)
            yield event({**chunk, "choices": [_choice(index, "", answer.finish)]})
        if with_usage:
            yield event({**chunk, "choices": [], "usage": usage_document(usage)})
        yield Event(DONE)

    return Reply("text_completion", asks[0].model, usage, whole, events if streamed else None)


def _read(fields: Fields) -> list[Ask]:
    model = models.named(fields, models.TEXT, "v1/completions")
    fields.need("prompt")
    prompts = fields.texts("prompt", 2048)
    if not prompts:
        raise invalid("Invalid 'prompt': empty array.", "prompt", "empty_array")
    limit = fields.whole("max_tokens", 0)
    ask = Ask(
        model=model,
        turns=(),
        max_tokens=DEFAULT_MAX_TOKENS if limit is None else limit,
        stop=fields.texts("stop", 4),
        n=fields.whole("n", 1, options.MAX_CHOICES) or 1,
        chat=False,
        **options.sampling(fields),
    )
    return [replace(ask, turns=(Turn("user", prompt),)) for prompt in prompts]


def _choice(index: int, text: str, finish: str | None) -> dict[str, Any]:
    return {"text": text, "index": index, "logprobs": None, "finish_reason": finish}
