"""A chat completion's answer in Anthropic's terms: the stream's events, the stop reason, the usage."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from services.common.errors import DomainError, Reason
from services.router.core import dialects, sse
from services.router.core.usage import UNKNOWN, Usage, from_openai

STOP_REASONS = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "function_call": "tool_use",
    "content_filter": "refusal",
}


class MessagesStream:
    """Turns the chunks of a chat completion into the events of a message, block by block."""

    def __init__(self, answer_as: str | None) -> None:
        self.usage: Usage = UNKNOWN
        self.model = ""
        self.output_chars = 0
        self.finished = False
        self.error = ""
        self._answer_as = answer_as
        self._started = False
        self._block = -1
        # What the open block holds: "text", or the index of a tool call.
        self._open: str | int | None = None
        self._stop_reason = "end_turn"
        self._called = False
        # Calls that began while another was open, as deltas: blocks can't be written in turns.
        self._held: dict[int, list[Mapping[str, Any]]] = {}

    def feed(self, event: bytes) -> bytes:
        """The message's events for one chunk."""
        data = sse.payload(event)
        if not data or self.error:
            return b""
        if data == sse.DONE:
            if not self._started:
                raise DomainError(Reason.UPSTREAM_BROKEN, "the answer ended before it began", detail="")
            self.finished = True
            return b"".join(self._end())
        try:
            chunk = orjson.loads(data)
            if chunk.get("error") is not None:
                error = chunk["error"]
                self.error = str(error.get("message") if isinstance(error, dict) else error)
                return self.broken(DomainError(Reason.UPSTREAM_BROKEN, self.error, detail=self.error))
            return b"".join(self._chunk(chunk))
        except (orjson.JSONDecodeError, KeyError, IndexError, TypeError, AttributeError) as error:
            raise DomainError(
                Reason.UPSTREAM_BROKEN, f"an event is no chunk: {error!r}", detail=repr(error)
            ) from None

    def broken(self, error: DomainError) -> bytes:
        """An error event."""
        return sse.event(dialects.anthropic_error(error), "error")

    def _chunk(self, chunk: Mapping[str, Any]) -> Iterable[bytes]:
        model = chunk.get("model")
        self.model = model if isinstance(model, str) and model else self.model
        if not self._started:
            self._started = True
            message: dict[str, Any] = {
                "id": f"msg_{chunk.get('id', '')}",
                "type": "message",
                "role": "assistant",
                "model": self._answer_as or self.model,
                "content": [],
                "stop_reason": None,
                "stop_sequence": None,
                # The counts are not known yet; those of the last message_delta are the ones that hold.
                "usage": {"input_tokens": 0, "output_tokens": 0},
            }
            yield _event("message_start", message=message)
        if chunk.get("usage"):
            self.usage = from_openai(chunk["usage"])
        for choice in chunk.get("choices") or ():
            delta = choice.get("delta") or {}
            text = delta.get("content") or delta.get("refusal")
            if text:
                self.output_chars += len(text)
                yield from self._switch("text", {"type": "text", "text": ""})
                yield self._delta({"type": "text_delta", "text": text})
            for call in delta.get("tool_calls") or ():
                self._called = True
                if isinstance(self._open, int) and self._open != call["index"]:
                    self._held.setdefault(call["index"], []).append(call)
                else:
                    yield from self._call(call)
            if choice.get("finish_reason"):
                self._stop_reason = stop_reason(choice["finish_reason"], calls=self._called)

    def _call(self, call: Mapping[str, Any]) -> Iterable[bytes]:
        function = call.get("function") or {}
        start: dict[str, Any] = {
            "type": "tool_use",
            "id": call.get("id") or "",
            "name": function.get("name") or "",
            "input": {},
        }
        yield from self._switch(call["index"], start)
        piece = function.get("arguments")
        if piece:
            self.output_chars += len(piece)
            yield self._delta({"type": "input_json_delta", "partial_json": piece})

    def _switch(self, block: str | int, start: dict[str, Any]) -> Iterable[bytes]:
        if self._open == block:
            return
        yield from self._close()
        self._block += 1
        self._open = block
        yield _event("content_block_start", index=self._block, content_block=start)

    def _close(self) -> Iterable[bytes]:
        if self._open is not None:
            self._open = None
            yield _event("content_block_stop", index=self._block)

    def _delta(self, delta: dict[str, Any]) -> bytes:
        return _event("content_block_delta", index=self._block, delta=delta)

    def _end(self) -> Iterable[bytes]:
        for _, pieces in sorted(self._held.items()):
            for call in pieces:
                yield from self._call(call)
        yield from self._close()
        yield _event(
            "message_delta",
            delta={"stop_reason": self._stop_reason, "stop_sequence": None},
            usage=usage_report(self.usage),
        )
        yield _event("message_stop")


def usage_report(usage: Usage) -> dict[str, int]:
    """Usage as Anthropic's API has it."""
    return {
        "input_tokens": usage.input_tokens or 0,
        "cache_read_input_tokens": usage.cached_input_tokens or 0,
        "cache_creation_input_tokens": usage.cache_write_tokens or 0,
        "output_tokens": (usage.output_tokens or 0) + (usage.reasoning_tokens or 0),
    }


def stop_reason(finish_reason: object, *, calls: bool) -> str:
    """Why an answer ended, in Anthropic's words; `calls` is true if it called a tool."""
    # OpenAI ends with "stop" where the request named the tool that it called.
    reason = STOP_REASONS.get(str(finish_reason), "end_turn")
    return "tool_use" if calls and reason == "end_turn" else reason


def _event(kind: str, **fields: Any) -> bytes:
    return sse.event(orjson.dumps({"type": kind, **fields}), kind)
