"""`POST /v1/responses`. Nothing is stored: a response can't be continued by its id."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from deploy.local.cloud import items, models, options, tokens
from deploy.local.cloud.ask import Answer, Ask, Usage
from deploy.local.cloud.errors import invalid
from deploy.local.cloud.fields import Fields
from deploy.local.cloud.generate import Generator
from deploy.local.cloud.reply import Event, Reply, event, new_id


async def reply(document: dict[str, Any], generator: Generator) -> Reply:
    """Answers a request.

    Raises:
        ApiError: the request is wrong.
    """
    fields = Fields(document)
    ask = _read(fields)
    answers = await generator.answers(ask)
    usage = generator.usage(ask, answers)
    frame, item = _frame(fields, ask), _item(answers[0])

    def whole() -> dict[str, Any]:
        return _ended(frame, item, answers[0], usage)

    def events() -> Iterator[Event]:
        for number, (step, carried) in enumerate(_steps(frame, item, answers[0], usage)):
            yield event({**step, "sequence_number": number}, step["type"], carried)

    return Reply("chat", ask.model, usage, whole, events if fields.flag("stream") else None, _broken_event)


def _read(fields: Fields) -> Ask:
    model = models.named(fields, models.TEXT, "v1/responses")
    if earlier := fields.text("previous_response_id"):
        raise invalid(
            f"Previous response with id '{earlier}' not found.",
            "previous_response_id",
            "previous_response_not_found",
        )
    fields.flag("store")
    turns = items.read(fields)
    tools = options.tools(fields, flat=True)
    text = fields.inner("text")
    prompt = " ".join(turn.text for turn in turns)
    return Ask(
        model=model,
        turns=turns,
        tools=tools,
        tool_choice=options.tool_choice(fields, tools, flat=True),
        max_tokens=fields.whole("max_output_tokens", 1),
        **options.answer_format(text.inner("format") if text else None, prompt, flat=True),
        **options.sampling(fields),
    )


def _frame(fields: Fields, ask: Ask) -> dict[str, Any]:
    """The response before there is an answer."""
    return {
        "id": new_id("resp_"),
        "object": "response",
        "created_at": int(time.time()),
        "status": "in_progress",
        "background": False,
        "error": None,
        "incomplete_details": None,
        "instructions": fields.get("instructions"),
        "max_output_tokens": ask.max_tokens,
        "metadata": fields.get("metadata") or {},
        "model": ask.model,
        "output": [],
        "parallel_tool_calls": fields.flag("parallel_tool_calls", True),
        "previous_response_id": None,
        "reasoning": {"effort": None, "summary": None},
        "service_tier": "default",
        "store": False,
        "system_fingerprint": models.FINGERPRINT,
        "temperature": ask.temperature,
        "text": fields.get("text") or {"format": {"type": "text"}},
        "tool_choice": fields.get("tool_choice") or "auto",
        "tools": fields.get("tools") or [],
        "top_p": fields.number("top_p", 0, 1) or 1.0,
        "truncation": "disabled",
        "usage": None,
        "user": fields.get("user"),
    }


def _item(answer: Answer) -> dict[str, Any]:
    """The one item of the output, whole."""
    status = "incomplete" if answer.finish == "length" else "completed"
    if answer.call:
        return {
            "id": new_id("fc_"),
            "type": "function_call",
            "status": status,
            "call_id": answer.call.id,
            "name": answer.call.name,
            "arguments": answer.call.arguments,
        }
    part = {"type": "output_text", "text": answer.text, "annotations": [], "logprobs": []}
    return {"id": new_id("msg_"), "type": "message", "status": status, "role": "assistant", "content": [part]}


def _ended(frame: dict[str, Any], item: dict[str, Any], answer: Answer, usage: Usage) -> dict[str, Any]:
    cut = answer.finish == "length"
    return {
        **frame,
        "status": "incomplete" if cut else "completed",
        "completed_at": None if cut else int(time.time()),
        "incomplete_details": {"reason": "max_output_tokens"} if cut else None,
        "output": [item],
        "usage": {
            "input_tokens": usage.prompt,
            "input_tokens_details": {"cached_tokens": usage.cached, "cache_write_tokens": 0},
            "output_tokens": usage.completion,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": usage.prompt + usage.completion,
        },
    }


def _steps(
    frame: dict[str, Any], item: dict[str, Any], answer: Answer, usage: Usage
) -> Iterator[tuple[dict[str, Any], int]]:
    """The events of a stream, each with the tokens that it carries."""
    yield {"type": "response.created", "response": frame}, 0
    yield {"type": "response.in_progress", "response": frame}, 0
    empty: dict[str, Any] = {"arguments": ""} if answer.call else {"content": []}
    started = {**item, "status": "in_progress", **empty}
    yield {"type": "response.output_item.added", "output_index": 0, "item": started}, 0
    yield from _call_steps(item) if answer.call else _text_steps(item)
    yield {"type": "response.output_item.done", "output_index": 0, "item": item}, 0
    ended = _ended(frame, item, answer, usage)
    yield {"type": f"response.{ended['status']}", "response": ended}, 0


def _text_steps(item: dict[str, Any]) -> Iterator[tuple[dict[str, Any], int]]:
    part = item["content"][0]
    at = {"item_id": item["id"], "output_index": 0, "content_index": 0}
    yield {"type": "response.content_part.added", **at, "part": {**part, "text": ""}}, 0
    for token in tokens.split(part["text"]):
        yield {"type": "response.output_text.delta", **at, "delta": token, "logprobs": []}, 1
    yield {"type": "response.output_text.done", **at, "text": part["text"], "logprobs": []}, 0
    yield {"type": "response.content_part.done", **at, "part": part}, 0


def _call_steps(item: dict[str, Any]) -> Iterator[tuple[dict[str, Any], int]]:
    at = {"item_id": item["id"], "output_index": 0}
    for token in tokens.split(item["arguments"]):
        yield {"type": "response.function_call_arguments.delta", **at, "delta": token}, 1
    arguments = item["arguments"]
    yield (
        {"type": "response.function_call_arguments.done", **at, "name": item["name"], "arguments": arguments},
        0,
    )


def _broken_event(sent: int) -> bytes:
    message = "The stand-in cloud was asked to fail within the stream."
    error = {"type": "error", "code": "server_error", "message": message, "param": None}
    return event({**error, "sequence_number": sent}, "error").data
