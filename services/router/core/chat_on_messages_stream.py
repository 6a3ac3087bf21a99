"""A message's answer in OpenAI's terms: the stream's chunks, the finish reason, the usage."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from services.common.errors import DomainError, Reason
from services.router.core import dialects, sse
from services.router.core.usage import UNKNOWN, Usage, anthropic_begun, anthropic_so_far

FINISH_REASONS = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}
REFUSED = "The model's server withheld the answer."
"""Said where the server says nothing itself."""
THOUGHTS = frozenset({"thinking", "redacted_thinking"})
"""Blocks that an answer may have and a chat completion has no place for; their tokens are booked."""


class ChatStream:
    """Turns the events of a message into the chunks of a chat completion."""

    def __init__(self, answer_as: str | None, created_unix_s: int, *, include_usage: bool) -> None:
        """`include_usage` is what the application asked for: OpenAI's API streams no usage unasked."""
        self.usage: Usage = UNKNOWN
        self.model = ""
        self.output_chars = 0
        self.finished = False
        self.error = ""
        self._answer_as = answer_as
        self._include_usage = include_usage
        self._base: dict[str, Any] = {"object": "chat.completion.chunk", "created": created_unix_s}
        self._started = False
        self._said = False
        # The call in each block that is one, and those whose arguments have begun.
        self._calls: dict[int, int] = {}
        self._written: set[int] = set()
        self._end: Mapping[str, Any] = {}

    def feed(self, event: bytes) -> bytes:
        """The chunks for one event of the message."""
        data = sse.payload(event)
        if not data or self.error:
            return b""
        try:
            document = orjson.loads(data)
            if document["type"] == "error":
                self.error = dialects.error_text(document.get("error"))
                return self.broken(DomainError(Reason.UPSTREAM_BROKEN, self.error, detail=self.error))
            return b"".join(self._event(document))
        except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
            raise DomainError(
                Reason.UPSTREAM_BROKEN, f"an event is none of a message: {error!r}", detail=repr(error)
            ) from None

    def broken(self, error: DomainError) -> bytes:
        """An error event."""
        return sse.event(dialects.openai_error(error))

    def _event(self, document: Mapping[str, Any]) -> Iterable[bytes]:
        kind = document["type"]
        if kind == "message_start":
            message = document["message"]
            self._started = True
            self.usage = anthropic_begun(message.get("usage"))
            self.model = str(message.get("model") or "")
            self._base |= {
                "id": f"chatcmpl-{message.get('id', '')}",
                "model": self._answer_as or self.model,
            }
            yield self._delta({"role": "assistant", "content": ""})
        elif kind == "content_block_start":
            yield from self._begin(document["index"], document["content_block"])
        elif kind == "content_block_delta":
            yield from self._piece(document["index"], document["delta"])
        elif kind == "content_block_stop":
            # A call without arguments has an empty object of them, and no piece.
            if document["index"] in self._calls and document["index"] not in self._written:
                yield self._arguments(document["index"], "{}")
        elif kind == "message_delta":
            self._end = document["delta"]
            if document.get("usage"):
                self.usage = anthropic_so_far(self.usage, document["usage"])
        elif kind == "message_stop":
            if not self._started:
                raise DomainError(Reason.UPSTREAM_BROKEN, "the answer ended before it began", detail="")
            self.finished = True
            yield from self._last()

    def _begin(self, index: int, block: Mapping[str, Any]) -> Iterable[bytes]:
        kind = block["type"]
        if kind == "text":
            yield from self._text(block.get("text"))
        elif kind == "tool_use":
            call = len(self._calls)
            self._calls[index] = call
            function = {"name": block["name"], "arguments": ""}
            yield self._delta(
                {"tool_calls": [{"index": call, "id": block["id"], "type": "function", "function": function}]}
            )
            if block.get("input"):
                yield self._arguments(index, orjson.dumps(block["input"]).decode())
        elif kind not in THOUGHTS:
            raise no_place(kind)

    def _piece(self, index: int, delta: Mapping[str, Any]) -> Iterable[bytes]:
        kind = delta["type"]
        if kind == "text_delta":
            yield from self._text(delta["text"])
        elif kind == "input_json_delta" and delta["partial_json"]:
            yield self._arguments(index, delta["partial_json"])
        elif kind == "thinking_delta":
            self.output_chars += len(delta["thinking"])

    def _text(self, text: str | None) -> Iterable[bytes]:
        if text:
            self._said = True
            self.output_chars += len(text)
            yield self._delta({"content": text})

    def _arguments(self, index: int, piece: str) -> bytes:
        self._written.add(index)
        self.output_chars += len(piece)
        return self._delta({"tool_calls": [{"index": self._calls[index], "function": {"arguments": piece}}]})

    def _last(self) -> Iterable[bytes]:
        refused = None if self._said or self._calls else refusal(self._end)
        if refused is not None:
            yield self._delta({"refusal": refused})
        yield self._delta({}, finish_reason(self._end.get("stop_reason")))
        report = usage_report(self.usage)
        if self._include_usage and report is not None:
            yield sse.event(orjson.dumps({**self._base, "choices": [], "usage": report}))
        yield sse.event(sse.DONE)

    def _delta(self, delta: Mapping[str, Any], finish: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return sse.event(orjson.dumps({**self._base, "choices": [choice]}))


def usage_report(usage: Usage) -> dict[str, Any] | None:
    """Usage as OpenAI's API has it, where what was read from a cache and what was written to one are among
    the prompt's tokens; None if it is not known."""
    if usage.input_tokens is None and usage.output_tokens is None:
        return None
    cached, reasoning = usage.cached_input_tokens or 0, usage.reasoning_tokens or 0
    prompt = (usage.input_tokens or 0) + cached + (usage.cache_write_tokens or 0)
    completion = (usage.output_tokens or 0) + reasoning
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": cached},
        "completion_tokens_details": {"reasoning_tokens": reasoning},
    }


def finish_reason(stop_reason: object) -> str:
    """Why an answer ended, in OpenAI's words."""
    return FINISH_REASONS.get(str(stop_reason), "stop")


def refusal(ended: Mapping[str, Any]) -> str | None:
    """What a server says that withholds an answer; None if it does not.

    Args:
        ended: what has `stop_reason` and `stop_details`: a message, or the delta that ends its stream.
    """
    if ended.get("stop_reason") != "refusal":
        return None
    details = ended.get("stop_details")
    said = details.get("explanation") if isinstance(details, dict) else None
    return said if isinstance(said, str) and said else REFUSED


def no_place(kind: object) -> DomainError:
    """The UPSTREAM_BROKEN of an answer with a block that a chat completion can't carry, nor asks for."""
    detail = f"a content block of type {str(kind)[:40]!r}"
    return DomainError(
        Reason.UPSTREAM_BROKEN, f"the answer has {detail}, which a chat completion can't carry", detail=detail
    )
